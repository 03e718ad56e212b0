"""Speeds of tables 4 and 6 of the RepVGG paper in torch, as they were measured there: batch 128, float32, on a GPU.

Usage: python samples/paper/torch_gpu.py [--device cuda] [--batch 128] [--models 'RepVGG-A*'] [--output FILE.json]

Each network runs in turns with its reference, deployed ResNet-50 in table 4 and the network as trained in table 6, once
with channels first and once with channels last, without TF32. The networks are torch modules in the form that they are
deployed in; no ONNX file takes part. Needs ``pip install 'repvgg-onnx[export]'`` and a torch for the device.
"""

import argparse
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from published import Comparison, Network, comparisons

sys.path.insert(0, str(Path(__file__).parents[2]))

from repvgg_onnx.checks.latency import race
from repvgg_onnx.checks.statistics import paired_ratio
from samples import zoo

LINE = "table {table}, {label}, {layout}: {speedup:.2f} (95% CI {low:.2f}-{high:.2f}), paper {paper:.2f}"
LAYOUTS = {"channels first": torch.contiguous_format, "channels last": torch.channels_last}


def ready(network: Network, options: argparse.Namespace, layout: torch.memory_format) -> Callable[[], object]:
    """A call that runs the network once and waits for the device."""
    module = zoo.build(network.name, deployed=network.fused).to(options.device, memory_format=layout)
    image = torch.randn(options.batch, 3, options.size, options.size, device=options.device).to(memory_format=layout)

    def run() -> None:
        with torch.inference_mode():
            module(image)
        if torch.device(options.device).type == "cuda":
            torch.cuda.synchronize()

    run()  # chooses kernels
    return run


def measured(comparison: Comparison, options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """A record for each layout."""
    for title, layout in LAYOUTS.items():
        pair = (comparison.reference, comparison.network)
        legs = race([partial(ready, network, options, layout) for network in pair], seconds=options.seconds)
        examples = options.batch * 1e9 / float(np.median(np.concatenate(legs)[:, 1]))
        ratio = asdict(paired_ratio(legs))
        record = {"table": comparison.table, "label": comparison.label, "layout": title, "paper": comparison.ratio}
        yield record | ratio | {"examples_per_second": examples}


def conditions(options: argparse.Namespace) -> dict[str, Any]:
    is_cuda = torch.device(options.device).type == "cuda"
    device = torch.cuda.get_device_name(options.device) if is_cuda else "CPU"
    return {"device": device, "torch": torch.__version__, "batch": options.batch, "size": options.size}


def main(given: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Speeds of tables 4 and 6 of the RepVGG paper in torch.")
    parser.add_argument("--device", default="cuda", help="of torch (cuda)")
    parser.add_argument("--batch", default=128, type=int, help="images at a time (128)")
    parser.add_argument("--size", default=224, type=int, help="height and width of the images (224)")
    parser.add_argument("--seconds", default=20.0, type=float, help="bound of the measured part of a row (20)")
    parser.add_argument("--models", default="*", metavar="GLOB", help="rows by their labels, such as 'RepVGG-A*'")
    parser.add_argument("--output", type=Path, metavar="FILE.json", help="records with their conditions")
    options = parser.parse_args(given)
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    torch.backends.cudnn.benchmark = True
    rows = [row for row in comparisons() if row.table in (4, 6) and row.network.name in zoo.names()]
    records = []
    for row in (row for row in rows if fnmatchcase(row.label, options.models)):
        for record in measured(row, options):
            records.append(record)
            print(LINE.format_map(record), flush=True)
    if options.output:
        options.output.write_text(json.dumps({"conditions": conditions(options), "rows": records}, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
