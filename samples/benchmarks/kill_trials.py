"""The fuse command is killed at any instant: what is left of its output?

Usage: python samples/benchmarks/kill_trials.py [--trials 200] [--seed 0]

Each trial puts an old output in place, with or without a side file, starts ``fuse`` on another model and sends it
SIGKILL. Half of the trials kill after a random part of the time that a whole run takes. The others kill right before or
after a random one of the calls that a run makes to change files. After that the output has to be the old one or the
new one, whole, with its own side file; and when the command has run once more, there must be nothing in the folder but
the input and the new output. The exit code is 1 if a trial went otherwise. Linux and macOS only.
"""

import argparse
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import onnx

sys.path.insert(0, str(Path(__file__).parents[2]))

import repvgg_onnx.cli.fuse  # noqa: F401  imported once here, and not in every child
from repvgg_onnx import load_model, save_model
from repvgg_onnx.cli import cli
from repvgg_onnx.graph import save
from repvgg_onnx.graph.storage.staging import Staging
from tests.durability.models import LITTLE, training_model

Contents = dict[str, bytes]

TWO_GB = save.LARGEST_FILE
CALLS = ("chmod", "fsync", "mkdir", "replace", "rmdir", "unlink")
INPUT, OUTPUT = "in.onnx", "out.onnx"


@dataclass(frozen=True)
class Variant:
    """What is replaced by what.

    Attributes:
        old_side: whether the old output has a side file.
        new_side: whether the new one has.
        in_place: whether the output is the input.
    """

    old_side: bool
    new_side: bool
    in_place: bool

    def __str__(self) -> str:
        """Such as ``one file -> pair``."""
        forms = " -> ".join("pair" if side else "one file" for side in (self.old_side, self.new_side))
        return f"{forms}, in place" if self.in_place else forms

    @property
    def arguments(self) -> list[str]:
        """The command line, given in the folder of the files."""
        where = [OUTPUT, "--in-place"] if self.in_place else [INPUT, "-o", OUTPUT]
        return ["fuse", *where, "--no-verify", "--no-bench", "--quiet"]


VARIANTS = [Variant(old, new, place) for place in (False, True) for old in (False, True) for new in (False, True)]


@dataclass(frozen=True)
class Scene:
    """What a trial of a variant begins with and may end with.

    Attributes:
        variant: what is replaced by what.
        given: the input, where it is another file than the output.
        old: the output and its side file before.
        new: the same after a whole run.
        seconds: how long that took.
        steps: how many instants before or after a change it had.
    """

    variant: Variant
    given: Contents
    old: Contents
    new: Contents
    seconds: float
    steps: int


class Steps:
    """Counts the instants before and after changes of files, and kills the process at one of them."""

    def __init__(self, last: int | None) -> None:
        self.count = 0
        self._last = last

    def reached(self) -> None:
        """An instant at which the process may die."""
        if self.count == self._last:
            os.kill(os.getpid(), signal.SIGKILL)
        self.count += 1

    def around(self, call: Callable[..., Any]) -> Callable[..., Any]:
        """The same call with an instant before and one after it."""

        def stepping(*arguments: Any, **options: Any) -> Any:
            self.reached()
            result = call(*arguments, **options)
            self.reached()
            return result

        return stepping

    def watch(self) -> None:
        """Has the rest of this process counted."""
        for name in CALLS:
            setattr(os, name, self.around(getattr(os, name)))
        create = Staging.create

        @contextmanager
        def watched(place: Staging, name: str) -> Iterator[Any]:
            with create(place, name) as stream:
                yield Halting(stream, self)

        Staging.create = watched  # type: ignore[method-assign]


class Halting:
    """A file with an instant in the middle of every write."""

    def __init__(self, stream: BinaryIO, steps: Steps) -> None:
        self._stream, self._steps = stream, steps

    def write(self, data: bytes | memoryview) -> None:
        """Writes the data in two halves."""
        half = len(data) // 2
        self._stream.write(data[:half])
        self._stream.flush()
        self._steps.reached()
        self._stream.write(data[half:])


def contents(folder: Path) -> Contents:
    """Files of a folder; what private folders hold is left out."""
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def saved(model: onnx.ModelProto, name: str, *, side: bool) -> Contents:
    """A model as files."""
    with tempfile.TemporaryDirectory() as folder:
        save_model(model, Path(folder, name), external_data=side)
        return contents(Path(folder))


def fill(folder: Path, *parts: Contents) -> None:
    for part in parts:
        for name, data in part.items():
            (folder / name).write_bytes(data)


def start(variant: Variant, folder: Path, steps: Steps | None = None) -> int:
    """Runs the command in a child of this process, which has everything imported; the child's number.

    The child's exit code is that of the command, or the number of its steps where they are counted.
    """
    child = os.fork()
    if child:
        return child
    code = 255
    try:
        os.chdir(folder)
        save.LARGEST_FILE = LITTLE if variant.new_side else TWO_GB
        if steps is not None:
            steps.watch()
        cli.main(variant.arguments)
    except SystemExit as stop:
        code = int(stop.code or 0) if steps is None else steps.count
    finally:
        os._exit(code)


def finish(child: int) -> int:
    """Exit code of a child, below zero for the signal that killed it."""
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def prepare(variant: Variant) -> Scene:
    """Runs the command undisturbed to see what it does."""
    given = {} if variant.in_place else saved(training_model(0), INPUT, side=False)
    old = saved(training_model(1), OUTPUT, side=variant.old_side)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        fill(folder, given, old)
        steps = finish(start(variant, folder, Steps(None)))
        new = {name: data for name, data in contents(folder).items() if name not in given}
        fill(folder, old)
        started = time.perf_counter()
        if finish(start(variant, folder)) != 0:
            raise SystemExit(f"{variant}: the command fails even where nobody kills it")
        return Scene(variant, given, old, new, time.perf_counter() - started, steps)


def kill(scene: Scene, rng: random.Random, folder: Path) -> bool:
    """Starts the command and kills it at a random instant; whether that came before its end."""
    if rng.random() < 0.5:
        return finish(start(scene.variant, folder, Steps(rng.randrange(scene.steps)))) < 0
    child = start(scene.variant, folder)
    time.sleep(rng.uniform(0, scene.seconds))
    os.kill(child, signal.SIGKILL)
    return finish(child) < 0


def examine(scene: Scene, folder: Path) -> tuple[str, str]:
    """What a kill left, in words, and what is wrong with it, if anything is."""
    left = outcome(scene, folder)
    litter = len(list(folder.iterdir())) > len(scene.given) + len(scene.old if left == "old" else scene.new)
    words = f"{left} output whole" + (", litter until the next run" if litter else "")
    if left == "broken":
        return "broken", "the output is neither the old one nor the new one"
    if finish(start(scene.variant, folder)) != 0:
        return words, "the command fails after the kill"
    if contents(folder) != scene.given | scene.new or len(list(folder.iterdir())) != len(contents(folder)):
        return words, "something else is left after one more run"
    return words, ""


def outcome(scene: Scene, folder: Path) -> str:
    """Whether the output is the old or the new one, loads, and has its side file; or broken."""
    found = contents(folder)
    for name, expected in (("new", scene.new), ("old", scene.old)):
        if expected.items() <= found.items():
            load_model(folder / OUTPUT)
            return name
    return "broken"


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="The fuse command, killed at any instant.")
    parser.add_argument("--trials", default=200, type=int, help="how many kills")
    parser.add_argument("--seed", default=0, type=int, help="seed of the instants")
    options = parser.parse_args(arguments)
    print(f"seed {options.seed}", flush=True)
    rng = random.Random(options.seed)
    scenes = [prepare(variant) for variant in VARIANTS]
    seen: Counter[tuple[str, str]] = Counter()
    failures = []
    while seen.total() < options.trials:
        number = seen.total()
        scene = scenes[number % len(scenes)]
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            fill(folder, scene.given, scene.old)
            if not kill(scene, rng, folder):
                continue
            left, problem = examine(scene, folder)
        seen[str(scene.variant), left] += 1
        failures += [f"kill {number}, {scene.variant}: {problem}"] if problem else []
    for (variant, left), count in sorted(seen.items()):
        print(f"{count:5} {variant}: {left}")
    print("\n".join([*failures, f"{seen.total()} kills, {len(failures)} losses"]))
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
