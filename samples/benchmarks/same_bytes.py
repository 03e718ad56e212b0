"""Whether fuse() of this checkout writes the same files, byte for byte, as fuse() of another revision.

Usage: python samples/benchmarks/same_bytes.py REV [FOLDER ...] [--no-zoo]

Fused are the blocks of samples/zoo, exported once by this checkout, and every .onnx file in the folders. Both revisions
run in processes of their own with the installed packages; the other one's package is taken out of git into a temporary
folder. What is compared is the serialized model, the names of the regions, and the codes of the refusals. Needs a git
checkout and ``pip install -e '.[test]'``.

It exits with 1 if a file differs, or can be fused by one revision only.
"""

import argparse
import json
import os
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import onnx

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

CHILD = """
import hashlib, json, sys
import onnx
from repvgg_onnx import RepvggOnnxError, fuse
for path in sys.argv[1:]:
    try:
        made = fuse(path)
        found = {
            "model": hashlib.sha256(made.model.SerializeToString(deterministic=True)).hexdigest(),
            "regions": [[region.name, region.root, region.sink] for region in made.regions],
            "refusals": [[refusal.node, refusal.code] for refusal in made.refusals],
        }
    except RepvggOnnxError as error:
        found = {"error": str(error)}
    print(json.dumps([path, found]), flush=True)
"""


def export_zoo(folder: Path) -> Iterator[Path]:
    """The zoo's blocks as files, their normalizations in training-time form."""
    import torch

    from samples.zoo import BLOCKS, architecture, build, export, perturb_statistics

    folder.mkdir()
    for entry in BLOCKS:
        torch.manual_seed(0)
        network = build(entry.name)
        perturb_statistics(network)
        path = folder / f"{entry.name}.onnx"
        onnx.save(export(network, shape=architecture(entry.name).input_shape, fold=False), path)
        yield path


def package_of(revision: str, folder: Path) -> None:
    """The folder holds the package as it is in a revision."""
    packed = subprocess.run(
        ["git", "archive", revision, "repvgg_onnx"], cwd=ROOT, stdout=subprocess.PIPE, check=True
    ).stdout
    with tarfile.open(fileobj=BytesIO(packed)) as archive:
        archive.extractall(folder, filter="data")


def fused_by(package: Path, paths: Sequence[Path]) -> dict[str, Any]:
    """What fuse() of a package makes of each file."""
    environment = {**os.environ, "PYTHONPATH": str(package), "PYTHONSAFEPATH": "1"}
    command = [sys.executable, "-c", CHILD, *map(str, paths)]
    lines = subprocess.run(command, env=environment, stdout=subprocess.PIPE, check=True, text=True).stdout.splitlines()
    return dict(json.loads(line) for line in lines)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("revision", help="of this repository, such as HEAD~1 or v0.1.0")
    parser.add_argument("folders", nargs="*", type=Path, help="with .onnx files, searched through")
    parser.add_argument("--no-zoo", action="store_true", help="do not export the blocks, which needs torch")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        package_of(options.revision, folder / "other")
        paths = [] if options.no_zoo else list(export_zoo(folder / "zoo"))
        paths += sorted(path for given in options.folders for path in given.rglob("*.onnx"))
        here, other = fused_by(ROOT, paths), fused_by(folder / "other", paths)
    differing = [path for path in here if here[path] != other[path]]
    for path in differing:
        kinds = [kind for kind in here[path] if here[path].get(kind) != other[path].get(kind)]
        print(f"{Path(path).name}: {', '.join(kinds)}")
    print(f"{len(here) - len(differing)} of {len(here)} files are the same as by {options.revision}")
    return 1 if differing else 0


if __name__ == "__main__":
    sys.exit(main())
