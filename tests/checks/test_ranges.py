import subprocess
import sys

import pytest

from repvgg_onnx.checks.ranges import parse_range
from repvgg_onnx.errors import CheckError


@pytest.mark.parametrize(
    ("text", "name", "bounds"),
    [
        ("x=0,1", "x", (0, 1)),
        ("image:0=-1.5,1e3", "image:0", (-1.5, 1000.0)),
        ("a=b=-2,-1", "a=b", (-2, -1)),
        ("x= 3 , 3 ", "x", (3, 3)),
        ("ids=0,18446744073709551615", "ids", (0, 2**64 - 1)),
    ],
)
def test_ranges_are_parsed(text, name, bounds):
    assert parse_range(text) == (name, bounds)


@pytest.mark.parametrize("text", ["", "x", "x=", "x=1", "=0,1", "x=1,2,3", "x=a,b", "x=0;1", "x=,1"])
def test_other_forms_are_refused(text):
    with pytest.raises(CheckError, match="is not of the form NAME=LO,HI"):
        parse_range(text)


@pytest.mark.parametrize(
    ("text", "words"), [("x=1,0", "is empty"), ("x=0,inf", "not finite"), ("x=nan,1", "not finite")]
)
def test_impossible_ranges_are_refused(text, words):
    with pytest.raises(CheckError, match=words):
        parse_range(text)


def test_parsing_loads_no_numpy():
    code = "import sys, repvgg_onnx.checks.ranges; print('numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"
