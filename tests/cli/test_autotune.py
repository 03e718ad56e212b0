import json

import onnx
import pytest

from repvgg_onnx.cli import fuse
from repvgg_onnx.cli.options import FuseOptions
from repvgg_onnx.graph.fingerprint import fingerprint
from repvgg_onnx.report.model import Verdict
from tests.cli.reading import words
from tests.models import build, repvgg_block
from tests.workflows.test_autotune import EQUAL, FASTER, FIRST, LAST, SECOND, SLOWER, twice

SHORT = ("--autotune-seconds", "0.1", "--bench-seconds", "0.1")


@pytest.fixture
def net(tmp_path):
    path = tmp_path / "net.onnx"
    onnx.save(twice(), path)
    return path


@pytest.fixture
def saved(run, net, tmp_path, races):
    """Decisions to keep what the cost rule folds, and to fold what it turned down."""
    races.parts |= {"b": SLOWER, "h": FASTER}
    file = tmp_path / "d.json"
    ran = run("fuse", net, "--autotune", "--decisions", file, "--no-bench", "-o", tmp_path / "tuned.onnx")
    assert (ran.code, ran.err) == (0, "")
    return file


def test_a_real_run_can_be_replayed_byte_for_byte(run, net, tmp_path):
    file = tmp_path / "d.json"
    ran = run("fuse", net, "--autotune", "--decisions", file, *SHORT, "-o", tmp_path / "one.onnx", "--json")
    assert (ran.code, ran.err) == (0, "")
    found = json.loads(ran.out)["decisions"]
    assert [len(entry["regions"]) for entry in found["regions"]] == [1, 1, 1]
    assert all(entry["measured"]["pairs"] >= 6 for entry in found["regions"])

    again = run("fuse", net, "--decisions", file, "--no-bench", "-o", tmp_path / "two.onnx", "--json")
    assert again.code == 0
    assert (tmp_path / "one.onnx").read_bytes() == (tmp_path / "two.onnx").read_bytes()
    assert {entry["measured"] for entry in json.loads(again.out)["decisions"]["regions"]} <= {None}


def test_the_file_says_what_was_decided_and_on_which_machine(saved, net):
    document = json.loads(saved.read_text())
    assert (document["format"], document["format_version"]) == ("repvgg-onnx decisions", 1)
    assert document["model"] == {"sha256": fingerprint(onnx.load(net))}
    assert document["keep_input"] is False
    assert [(entry["root"], entry["sink"], entry["fold"]) for entry in document["regions"]] == [
        (*FIRST, False),
        (*SECOND, False),
        (*LAST, True),
    ]
    assert document["regions"][0]["measured"] == {
        "speedup": SLOWER.speedup,
        "low": SLOWER.low,
        "high": SLOWER.high,
    }
    assert {"cpu", "cores", "onnxruntime", "platform", "provider", "threads"} <= document["environment"].keys()


@pytest.mark.parametrize("options", [(), ("--no-verify",)])
def test_a_replay_measures_no_fold(run, net, saved, races, tmp_path, options):
    races.clear()
    ran = run("fuse", net, "--decisions", saved, "--no-bench", *options, "-o", tmp_path / "again.onnx")
    assert ran.code == 0
    assert not races
    assert (tmp_path / "again.onnx").read_bytes() == (tmp_path / "tuned.onnx").read_bytes()
    assert "folded as decided before" in words(ran.out)


def test_decisions_hold_for_the_same_network_with_other_weights(run, saved, tmp_path):
    other = twice()
    other.graph.initializer[0].raw_data = bytes(len(other.graph.initializer[0].raw_data))
    onnx.save(other, tmp_path / "other.onnx")
    assert run("fuse", tmp_path / "other.onnx", "--decisions", saved, "--no-bench").code == 0


def test_an_input_that_is_kept_is_kept_again(run, tmp_path, races):
    net = tmp_path / "plain.onnx"
    text = "net (float[1,2,5,7] x) => (float[1,2,5,7] y) { r = Relu(x)  a = Conv(r, w)  y = Mul(a, s) }"
    onnx.save(build(text, w=(2, 2, 1, 1), s=(1,)), net)
    races.wholes = [SLOWER]
    file = tmp_path / "d.json"
    ran = run("fuse", net, "--autotune", "--decisions", file, "--no-bench", "-o", tmp_path / "one.onnx")
    assert "so nothing is folded" in words(ran.out)
    assert json.loads(file.read_text())["keep_input"] is True
    assert run("fuse", net, "--decisions", file, "-o", tmp_path / "two.onnx").code == 0
    assert (tmp_path / "one.onnx").read_bytes() == (tmp_path / "two.onnx").read_bytes() == net.read_bytes()


def changed(document, **changes):
    return json.dumps(document | changes)


DAMAGE = {
    "absent": (None, "cannot be read"),
    "no-json": (lambda _: "{", "is not a JSON document"),
    "nested": (lambda _: "[" * 100_000, "is not a JSON document"),
    "not-a-document": (lambda _: "[]", "is not a decisions file"),
    "other-format": (lambda it: changed(it, format="report"), "is not a decisions file"),
    "other-version": (lambda it: changed(it, format_version=2), "has format version 2; this version reads 1"),
    "no-regions": (lambda it: changed(it, regions=None), "is damaged"),
    "no-root": (lambda it: changed(it, regions=[{"sink": "b", "fold": True}]), "is damaged"),
    "no-name": (lambda it: changed(it, regions=[{"root": 1, "sink": "b", "fold": True}]), "is damaged"),
    "no-flag": (lambda it: changed(it, regions=[{"root": "r", "sink": "b", "fold": 1}]), "is damaged"),
    "other-model": (lambda it: changed(it, model={"sha256": "0" * 64}), "was made for a different model"),
    "other-sink": (
        lambda it: changed(it, regions=[{"root": "r", "sink": "zz", "fold": True}]),
        "the decisions are about 'zz', which no node of the model makes",
    ),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_a_file_that_does_not_fit_is_one_clear_line(run, net, saved, tmp_path, name):
    damage, sentence = DAMAGE[name]
    if damage is None:
        saved.unlink()
    else:
        saved.write_text(damage(json.loads(saved.read_text())))
    target = tmp_path / "again.onnx"
    ran = run("fuse", net, "--decisions", saved, "--no-bench", "-o", target)
    assert ran.code == 2
    assert sentence in ran.err
    assert ran.err.count("\n") == 1
    assert not target.exists()


def test_decisions_overwrite_no_file_of_the_run(run, net, tmp_path):
    before = net.read_bytes()
    assert run("fuse", net, "--autotune", "--decisions", net).code == 2
    assert run("fuse", net, "--autotune", "--decisions", tmp_path / "o.onnx", "-o", tmp_path / "o.onnx").code == 2
    assert run("fuse", net, "--autotune", "--decisions", tmp_path / "no" / "d.json").code == 2
    assert net.read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["net.onnx"]


def test_nothing_is_saved_when_nothing_is_written(run, net, tmp_path, races):
    ran = run("fuse", net, "--autotune", "--decisions", tmp_path / "d.json", "--min-speedup", "1e6", *SHORT)
    assert ran.code == 1
    assert [path.name for path in tmp_path.iterdir()] == ["net.onnx"]


def test_check_and_autotune_do_not_go_together(run, net):
    ran = run("fuse", net, "--check", "--autotune")
    assert ran.code == 2
    assert "--check and --autotune are mutually exclusive" in ran.err


def test_check_knows_what_is_to_be_kept(run, net, tmp_path, races):
    races.parts["b"] = SLOWER
    file = tmp_path / "d.json"
    assert run("fuse", net, "--autotune", "--decisions", file).code == 0
    assert run("fuse", net, "--check").code == 1
    assert run("fuse", net, "--check", "--decisions", file).code == 0


def test_the_report_says_what_was_measured_and_kept(run, net, races):
    races.parts |= {"b": SLOWER, "h": FASTER}
    out = run("fuse", net, "--autotune", "--no-bench").out
    assert "2 x 1x1 Conv → 3x3 Conv as 3x3 Conv left as measured: 1.18x slower (95% CI 1.11-1.25)" in words(out)
    assert "1 x 3x3 depthwise Conv → 1x1 Conv as 3x3 Conv folded as measured: 1.15x faster" in words(out)
    assert "the whole against the input: 1.15x faster (95% CI 1.10-1.20)" in words(out)
    assert max(map(len, out.splitlines())) <= 80


def test_a_model_without_doubts_says_so(run, tmp_path, races):
    onnx.save(repvgg_block(), tmp_path / "block.onnx")
    assert "no fold is doubtful" in run("fuse", tmp_path / "block.onnx", "--autotune", "--no-bench").out


def test_the_fingerprint_is_of_the_structure():
    model = twice()
    assert fingerprint(model) == fingerprint(twice())
    renamed = twice()
    renamed.graph.node[0].name = "first"
    renamed.graph.doc_string = "about the graph"
    assert fingerprint(renamed) == fingerprint(model)
    strided = twice()
    strided.graph.node[1].attribute.append(onnx.helper.make_attribute("strides", [1, 1]))
    assert fingerprint(strided) != fingerprint(model)


def judged(regions, latency, min_speedup, tmp_path):
    options = FuseOptions(tmp_path, None, False, False, True, True, None, 5.0, min_speedup)
    return fuse.judge(options, regions, None, latency)


@pytest.mark.parametrize(
    ("min_speedup", "verdict"),
    [(0.9, Verdict.NOTHING_TO_FOLD), (1.0, Verdict.NOTHING_TO_FOLD), (1.05, Verdict.TOO_SLOW)],
)
def test_where_nothing_folds_the_speedup_is_one(tmp_path, min_speedup, verdict):
    assert judged([], None, min_speedup, tmp_path) is verdict


def test_a_gate_above_one_fails_on_a_model_with_nothing_to_fold(run, plain, tmp_path):
    ran = run("fuse", plain, "--min-speedup", "1.05")
    assert ran.code == 1
    assert "nothing was folded, so that the speedup is 1, below --min-speedup 1.05; nothing was written" in ran.err
    assert [path.name for path in tmp_path.iterdir()] == ["plain.onnx"]
    assert run("fuse", plain, "--min-speedup", "1").code == 0


def test_a_missed_gate_states_the_interval_and_the_threshold(monkeypatch, run, net):
    monkeypatch.setattr(fuse, "compare_latency", lambda *_: EQUAL)
    ran = run("fuse", net, "--min-speedup", "1.1")
    assert ran.code == 1
    assert (
        "the speedup is 1, and its 95% interval, 0.95-1.05, ends below --min-speedup 1.1; nothing was written"
        in ran.err
    )


def test_a_gate_inside_the_interval_is_not_decided_and_passes(monkeypatch, run, net):
    monkeypatch.setattr(fuse, "compare_latency", lambda *_: EQUAL)
    ran = run("fuse", net, "--min-speedup", "1.02")
    assert ran.code == 0
    sentence = "whether the speedup reaches 1.02 is not decided: its 95% interval, 0.95-1.05, holds it, so it passes"
    assert sentence in words(ran.out)


def test_a_gate_below_the_interval_needs_no_words(monkeypatch, run, net):
    monkeypatch.setattr(fuse, "compare_latency", lambda *_: FASTER)
    assert "not decided" not in run("fuse", net, "--min-speedup", "1.02").out
