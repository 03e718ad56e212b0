"""The census on the command line: of any model, and before and after a fold."""

import json

import onnx
import pytest

from tests.report.test_terminal import squeezed


def test_inspect_has_a_census_where_nothing_folds(run, plain):
    ran = run("inspect", plain, "--shape", "image=2,4,5,7", "--per-layer")

    out = squeezed(ran.out)
    assert (ran.code, "nothing to fold" in " ".join(out)) == (0, True)
    macs = 2 * 4 * 35 * 36
    assert f"MACs {macs:,}; Winograd F(2x2, 3x3): {macs * 4 // 9:,}" in out
    assert "dense Conv 2x4x5x7 148 10.1 k 2.83 kB 2.24 kB" in out
    assert not any("dynamic axes" in line for line in out)


def test_inspect_says_which_size_it_assumes(run, plain):
    assert "dynamic axes counted at image=1x4x5x7; --shape sets others" in squeezed(run("inspect", plain).out)


@pytest.mark.parametrize(
    "command",
    [["inspect"], ["fuse", "--no-bench"], ["fuse", "--check"], ["fuse", "--no-verify", "--no-bench"]],
    ids=" ".join,
)
def test_both_models_are_profiled(run, block, command):
    ran = run(command[0], block, "--shape", "image=2,4,5,7", "--json", *command[1:])

    document = json.loads(ran.out)
    before, after = (document[key]["profile"] for key in ("before", "after"))
    assert before["inputs"] == after["inputs"] == {"image": [2, 4, 5, 7]}
    assert (before["macs"], after["macs"]) == (2 * 35 * (4 * 36 + 16), 2 * 35 * 4 * 36)
    assert [layer["op_type"] for layer in after["layers"]] == ["Conv", "Relu"]
    assert before["peak_activation_bytes"] > after["peak_activation_bytes"]


def test_inspect_names_what_it_cannot_count(run, tmp_path):
    text = '<ir_version: 8, opset_import: ["" : 17]> g (float[5, 7] x) => (int64[2, K] y) { y = NonZero (x) }'
    onnx.save(onnx.parser.parse_model(text), tmp_path / "m.onnx")

    assert "left out, since what they take is not known: y" in squeezed(run("inspect", tmp_path / "m.onnx").out)
