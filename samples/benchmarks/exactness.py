"""How far networks of the zoo are from their exact outputs, as exported and as fused, both in float32.

Usage: python samples/benchmarks/exactness.py [--models NAME ...] [--seeds 5]

The judge is the torch module itself in float64, with the same weights and on the same standard-normal inputs. Both
models are exported or fused once for each seed, which also draws the weights, and run under onnxruntime at
ORT_DISABLE_ALL, where every node is computed as it is written, and at ORT_ENABLE_ALL. A network's errors are medians
over seeds and levels, because a single maximum is noisy.

The last column is what the fold itself does: the fused network, weights rounded to float32 as they are, evaluated in
float64 by onnx's reference. What the fused column has above it is how onnxruntime's kernels sum, which differs between
one long sum and several short ones. The exit code is 0 if the median over all networks of fused error / original error
is at most 1 and the fold itself is closer than the original everywhere, and 1 if not. Runs from a checkout; needs
``pip install 'repvgg-onnx[export]'``.
"""

import argparse
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx.reference import ReferenceEvaluator

sys.path.insert(0, str(Path(__file__).parents[2]))

from repvgg_onnx import fuse
from repvgg_onnx.checks.comparison import normalized_error
from repvgg_onnx.checks.session import LEVELS, loadable, open_session
from samples import zoo
from tests.compiler.trial import widened

NETWORKS = ("repvgg-a0", "repvgg-a1", "repvgg-a2", "repvgg-b0", "repvgg-b1g4", "repvgg-d2se")


@dataclass(frozen=True)
class Distance:
    """How far one network is from its exact outputs, in float32.

    Attributes:
        name: of the network.
        original: normalized error as exported, the median over seeds and levels.
        fused: the same as fused.
        fold: the same as fused, with all arithmetic in float64: what rounding the folded weights costs; nan if unknown.
    """

    name: str
    original: float
    fused: float
    fold: float

    @property
    def ratio(self) -> float:
        """Below 1 where the fused network is closer; 1 where both are exact."""
        return self.fused / self.original if self.original else 1.0 + self.fused


def default_models() -> list[str]:
    """Six whole networks, and every network of a few blocks."""
    return [*NETWORKS, *(block.name for block in zoo.BLOCKS)]


def measure(name: str, seeds: range) -> Distance:
    errors = np.array([three for seed in seeds for three in errors_of(name, seed)])
    return Distance(name, *map(float, np.median(errors, axis=0)))


def errors_of(name: str, seed: int) -> Iterator[tuple[float, float, float]]:
    """Normalized errors of the original, of the fused network and of the fold itself, at each level."""
    shape = zoo.architecture(name).input_shape
    module = zoo.perturb_statistics(zoo.build(name, seed=seed), seed)
    original = zoo.export(module, shape=shape, fold=False)
    fused = fuse(original).model
    image = np.random.default_rng(seed).standard_normal(shape).astype(np.float32)
    with torch.no_grad():
        exact = module.double()(torch.from_numpy(image).double()).numpy()
    fold = fold_error(exact, fused, image)
    for level in LEVELS:
        one, other = (normalized_error(exact, run(model, image, level)) for model in (original, fused))
        yield one, other, fold


def run(model: onnx.ModelProto, image: np.ndarray, level: str) -> np.ndarray:
    with loadable(model) as source:
        session = open_session(source, level=level)
    (name,) = session.inputs
    output: np.ndarray = next(iter(session.run({name: image}).values()))
    return output


def fold_error(exact: np.ndarray, fused: onnx.ModelProto, image: np.ndarray) -> float:
    """Normalized error with every operation in float64; nan where onnx's reference cannot run the network."""
    try:
        output = ReferenceEvaluator(widened(fused)).run(None, {fused.graph.input[0].name: image.astype(np.float64)})[0]
    except ValueError:  # its ConvTranspose takes one group only
        return float("nan")
    return normalized_error(exact, output)


def line(distance: Distance) -> str:
    errors = f"{distance.original:>10.2e}{distance.fused:>10.2e}{distance.ratio:>8.2f}{distance.fold:>10.2e}"
    return f"{distance.name:<28}{errors}"


def judged(distances: Sequence[Distance]) -> tuple[str, bool]:
    """The median ratio in words, and whether the fused networks are at least as close."""
    ratio = float(np.median([distance.ratio for distance in distances]))
    closer = sum(distance.ratio <= 1 for distance in distances)
    folds = [distance.fold <= distance.original for distance in distances if not np.isnan(distance.fold)]
    words = (
        f"median ratio {ratio:.2f}; fused at least as close in {closer} of {len(distances)} networks, "
        f"the fold itself in {sum(folds)} of {len(folds)}"
    )
    return words, ratio <= 1 and all(folds)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Errors of networks as exported and as fused, judged in float64.")
    parser.add_argument("--models", nargs="+", default=default_models(), metavar="NAME", help="networks of the zoo")
    parser.add_argument("--seeds", default=5, type=int, help="how many")
    options = parser.parse_args(arguments)
    print(f"{'network':<28}{'original':>10}{'fused':>10}{'ratio':>8}{'fold':>10}", flush=True)
    distances = []
    for name in options.models:
        distances.append(measure(name, range(options.seeds)))
        print(line(distances[-1]), flush=True)
    words, passed = judged(distances)
    print(words)
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
