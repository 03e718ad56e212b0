"""What every report says of noise, of what decided, and of tensors inside."""

import json
import math

import pytest

from repvgg_onnx.checks.parity import Parity, verify
from repvgg_onnx.report.html import html_report
from repvgg_onnx.report.machine import parity_json
from repvgg_onnx.report.markdown import markdown_report
from repvgg_onnx.report.model import Verdict
from repvgg_onnx.report.run import Verification
from repvgg_onnx.report.terminal import fuse_report, parity_report
from repvgg_onnx.workflows.prove import prove
from tests.checks.noisy import chaos, regrouped
from tests.checks.test_plain_types import strangers
from tests.models import repvgg_block
from tests.report.test_terminal import rendered, squeezed
from tests.report.values import all_noise, fused, noisy, parity, region_parity, report, run_of

UNDETERMINED = "hese inputs do not determine output 'y' to better than"


def terminal(found: Parity) -> str:
    return " ".join(squeezed(rendered(parity_report(found))))


def markdown(found: Parity) -> str:
    return markdown_report(run_of(subject=Verification("a", "b", found)))


def html(found: Parity) -> str:
    return html_report(run_of(subject=Verification("a", "b", found))).replace("&#39;", "'")


EVERY = pytest.mark.parametrize("shown", [terminal, markdown, html])


def test_error_and_noise_stand_side_by_side():
    assert "same outputs: worst error 0.0004, the network's own noise 0.00024, on 2 feeds" in terminal(noisy())
    assert "| `y` | 0.0004 | 0.00024 | 1e-05 | passed by noise |" in markdown(noisy())
    assert "the network's own noise is 2.4e-04" in html(noisy())
    assert "Outputs: worst error 0.0004, the network's own noise 0.00024." in markdown_report(
        run_of(fused(parity=noisy()))
    )
    assert "1e-05 allowed; the network's own noise is 2.4e-04" in html_report(run_of(fused(parity=noisy()))).replace(
        "&#39;", "'"
    )


@EVERY
def test_noise_above_the_tolerance_is_said_in_one_sentence(shown):
    assert shown(noisy()).count(f"{UNDETERMINED} 2.4e-04") == 1
    assert UNDETERMINED not in shown(parity())


@EVERY
def test_what_decided_is_said_and_the_range(shown):
    text = shown(noisy()).replace("\\", "")
    assert "decided by noise, error within 8 times the network's own noise: y" in text
    assert "measured against the range of the values, 1: y" in text
    for said in ("decided by", "the range of the values"):
        assert said not in shown(parity())


@EVERY
def test_tensors_inside_are_counted_and_remarks_are_said(shown):
    text = shown(all_noise()).replace("\\", "")
    assert "decided by tensors inside: y" in text
    assert "2 tensors inside compared one by one: worst error 2e-06, in t_2" in text
    assert "he original's output 'z' is not finite at ORT_ENABLE_ALL on normal, seed 0" in text
    assert "that differ" not in text


@EVERY
def test_tensors_inside_that_differ_are_named(shown):
    text = shown(all_noise(wrong=True)).replace("\\", "")
    assert "2 tensors inside compared one by one: worst error 0.3, in t_2" in text
    assert "tensors inside that differ: t_2" in text
    assert "tensor 't_2' inside differs: its error is 0.3 and may be 1e-05" in text


def test_the_page_has_a_table_of_tensors_inside_that_differ():
    assert "Tensors inside that differ" in html(all_noise(wrong=True))
    assert "Tensors inside that differ" not in html(all_noise())


def test_json_has_all_of_it():
    content = json.loads(parity_json("9.8.7", all_noise(wrong=True)))["parity"]
    (output,) = content["outputs"]
    assert (content["noise"], output["noise"], output["range"], output["decided_by"]) == (
        0.7,
        0.7,
        None,
        "inner tensors",
    )
    assert output["remark"].endswith("to better than 7.0e-01")
    assert content["remarks"] == ["the original's output 'z' is not finite at ORT_ENABLE_ALL on normal, seed 0"]
    assert content["inner"][1] == {
        "name": "t_2",
        "error": 0.3,
        "noise": 1e-7,
        "limit": 1e-5,
        "feed": "border, seed 0",
        "reason": "",
        "passed": False,
    }


def test_what_is_not_finite_is_null_in_json():
    content = json.loads(parity_json("9.8.7", parity(math.inf, "why", noise=math.inf)))["parity"]
    (output,) = content["outputs"]
    assert [content["error"], content["noise"], output["error"], output["noise"]] == [None] * 4


def test_results_of_the_new_kind_hold_pythons_own_types():
    decided_inside, proven = verify(chaos(), regrouped()), prove(repvgg_block())
    assert decided_inside.inner
    assert proven.parity is not None
    for found in (decided_inside, proven.parity, proven.regions):
        assert list(strangers(found)) == []
    assert all(type(tensor.passed) is bool for tensor in decided_inside.inner)
    assert {type(number) for number in (decided_inside.noise, decided_inside.error)} == {float}


def test_regions_that_were_rolled_back_are_named_also_where_nothing_is_left():
    rolled_back = tuple(region_parity(index, error=0.3) for index in range(12))
    nothing = report(regions=(), parity=None, latency=None, verdict=Verdict.NOTHING_TO_FOLD, rolled_back=rolled_back)
    text = " ".join(squeezed(rendered(fuse_report(nothing))))
    assert "Parity rolled back sum_0/fused: error 0.3 on normal, seed 1" in text
    assert "sum_9/fused" in text
    assert "sum_10/fused" not in text
    assert "and 2 regions more" in text
