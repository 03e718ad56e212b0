"""Callbacks of options: what the user wrote as the value that it stands for."""

import re
from difflib import get_close_matches

import click

from repvgg_onnx.compiler.codes import CODES, Code


def require_codes(_ctx: click.Context, _parameter: click.Parameter, codes: tuple[str, ...]) -> tuple[str, ...]:
    """Callback of ``--ignore``."""
    for code in codes:
        require_code(code)
    return codes


def parse_shapes(
    _ctx: click.Context, _parameter: click.Parameter, texts: tuple[str, ...]
) -> dict[str, tuple[int, ...]]:
    """Callback of ``--shape``."""
    from repvgg_onnx.graph.shapes import parse_shape

    return dict(map(parse_shape, texts))


def parse_settings(_ctx: click.Context, _parameter: click.Parameter, texts: tuple[str, ...]) -> dict[str, str]:
    """Callback of ``--provider-option``; the first ``=`` separates key and value."""
    parts = [text.partition("=") for text in texts]
    for key, separator, _ in parts:
        if not (key and separator):
            raise click.BadParameter(f"{key!r} is not of the form KEY=VALUE")
    return {key: value for key, _, value in parts}


def parse_counts(_ctx: click.Context, _parameter: click.Parameter, text: str) -> tuple[int, ...]:
    """Callback of ``--batch`` and of a list of ``--threads``; what is given twice is measured once."""
    if not text:
        return ()
    if not re.fullmatch(r"\s*[1-9]\d*\s*(,\s*[1-9]\d*\s*)*", text, re.ASCII):
        raise click.BadParameter(f"{text!r} is not a list of positive numbers such as 1,8,32")
    return tuple(dict.fromkeys(map(int, text.split(","))))


def parse_ranges(
    _ctx: click.Context, _parameter: click.Parameter, texts: tuple[str, ...]
) -> dict[str, tuple[float, float]]:
    """Callback of ``--range``."""
    from repvgg_onnx.checks.ranges import parse_range

    return dict(map(parse_range, texts))


def require_code(code: str) -> Code:
    """The long form of a code.

    Raises:
        UsageError: there is no such code.
    """
    if code in CODES:
        return CODES[code]
    near = get_close_matches(code, CODES, n=1)
    hint = f"did you mean {near[0]!r}?" if near else "'repvgg-onnx explain' lists all"
    raise click.UsageError(f"unknown code {code!r}: {hint}")
