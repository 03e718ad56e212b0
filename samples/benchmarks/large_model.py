"""A model over 2 GB is fused: how much memory does that take beyond the mapped file?

Usage: python samples/benchmarks/large_model.py [--gigabytes 2.5] [--channels 1024] [--verify] [--folder PATH]

The model is made of RepVGG blocks of wide channels, as an exporter writes them with every BatchNormalization, and its
weights are in a side file. They are drawn and written one after the other, so that making the model takes little
memory, and are deleted at the end. The exit code is 0 if the fuse command takes at most 1.5 times the model's size of
anonymous memory and every block becomes one node, and 1 if not. Linux only: memory is read from /proc.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np
import onnx
from onnx import TensorProto, helper

from repvgg_onnx import verify

SIZE = (5, 7)  # of the image
HEADER = {"ir_version": 8, "opset_imports": [helper.make_opsetid("", 17)]}
LIMIT = 1.5  # anonymous memory that is allowed, in sizes of the model
SAMPLING_S = 0.005
PROGRAM = "from repvgg_onnx.cli import cli; cli.main()"  # in the process that is looked at, not in one of its own


class Weights:
    """A side file of random weights as it grows, and the tensors that refer to it."""

    def __init__(self, stream: BinaryIO, location: str, seed: int) -> None:
        self.tensors: list[TensorProto] = []
        self._stream, self._location = stream, location
        self._rng = np.random.default_rng(seed)

    def draw(self, name: str, *shape: int, spread: float = 0.1, around: float = 0.0) -> str:
        """Writes one tensor; returns its name."""
        values = self._rng.standard_normal(shape, np.float32) * np.float32(spread) + np.float32(around)
        tensor = TensorProto(name=name, data_type=TensorProto.FLOAT, dims=shape, data_location=TensorProto.EXTERNAL)
        place = {"location": self._location, "offset": self._stream.tell(), "length": values.nbytes}
        for key, value in place.items():
            tensor.external_data.add(key=key, value=str(value))
        values.tofile(self._stream)
        self.tensors.append(tensor)
        return name

    def draw_statistics(self, name: str, channels: int) -> list[str]:
        """gamma, beta, mean and var of a BatchNormalization; var is positive."""
        return [
            self.draw(f"{name}.gamma", channels, around=0.6),
            self.draw(f"{name}.beta", channels),
            self.draw(f"{name}.mean", channels),
            self.draw(f"{name}.var", channels, spread=0.05, around=1.0),
        ]


def block(weights: Weights, name: str, source: str, channels: int) -> Iterator[onnx.NodeProto]:
    """Nodes of a RepVGG block with all three branches."""
    for size in (3, 1):
        kernel = weights.draw(f"{name}.kernel{size}", channels, channels, size, size, spread=1 / size / channels**0.5)
        linear, branch = f"{name}.conv{size}", f"{name}.branch{size}"
        yield helper.make_node("Conv", [source, kernel], [linear], pads=[size // 2] * 4, kernel_shape=[size, size])
        statistics = weights.draw_statistics(branch, channels)
        yield helper.make_node("BatchNormalization", [linear, *statistics], [branch])
    statistics = weights.draw_statistics(f"{name}.skip", channels)
    yield helper.make_node("BatchNormalization", [source, *statistics], [f"{name}.skip"])
    yield helper.make_node("Add", [f"{name}.branch3", f"{name}.branch1"], [f"{name}.both"])
    yield helper.make_node("Add", [f"{name}.both", f"{name}.skip"], [f"{name}.all"])
    yield helper.make_node("Relu", [f"{name}.all"], [f"{name}.out"])


def make_model(path: Path, size_bytes: float, channels: int, seed: int) -> None:
    """Writes blocks until the side file is as large as that."""
    nodes: list[onnx.NodeProto] = []
    source = "image"
    with path.with_name(f"{path.name}.data").open("wb") as stream:
        weights = Weights(stream, f"{path.name}.data", seed)
        while stream.tell() < size_bytes:
            nodes += block(weights, f"block{len(nodes) // 8}", source, channels)
            source = nodes[-1].output[0]
    shape = [1, channels, *SIZE]
    image, out = (helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in ("image", source))
    graph = helper.make_graph(nodes, "large", [image], [out], initializer=weights.tensors)
    path.write_bytes(helper.make_model(graph, **HEADER).SerializeToString())


def peaks_of(process: "subprocess.Popen[bytes]") -> dict[str, int]:
    """Largest resident memory of a process in bytes by kind, sampled until it ends."""
    peaks = {"anonymous": 0, "mapped": 0}
    status = Path(f"/proc/{process.pid}/status")
    while process.poll() is None:
        lines = (line.split() for line in status.read_text().splitlines() if line.startswith("Rss"))
        now = {words[0]: int(words[1]) * 1024 for words in lines}
        if now:
            peaks["anonymous"] = max(peaks["anonymous"], now["RssAnon:"] + now["RssShmem:"])
            peaks["mapped"] = max(peaks["mapped"], now["RssFile:"])
        time.sleep(SAMPLING_S)
    return peaks


def fuse(source: Path, target: Path) -> tuple[dict[str, int], float]:
    """Runs the command; its peaks of memory in bytes and its seconds."""
    options = ["--no-verify", "--no-bench", "--quiet"]
    started = time.perf_counter()
    process = subprocess.Popen([sys.executable, "-c", PROGRAM, "fuse", source, "-o", target, *options])
    peaks = peaks_of(process)
    if process.returncode:
        raise SystemExit(process.returncode)
    return peaks, time.perf_counter() - started


def counts(path: Path) -> str:
    """Operators of a model and how often they occur, without reading a weight."""
    nodes = [node.op_type for node in onnx.load(path, load_external_data=False).graph.node]
    return ", ".join(f"{nodes.count(op_type)} {op_type}" for op_type in sorted(set(nodes)))


def run(folder: Path, arguments: argparse.Namespace) -> bool:
    """Makes the model, fuses it and prints what that took; whether it was little enough."""
    source, target = folder / "large.onnx", folder / "large.fused.onnx"
    make_model(source, arguments.gigabytes * 1e9, arguments.channels, arguments.seed)
    size_bytes = sum(file.stat().st_size for file in folder.iterdir())
    print(f"model      {size_bytes / 1e9:.2f} GB: {counts(source)}")
    peaks, seconds = fuse(source, target)
    written = sorted(file for file in folder.iterdir() if file.name.startswith(target.name))
    print(
        f"fused      {sum(file.stat().st_size for file in written) / 1e9:.2f} GB: {counts(target)}, in {seconds:.1f} s"
    )
    print(f"files      {', '.join(file.name for file in written)}")
    ratio = peaks["anonymous"] / size_bytes
    print(f"anonymous  {peaks['anonymous'] / 1e9:.2f} GB at most, {ratio:.2f} times the model (limit {LIMIT})")
    print(f"mapped     {peaks['mapped'] / 1e9:.2f} GB at most, which the system takes back when it needs it")
    if arguments.verify:
        print(f"parity     normalized error {verify(source, target, seeds=(0,)).error:.2g}")
    return ratio <= LIMIT and "BatchNormalization" not in counts(target)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gigabytes", type=float, default=2.5)
    parser.add_argument("--channels", type=int, default=1024)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--verify", action="store_true", help="compare the outputs as well; takes twice the memory")
    parser.add_argument("--folder", type=Path, help="where the files lie meanwhile; needs twice the model's size")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        sys.exit(0 if run(Path(folder), arguments) else 1)


if __name__ == "__main__":
    main()
