"""A seeded slice of the mutations; ``samples/benchmarks/fuzz_files.py`` does as many as there is time for."""

import random
import re
import subprocess
import sys
from pathlib import Path

import onnx
import pytest

from repvgg_onnx import ModelError
from tests.hostile import trial
from tests.hostile.corpus import make
from tests.hostile.mutations import CORPUS, corpus, mutation
from tests.hostile.trial import EQUAL, Broken, outcome_of

ROOT = Path(__file__).parents[2]
MUTATIONS = 360


def test_a_slice_of_the_mutations_in_a_process_of_its_own():
    script = ROOT / "samples" / "benchmarks" / "fuzz_files.py"
    command = [sys.executable, str(script), "--mutations", str(MUTATIONS), "--seed", "7", "--jobs", "1"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    counts = {kind: int(count) for count, kind in re.findall(r"^ +(\d+) (.+)$", done.stdout, re.MULTILINE)}
    assert sum(counts.values()) == MUTATIONS
    assert set(counts) <= set(trial.OUTCOMES)
    assert counts[trial.REFUSED] > 100
    assert counts[EQUAL] > 30


@pytest.mark.parametrize("path", sorted(CORPUS.glob("*.onnx")), ids=lambda path: path.stem)
def test_a_file_of_the_corpus_is_small_and_folds_to_its_equal(path):
    assert path.stat().st_size < 10_000
    assert outcome_of(path) == EQUAL


def test_the_corpus_is_what_its_script_writes(tmp_path, monkeypatch):
    monkeypatch.setattr(make, "HERE", tmp_path)
    make.main()
    written = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    kept = {path.name: path.read_bytes() for path in CORPUS.iterdir() if path.suffix in (".onnx", ".bin")}
    assert written == kept


def test_mutations_are_the_same_every_time_and_differ():
    made = [mutation(1, number) for number in range(60)]
    assert made == [mutation(1, number) for number in range(60)]
    assert len(set(made)) > 50
    assert not set(made) <= set(corpus())
    assert mutation(2, 0) != mutation(1, 0) or mutation(2, 1) != mutation(1, 1)


def test_the_trial_finds_a_wrong_model(monkeypatch):
    def wrong(path):
        fusion = fuse(path)
        tensor = next(each for each in fusion.model.graph.initializer if each.name.endswith(".kernel"))
        data = bytearray(tensor.raw_data)
        data[random.Random(0).randrange(len(data) // 4) * 4 + 3] ^= 0x80  # a sign
        tensor.raw_data = bytes(data)
        return fusion

    fuse = trial.fuse
    monkeypatch.setattr(trial, "fuse", wrong)
    with pytest.raises(Broken, match="is off by"):
        outcome_of(CORPUS / "repvgg.onnx")


def test_the_trial_finds_other_exceptions_and_long_errors(monkeypatch):
    def raising(error):
        def fuse(path):
            raise error

        return fuse

    monkeypatch.setattr(trial, "fuse", raising(ZeroDivisionError()))
    with pytest.raises(ZeroDivisionError):
        outcome_of(CORPUS / "repvgg.onnx")
    monkeypatch.setattr(trial, "fuse", raising(ModelError("two\nlines")))
    with pytest.raises(Broken, match="several lines"):
        outcome_of(CORPUS / "repvgg.onnx")


def test_the_judge_lets_other_roundings_pass_where_terms_cancel(tmp_path):
    model = onnx.load(CORPUS / "old.onnx")
    assert outcome_of(CORPUS / "old.onnx") == EQUAL
    model.graph.node[1].attribute[0].t.float_data[:] = [1 + 1e-6, 1, 1, 1]
    (tmp_path / "model.onnx").write_bytes(model.SerializeToString())
    assert outcome_of(tmp_path / "model.onnx") == EQUAL
