"""How much of their a-priori bound on rounding errors the folded regions of the zoo use.

    python samples/benchmarks/bounds.py [--model NAME ...]

Exits with 1 if a region exceeds its bound.
"""

import argparse
import sys
from pathlib import Path

from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).parents[2]))

from repvgg_onnx.workflows.prove import Proof, prove
from samples import zoo


def proved(name: str, seed: int) -> Proof:
    """The training-time network exported with every normalization, folded, and each region checked."""
    network = zoo.perturb_statistics(zoo.build(name, seed=seed), seed)
    return prove(zoo.export(network, shape=zoo.architecture(name).input_shape, fold=False))


def main() -> int:
    """Prints a row for each network and the worst of all."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", nargs="+", default=["repvgg-a0", *(block.name for block in zoo.BLOCKS)])
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    table = Table("network", "regions", "failed", "worst error", "its bound", "worst share of a bound", box=None)
    worst, failed = 0.0, 0
    for name in arguments.model:
        proof = proved(name, arguments.seed)
        failed += len(proof.failed)
        if proof.worst is not None:
            share = max(region.used for region in proof.regions)
            worst = max(worst, share)
            row = (f"{proof.worst.error:.1e}", f"{proof.worst.bound:.1e}", f"{share:.1%}")
            table.add_row(name, str(len(proof.regions)), str(len(proof.failed)), *row)
    Console().print(table)
    print(f"worst measured error over its bound: {worst:.1%}; regions that failed: {failed}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
