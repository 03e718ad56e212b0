"""Heads and necks as their authors deploy them, fused, and in their hand-written cheapest form, measured together.

Usage: python samples/benchmarks/below.py [--seconds 20] [--threads 1 2] [--names yolo-neck fpn ...]

All three forms of each head in ``heads.py`` run in turns under onnxruntime with all of its own optimizations, one table
a number of threads: multiply-adds, latency against the deployed form with 95 % intervals, resident memory that a
process of its own takes, and the error of the fused form beside the deployed form's own noise. The exit code is 1 if a
fused head multiplies more than its cheapest form, is surely slower than what is deployed, or fails a check. Needs
``pip install 'repvgg-onnx[export]'``.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import onnx
import torch

sys.path.insert(0, str(Path(__file__).parents[2]))

from heads import HEADS, Head, exported

from repvgg_onnx import benchmark_models, prove
from repvgg_onnx.census import profile
from samples import zoo

COLUMNS = (
    f"{'':<22}{'multiply-adds':>26}{'faster than deployed':>28}{'cheapest form':>24}{'MB':>14}{'error':>10}{'noise':>9}"
)


def forms(head: Head, seed: int = 0) -> tuple[onnx.ModelProto, onnx.ModelProto]:
    """The deployed and the cheapest form, of one random state."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        module = zoo.perturb_statistics(head.build()).eval()
    return exported(module, head.shapes), exported(head.optimal(module).eval(), head.shapes)


def macs(model: onnx.ModelProto) -> int:
    return profile(model).macs


def measured(name: str, *, seconds: float, threads: int) -> bool:
    """Prints one line; whether all is as it should be."""
    deployed, cheapest = forms(HEADS[name])
    proof = prove(deployed)
    assert proof.parity is not None
    models = [deployed, proof.fusion.model, cheapest]
    counts = [macs(model) for model in models]
    found = benchmark_models(models, seconds=seconds, threads=threads, memory=True)
    ratios = [found.latency(index) for index in (1, 2)]
    megabytes = [model.footprint.peak_bytes / 1e6 if model.footprint else float("nan") for model in found.models]
    intervals = [f"{each.speedup:.2f} ({each.low:.2f}-{each.high:.2f})" for each in ratios]
    noise = max(output.noise for output in proof.parity.outputs)
    print(
        f"{name:<22}{counts[0] / 1e6:>12,.1f} M -> {counts[1] / counts[0]:>8.3f}{intervals[0]:>28}{intervals[1]:>24}"
        f"{megabytes[0]:>8.0f}{megabytes[1]:>6.0f}{proof.parity.error:>10.1e}{noise:>9.1e}",
        flush=True,
    )
    return counts[1] <= counts[2] and ratios[0].high >= 1.0 and proof.parity.passed and not proof.failed


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Heads deployed, fused, and in their cheapest form.")
    parser.add_argument("--seconds", default=20.0, type=float, help="for each head and number of threads")
    parser.add_argument("--threads", default=[1, 2], type=int, nargs="+", help="of onnxruntime")
    parser.add_argument("--names", default=list(HEADS), choices=list(HEADS), nargs="+", help="which heads")
    options = parser.parse_args(arguments)
    right = True
    for threads in options.threads:
        print(f"\n{threads} thread{'s' * (threads > 1)}\n{COLUMNS}")
        for name in options.names:
            right &= measured(name, seconds=options.seconds, threads=threads)
    return int(not right)


if __name__ == "__main__":
    sys.exit(main())
