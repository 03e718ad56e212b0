"""Ranges that the user gives for random inputs; parsing one needs no numpy."""

import math
import re

from repvgg_onnx.errors import CheckError

Range = tuple[float, float]
"""Smallest and largest value, both included."""

_RANGE = re.compile(r"(?P<name>.+)=(?P<low>[^=,]+),(?P<high>[^=,]+)", re.DOTALL)


def parse_range(text: str) -> tuple[str, Range]:
    """Input name and range that ``NAME=LO,HI`` stands for; the last ``=`` separates the two.

    Raises:
        CheckError: the text has another form, a bound is not finite, or the range is empty.

    Example:
        >>> parse_range("token:0=0,29521"), parse_range("image=-1,1.5")
        (('token:0', (0, 29521)), ('image', (-1, 1.5)))
    """
    match = _RANGE.fullmatch(text)
    if match is None:
        raise CheckError(f"range {text!r} is not of the form NAME=LO,HI")
    try:
        low, high = _number(match["low"]), _number(match["high"])
    except ValueError as error:
        raise CheckError(f"range {text!r} is not of the form NAME=LO,HI") from error
    check_range(match["name"], (low, high))
    return match["name"], (low, high)


def check_range(name: str, bounds: Range) -> None:
    """The range of input ``name`` is finite and not empty.

    Raises:
        CheckError: it is not.
    """
    low, high = bounds
    if not (math.isfinite(low) and math.isfinite(high)):
        raise CheckError(f"range {low},{high} of input {name!r} is not finite")
    if low > high:
        raise CheckError(f"range {low},{high} of input {name!r} is empty: the first number is the smallest value")


def _number(text: str) -> float:
    """An int where the text is one, so that 64-bit bounds stay exact."""
    try:
        return int(text)
    except ValueError:
        return float(text)
