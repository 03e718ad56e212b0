import re

from repvgg_onnx.report.github import annotations
from tests.report.values import foldable, fused, not_begun, refusal, region, run_of, unusable

COMMAND = re.compile(r"::(error|warning|notice) file=([^,:\n]*),title=([^,:\n]*)::(.*)")


def read(*outcomes):
    return [COMMAND.fullmatch(line).groups() for line in annotations(run_of(*outcomes)).splitlines()]


def test_failures_are_errors_beside_their_file():
    assert read(foldable(), unusable(), not_begun()) == [
        (
            "error",
            "models/net.onnx",
            "foldable regions",
            "3 regions to fold: sum_0/fused, sum_1/fused, sum_2/fused; "
            "to fold them, run: repvgg-onnx fuse net.onnx --in-place",
        ),
        ("error", "models/bad.onnx", "model", "no ONNX model"),
        ("warning", "models/last.onnx", "model", "not begun, because a model before it failed"),
    ]


def test_refusals_that_one_can_act_on_are_warnings():
    found = read(foldable(error=None, refusals=(refusal(0), refusal(1, "training-mode"))))

    assert [(level, title) for level, _, title, _ in found] == [("warning", "training-mode"), ("notice", "foldable")]
    assert found[0][3].endswith("or give --assume-inference.")


def test_a_model_that_passes_is_a_notice():
    ((level, file, title, message),) = read(fused())

    assert (level, file, title) == ("notice", "models/net.onnx", "fused")
    assert (
        message
        == "3 regions folded, same outputs (error 2.4e-07, own noise 1.9e-07), 1.14x faster (95%25 CI 1.12-1.16)"
    )


def test_a_name_cannot_begin_a_command_of_its_own():
    hostile = "x\n::set-output name=a::b%0A"

    lines = annotations(run_of(foldable(regions=(region(name=hostile),)))).splitlines()

    assert len(lines) == 1
    assert "%250A" in lines[0]
