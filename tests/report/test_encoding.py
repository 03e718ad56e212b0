"""Every result that a report is made of can be encoded whole, so that it can go to another process or a file."""

import dataclasses
import json
import math

import msgspec
import pytest

from repvgg_onnx.report.run import Verification
from tests.cli.test_doctor import diagnosis
from tests.report.test_latency import block
from tests.report.test_latency import report as bench_report
from tests.report.values import agreement, all_noise, bisection, fused, parity, region_parity


@pytest.mark.parametrize(
    "result",
    [
        fused(parity=all_noise(), rolled_back=(region_parity(1, math.inf),)),
        Verification("a.onnx", "b.onnx", parity(agreements=(agreement(),)), bisection()),
        bench_report(block(2)),
        diagnosis(),
    ],
    ids=lambda result: type(result).__name__,
)
def test_a_whole_result_is_encoded(result):
    text = msgspec.json.encode(result, enc_hook=lambda array: array.tolist())

    assert set(json.loads(text)) == {field.name for field in dataclasses.fields(result)}
