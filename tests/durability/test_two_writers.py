"""Two processes that write the same output: each time it is the whole output of one of them."""

import subprocess
import sys
from pathlib import Path

import onnx
import pytest

from repvgg_onnx import load_model
from repvgg_onnx.graph import save
from tests.durability.models import LITTLE, training_model
from tests.folders import contents

ROUNDS = 20
WRITER = """
import sys
from repvgg_onnx.cli import cli
from repvgg_onnx.graph import save
source, target, rounds, limit = sys.argv[1:]
save.LARGEST_FILE = int(limit)
for _ in range(int(rounds)):
    try:
        cli.main(["fuse", source, "-o", target, "--no-verify", "--no-bench", "--quiet"])
    except SystemExit as stop:
        if stop.code:
            sys.exit(stop.code)
"""


def expected(run, folder, source, name):
    """The files that the command makes of the input when nobody disturbs it."""
    alone = folder / f"{source.stem} alone"
    alone.mkdir()
    assert run("fuse", source, "-o", alone / name, "--no-verify", "--no-bench").code == 0
    return contents(alone)


def read_both(target, tries=10):
    """The output and its side file, read one after the other; None where the output was replaced meanwhile.

    Both writers write in turn, so that an output whose side file was gone may be back with it by the next look.
    """
    try:
        model = target.read_bytes()
    except FileNotFoundError:  # nobody has written yet
        return None
    tensors = onnx.load_model_from_string(model).graph.initializer
    sides = {entry.value for tensor in tensors for entry in tensor.external_data if entry.key == "location"}
    try:
        return {target.name: model} | {side: (target.parent / side).read_bytes() for side in sides}
    except FileNotFoundError:
        if target.read_bytes() != model:
            return None
        assert tries, "the output lacks its side file"
        return read_both(target, tries - 1)


@pytest.mark.parametrize("limit", [save.LARGEST_FILE, LITTLE], ids=["one file", "pair"])
def test_the_last_one_wins_and_nothing_is_mixed(run, tmp_path, monkeypatch, limit):
    monkeypatch.setattr(save, "LARGEST_FILE", limit)
    sources = [tmp_path / f"{seed}.onnx" for seed in range(2)]
    for seed, source in enumerate(sources):
        onnx.save(training_model(seed), source)
    outputs = [expected(run, tmp_path, source, "out.onnx") for source in sources]
    folder = tmp_path / "both"
    folder.mkdir()
    target = folder / "out.onnx"

    seen = []
    writers = [start(source, target, limit) for source in sources]
    while any(writer.poll() is None for writer in writers):
        found = read_both(target)
        assert found is None or found in outputs
        seen += [outputs.index(found)] if found and (not seen or outputs[seen[-1]] != found) else []

    assert [(writer.returncode, writer.communicate()) for writer in writers] == [(0, (b"", b""))] * 2
    assert {0, 1} == set(seen)
    assert contents(folder) in outputs
    load_model(target)


def start(source, target, limit):
    arguments = map(str, (source, target, ROUNDS, limit))
    root = Path(__file__).parents[2]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen([sys.executable, "-c", WRITER, *arguments], cwd=root, **pipes)
