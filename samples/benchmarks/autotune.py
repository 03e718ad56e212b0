"""Whether folding by cost makes networks of the zoo slower, and what measuring the doubtful folds changes.

    python samples/benchmarks/autotune.py [--model NAME ...] [--seconds S] [--threads N]

For each network, exported with every normalization: how many times faster than the input the default fusion and the
autotuned one are, with 95 % intervals, and what was decided. Exits with 1 if an autotuned network is surely slower than
its input.
"""

import argparse
import sys
from pathlib import Path

import onnx

sys.path.insert(0, str(Path(__file__).parents[2]))

from repvgg_onnx import Latency, Tuning, autotune, benchmark, fuse
from samples import zoo

ROW = "{:28}{:20}{:20}{:26}{}"


def exported(name: str) -> onnx.ModelProto:
    """The training-time network with random weights and statistics."""
    network = zoo.perturb_statistics(zoo.build(name))
    return zoo.export(network, shape=zoo.architecture(name).input_shape, fold=False)


def described(latency: Latency | None) -> str:
    """How many times faster than the input, with the interval; a copy of the input is as fast."""
    if latency is None:
        return "1 (the input)"
    mark = "!" if latency.verdict == "slower" else " "
    return f"{latency.speedup:5.2f} ({latency.low:.2f}-{latency.high:.2f}){mark}"


def decided(tuning: Tuning) -> str:
    """How many doubtful folds the cost rule wanted and how many are kept, and so for those that it turned down."""
    wanted = [judgement.folded for judgement in tuning.judgements if judgement.wanted]
    declined = [judgement.folded for judgement in tuning.judgements if not judgement.wanted]
    return f"{sum(wanted)} of {len(wanted)}, {sum(declined)} of {len(declined)}"


def main() -> int:
    """Prints a row for each network."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", nargs="+", default=[block.name for block in zoo.BLOCKS], metavar="NAME")
    parser.add_argument("--seconds", type=float, default=2.0, help="bound of each comparison")
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    print(ROW.format("network", "fuse", "fuse --autotune", "folded: wanted, declined", "outcome"))
    slower = 0
    for name in arguments.model:
        model = exported(name)
        fusion = fuse(model)
        tuning = autotune(model, seconds=4 * arguments.seconds, threads=arguments.threads)
        default, tuned = (
            benchmark(model, made.model, seconds=arguments.seconds, threads=arguments.threads) if made.regions else None
            for made in (fusion, tuning.fusion)
        )
        slower += tuned is not None and tuned.verdict == "slower"
        row = ROW.format(name, described(default), described(tuned), decided(tuning), tuning.outcome)
        print(row, flush=True)
    print("! is surely slower than the input")
    return 1 if slower else 0


if __name__ == "__main__":
    sys.exit(main())
