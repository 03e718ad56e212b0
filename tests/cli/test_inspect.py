import json

import onnx
import pytest

import repvgg_onnx.cli.writing as writing
from repvgg_onnx.compiler.codes import CODES
from tests.cli.models import BLOCK, HEADER, filled
from tests.cli.reading import words


@pytest.fixture
def refused(tmp_path):
    """Two hundred residual additions that are no sums of maps of one tensor."""
    steps = [
        f"r{i} = Relu (t{i})  c{i} = Conv <kernel_shape = [1, 1]> (r{i}, kernel1, bias1)  t{i + 1} = Add (c{i}, t{i})"
        for i in range(200)
    ]
    text = f"{HEADER} net (float[N, 4, 5, 7] t0) => (float[N, 4, 5, 7] t200) {{ {' '.join(steps)} }}"
    path = tmp_path / "refused.onnx"
    onnx.save(filled(text), path)
    return path


def test_a_region_is_shown_with_its_nodes_and_costs(run, block):
    region = json.loads(run("inspect", block, "--json").out)["regions"][0]
    total = region["macs_before"] + region["moved_bytes_before"]

    lines = words(run("inspect", block).out)

    assert "1 x 3x3 Conv + 1x1 Conv + BN -> 3x3 Conv 5 nodes: all " in lines
    assert f"{region['macs_before']:,} -> {region['macs_after']:,} MACs" in lines
    assert f"saves {region['saving'] / total:.0%}" in lines


def test_the_json_has_every_member(run, block):
    region = json.loads(run("inspect", block, "--json").out)["regions"][0]

    assert [member["op_type"] for member in region["members"]] == ["Conv", "Conv", "BatchNormalization", "Add", "Add"]
    saved = region["macs_before"] - region["macs_after"] + region["moved_bytes_before"] - region["moved_bytes_after"]
    assert region["saving"] == saved > 0


def test_two_hundred_refusals_fit_on_a_screen(run, refused):
    ran = run("inspect", refused)
    document = json.loads(run("inspect", refused, "--json").out)

    assert ran.code == 0
    assert len(document["refusals"]) >= 200
    assert len(ran.out.splitlines()) <= 40
    assert "200 nodes cannot be folded, and nothing can be done about it; --all lists why" in words(ran.out)
    assert "two-roots" not in ran.out


def test_all_lists_every_refusal(run, refused):
    out = run("inspect", refused, "--all").out

    assert all(f"two-roots: t{i}\n" in out for i in range(1, 201))


def test_all_lists_every_region(run, tmp_path):
    steps = [
        f"""d{i} = Conv <kernel_shape = [3, 3], pads = [1, 1, 1, 1]> (t{i}, kernel3, bias3)
        p{i} = Conv <kernel_shape = [1, 1]> (t{i}, kernel1, bias1)  s{i} = Add (d{i}, p{i})  t{i + 1} = Relu (s{i})"""
        for i in range(15)
    ]
    text = f"{HEADER} net (float[N, 4, 5, 7] t0) => (float[N, 4, 5, 7] t15) {{ {' '.join(steps)} }}"
    onnx.save(filled(text), tmp_path / "deep.onnx")

    grouped, every = (words(run("inspect", tmp_path / "deep.onnx", *more).out) for more in ((), ("--all",)))

    assert "15 x 3x3 Conv + 1x1 Conv -> 3x3 Conv 45 nodes: s0, s1, s2 and 12 more" in grouped
    assert all(f"1 x 3x3 Conv + 1x1 Conv -> 3x3 Conv 3 nodes: s{i} " in every for i in range(15))


def test_what_to_do_is_said_once_for_each_code(run, refused):
    out = words(run("inspect", refused, "--all").out)
    document = json.loads(run("inspect", refused, "--json").out)

    assert document["advice"] == {code: CODES[code].advice for code in {it["code"] for it in document["refusals"]}}
    assert out.count(words(CODES["two-roots"].advice)) == 1


@pytest.mark.parametrize("command", [["fuse", "--check"], ["check"]], ids=" ".join)
def test_refusals_that_nothing_can_be_done_about_are_counted_and_listed_with_all(run, refused, block, command):
    hint = "repvgg-onnx explain CODE"

    brief, whole = (words(run(*command, refused, *more).out) for more in ((), ("--all",)))

    assert "200 nodes cannot be folded, and nothing can be done about it; --all lists why" in brief
    assert (hint in brief, "two-roots" in brief) == (False, False)
    assert (hint in whole, "two-roots" in whole, "--all lists why" in whole) == (True, True, False)
    assert hint not in run(*command, block, "--all").out


@pytest.mark.parametrize("command", [["fuse", "--check"], ["check"]], ids=" ".join)
def test_refusals_that_one_can_act_on_are_always_listed(run, tmp_path, command):
    text = f"""{HEADER} net (float[N, 4, 5, 7] x) => (float[N, 4, 5, 7] y) {{
        c = Conv <kernel_shape = [1, 1]> (x, kernel1, bias1)
        y = BatchNormalization <training_mode = 1> (c, gamma, beta, mean, var)
    }}"""
    onnx.save(filled(text), tmp_path / "train.onnx")

    out = words(run(*command, tmp_path / "train.onnx").out)

    assert "training-mode" in out
    assert "repvgg-onnx explain CODE" in out


def test_nothing_is_written_where_nothing_is_to_be_written(run, block, monkeypatch):
    monkeypatch.setattr(writing, "staging", lambda path: pytest.fail("the model was written"))

    assert run("inspect", block).code == 0
    assert run("fuse", block, "--check").code == 1


@pytest.mark.parametrize("command", [["inspect"], ["fuse", "--check"]], ids=" ".join)
@pytest.mark.parametrize("value", [[], ["-"]], ids=["alone", "dash"])
def test_json_without_a_path_is_stdout(run, block, command, value):
    ran = run(command[0], block, "--json", *value, *command[1:])

    assert json.loads(ran.out)["verdict"] == "foldable"


def test_json_before_the_model_takes_nothing_from_it(run, block):
    before = block.read_bytes()

    ran = run("inspect", "--json", block)

    assert json.loads(ran.out)["verdict"] == "foldable"
    assert block.read_bytes() == before


def test_names_of_control_characters_are_written_out(run, tmp_path):
    model = filled(BLOCK)
    for node in model.graph.node:
        node.name = f"{node.output[0]}\x1b[2J"
    onnx.save(model, tmp_path / "evil.onnx")

    out = run("inspect", tmp_path / "evil.onnx", "--all").out

    assert "\x1b" not in out
    assert "dense\\x1b[2J" in out
