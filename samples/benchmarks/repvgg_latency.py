"""Latency of a RepVGG as exported, as fused, and as deployed by hand, measured together in one run.

Usage: python samples/benchmarks/repvgg_latency.py [--model repvgg-a0] [--seconds 20] [--threads 1]

The three models run in turns under onnxruntime with all of its own optimizations, in one process, and every ratio is
of runs that follow each other. The original is what torch exports by default, which has the normalizations of
convolutions folded already. The exit code is 0 if the fused model is at most 3 % slower than the one deployed by hand
and faster than the original, each with 95 % confidence, and 1 if not. Needs ``pip install 'repvgg-onnx[export]'``.
"""

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import onnx
import onnxruntime

sys.path.insert(0, str(Path(__file__).parents[2]))

from repvgg_onnx import fuse, verify
from repvgg_onnx.checks.inputs import build_feeds
from repvgg_onnx.checks.latency import LEVEL, Conditions, race
from repvgg_onnx.checks.session import CPU, Session, open_session
from repvgg_onnx.checks.statistics import Ratio, Samples, paired_ratio
from samples import zoo

SLOWER_THAN_DEPLOYED = 1.03  # what is allowed
ORIGINAL, FUSED, DEPLOYED = range(3)
TITLES = ("original", "fused", "deployed by hand")


def three_forms(name: str) -> list[onnx.ModelProto]:
    """The network as exported, fused, and deployed by hand; its normalizations have statistics."""
    shape = zoo.architecture(name).input_shape
    module = zoo.perturb_statistics(zoo.build(name))
    original = zoo.export(module, shape=shape)
    return [original, fuse(original).model, zoo.export(zoo.deploy(module).float(), shape=shape)]


def disagreement(models: Sequence[onnx.ModelProto]) -> float:
    """Worst normalized error of the outputs of any model against the first one's."""
    return max(verify(models[0], other, seeds=(0,)).error for other in models[1:])


def measure(models: Sequence[onnx.ModelProto], *, seconds: float, threads: int) -> tuple[list[Samples], Conditions]:
    """Latencies in nanoseconds of each leg (rounds × models) and what they were measured under."""
    openers = [partial(open_session, m.SerializeToString(), level=LEVEL, threads=threads) for m in models]
    values = build_feeds(openers[0]().inputs, seeds=(0,))[0].values
    legs = race([partial(ready, opener, values) for opener in openers], seconds=seconds)
    shapes = {name: value.shape for name, value in values.items()}
    measured_s = sum(float(leg.sum()) for leg in legs) / 1e9
    return legs, Conditions(onnxruntime.__version__, CPU, LEVEL, threads, shapes, len(legs), measured_s)


def ready(opener: Callable[[], Session], values: Mapping[str, np.ndarray]) -> Callable[[], object]:
    return opener().prepare(values)


def table(legs: Sequence[Samples]) -> list[str]:
    medians_ns = np.median(np.concatenate(legs), axis=0)
    return [f"{title:<18}{median / 1e6:9.3f} ms" for title, median in zip(TITLES, medians_ns, strict=True)]


def judged(to_deployed: Ratio, to_original: Ratio) -> tuple[list[str], bool]:
    """A line for each ratio of latencies, and whether both are as they should be over their whole intervals."""
    close = to_deployed.high <= SLOWER_THAN_DEPLOYED
    faster = to_original.high < 1
    lines = [
        f"{described('fused / deployed', to_deployed)} {'within' if close else 'NOT within'} 3 %",
        f"{described('fused / original', to_original)} {'below' if faster else 'NOT below'} 1",
    ]
    return lines, close and faster


def described(title: str, ratio: Ratio) -> str:
    return f"{title:<18}{ratio.speedup:9.3f} (95% CI {ratio.low:.3f}-{ratio.high:.3f}),"


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Latency of a RepVGG as exported, fused and deployed by hand.")
    parser.add_argument("--model", default="repvgg-a0", choices=zoo.names(), metavar="NAME", help="network of the zoo")
    parser.add_argument("--seconds", default=20.0, type=float, help="bound of the measured part")
    parser.add_argument("--threads", default=1, type=int, help="threads inside an operator")
    options = parser.parse_args(arguments)
    models = three_forms(options.model)
    error = disagreement(models)
    if not error <= 1e-5:
        print(f"the models do not compute the same: normalized error {error:.1e}")
        return 1
    legs, conditions = measure(models, seconds=options.seconds, threads=options.threads)
    to_deployed = paired_ratio(legs, first=FUSED, second=DEPLOYED)
    to_original = paired_ratio(legs, first=FUSED, second=ORIGINAL)
    verdict, passed = judged(to_deployed, to_original)
    sessions = "1 session" if len(legs) == 1 else f"{len(legs)} sessions"
    print(f"{options.model}, {conditions}, {sum(map(len, legs))} rounds in {sessions}")
    print("\n".join([*table(legs), *verdict]))
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
