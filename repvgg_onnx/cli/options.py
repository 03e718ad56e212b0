"""Options that several commands share, and the values that commands hand on."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import click

from repvgg_onnx.cli.boundary import remember_debug

Command = TypeVar("Command", bound=Callable[..., Any])
Decorator = Callable[[Command], Command]

FILE = click.Path(path_type=Path)
"""A file given by the user; whether it can be used is found out when it is opened."""
STDOUT = "-"
"""The path that stands for stdout."""


@dataclass(frozen=True)
class Runtime:
    """How models are run.

    Attributes:
        shapes: shapes of inputs by name.
        inputs: files and folders of inputs that the user has.
        ranges: smallest and largest value of inputs that are drawn, by name.
        threads: onnxruntime's threads; None is the default of the check.
        provider: onnxruntime's execution provider.
        custom_ops: libraries of operators that onnxruntime itself lacks.
        labels: an .npy file of the classes of the inputs, if the user has one.
    """

    shapes: dict[str, tuple[int, ...]]
    inputs: tuple[Path, ...]
    ranges: dict[str, tuple[float, float]]
    threads: int | None
    provider: str
    custom_ops: tuple[Path, ...]
    labels: Path | None = None

    def arguments(self, *, threads: int) -> dict[str, Any]:
        """Keyword arguments that every check takes.

        Args:
            threads: how many threads to run on where the user did not say.
        """
        return {
            "shapes": self.shapes,
            "inputs": self.inputs or None,
            "ranges": self.ranges,
            "provider": self.provider,
            "custom_ops": self.custom_ops,
            "threads": self.threads or threads,
        }


@dataclass(frozen=True)
class Assumptions:
    """What is taken for granted about the input; the names are those of the arguments of ``repvgg_onnx.fuse``.

    Attributes:
        assume_inference: nodes in training mode are meant to be in inference mode.
        freeze_initializers: no caller feeds the inputs that have initializers.
    """

    assume_inference: bool = False
    freeze_initializers: bool = False


@dataclass(frozen=True)
class Output:
    """Where a report goes.

    Attributes:
        json_path: file for the JSON report, ``-`` for stdout; None for no JSON.
        quiet: whether the report for people is left out.
    """

    json_path: str | None
    quiet: bool


@dataclass(frozen=True)
class FuseOptions:
    """What ``fuse`` was asked to do.

    Attributes:
        model: the input.
        output: the file to write; None is the name that follows from the input.
        in_place: overwrite the input.
        check: write nothing and fail if anything can be folded.
        verify: compare the outputs before writing.
        bench: measure the latency of both models.
        tolerance: largest accepted normalized error; None follows from the types of the outputs.
        bench_seconds: bound on the measured time.
        min_speedup: speedup below which the run fails.
        max_constant_mb: MiB that constants and folded weights may take besides the model's own.
        strict: fail if a region had to be rolled back.
    """

    model: Path
    output: Path | None
    in_place: bool
    check: bool
    verify: bool
    bench: bool
    tolerance: float | None
    bench_seconds: float
    min_speedup: float | None
    max_constant_mb: int
    strict: bool = False


def shape_option(command: Command) -> Command:
    """``--shape NAME=1,3,224,224``, repeatable, parsed to a dict."""
    return click.option(
        "--shape",
        "shapes",
        multiple=True,
        metavar="NAME=N,C,H,W",
        callback=_parse_shapes,
        help="Shape of an input whose axes are dynamic; repeatable.",
    )(command)


def runtime_options(command: Command) -> Command:
    """The options that make a ``Runtime``."""
    return _all(
        shape_option,
        click.option(
            "--inputs",
            type=FILE,
            multiple=True,
            metavar="PATH",
            help="Inputs to run on as well: .npz, .npy or a test_data_set_* folder; repeatable.",
        ),
        click.option(
            "--range",
            "ranges",
            multiple=True,
            metavar="NAME=LO,HI",
            callback=_parse_ranges,
            help="Draw an input from LO to HI, both included; repeatable.",
        ),
        click.option("--threads", type=click.IntRange(min=1), help="Threads of onnxruntime."),
        click.option("--provider", default="CPUExecutionProvider", show_default=True, help="Execution provider."),
        click.option(
            "--custom-ops",
            type=click.Path(exists=True, dir_okay=False, path_type=Path),
            multiple=True,
            metavar="PATH",
            help="Library of operators that onnxruntime lacks; its code is run; repeatable.",
        ),
    )(command)


def labels_option(command: Command) -> Command:
    """``--labels FILE.npy``."""
    return click.option(
        "--labels", type=FILE, metavar="FILE.npy", help="Classes of the rows of --inputs, to count right ones."
    )(command)


def assumption_options(command: Command) -> Command:
    """The options that make ``Assumptions``."""
    return _all(
        click.option(
            "--assume-inference", is_flag=True, help="Take training-mode nodes for inference-mode ones, and say which."
        ),
        click.option(
            "--freeze-initializers", is_flag=True, help="Take inputs that have initializers for constants, and say so."
        ),
    )(command)


def max_constant_option(command: Command) -> Command:
    """``--max-constant-mb``."""
    return click.option(
        "--max-constant-mb",
        type=click.IntRange(min=0),
        default=64,
        show_default=True,
        help="MiB to compute of constants and weights, beyond twice the model's own.",
    )(command)


def tolerance_option(command: Command) -> Command:
    """``--tolerance``."""
    return click.option(
        "--tolerance",
        type=click.FloatRange(min=0, min_open=True),
        help="Largest accepted error, max|a-b| / max|a|.  [default: by type]",
    )(command)


def output_options(command: Command) -> Command:
    """The options that make an ``Output``, and ``--debug``."""
    return _all(json_option, quiet_option, debug_option)(command)


def json_option(command: Command) -> Command:
    """``--json [PATH]``."""
    return click.option(
        "--json",
        "json_path",
        is_flag=False,
        flag_value=STDOUT,
        metavar="[PATH]",
        help="Write the report as JSON, to stdout if PATH is left out or is -.",
    )(command)


def quiet_option(command: Command) -> Command:
    """``--quiet``."""
    return click.option("--quiet", is_flag=True, help="Print nothing but errors.")(command)


def debug_option(command: Command) -> Command:
    """``--debug``, which the boundary acts on."""
    return click.option(
        "--debug",
        is_flag=True,
        is_eager=True,
        expose_value=False,
        callback=remember_debug,
        help="Show tracebacks.",
    )(command)


def _all(*decorators: Decorator[Command]) -> Decorator[Command]:
    """Several decorators as one; the first one's options are listed first."""

    def decorate(command: Command) -> Command:
        for decorator in reversed(decorators):
            command = decorator(command)
        return command

    return decorate


def _parse_shapes(
    _ctx: click.Context, _parameter: click.Parameter, texts: tuple[str, ...]
) -> dict[str, tuple[int, ...]]:
    """Callback of ``--shape``."""
    from repvgg_onnx.shapes import parse_shape

    return dict(map(parse_shape, texts))


def _parse_ranges(
    _ctx: click.Context, _parameter: click.Parameter, texts: tuple[str, ...]
) -> dict[str, tuple[float, float]]:
    """Callback of ``--range``."""
    from repvgg_onnx.checks.ranges import parse_range

    return dict(map(parse_range, texts))
