"""Options that several commands share, and the values that commands hand on."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from repvgg_onnx.cli.parsing import parse_counts, parse_ranges, parse_settings, parse_shapes, require_codes
from repvgg_onnx.cli.reports import ANNOTATIONS, STDOUT, Destination
from repvgg_onnx.graph.budget import DEFAULT_MB

if TYPE_CHECKING:
    from repvgg_onnx.checks.options import CheckOptions

Command = TypeVar("Command", bound=Callable[..., Any])
Decorator = Callable[[Command], Command]

FILE = click.Path(path_type=Path)
"""A file given by the user; whether it can be used is found out when it is opened."""
ABOVE_ZERO = click.FloatRange(min=0, min_open=True)
"""A time or an error: any number above 0."""
AT_LEAST_ONE = click.IntRange(min=1)
"""A number of things of which there must be one."""
NOT_NEGATIVE = click.IntRange(min=0)
"""A number of things of which there may be none."""


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
        provider_options: what the provider is told.
        labels: an .npy file of the classes of the inputs, if the user has one.
    """

    shapes: dict[str, tuple[int, ...]]
    inputs: tuple[Path, ...]
    ranges: dict[str, tuple[float, float]]
    threads: int | None
    provider: str
    custom_ops: tuple[Path, ...]
    provider_options: dict[str, str] = field(default_factory=dict)
    labels: Path | None = None

    def options(self, *, threads: int, tolerance: float | None = None) -> "CheckOptions":
        """What every check takes.

        Args:
            threads: how many threads to run on where the user did not say.
            tolerance: largest error that passes, if the user gave one.
        """
        from repvgg_onnx.checks.options import CheckOptions

        return CheckOptions(
            shapes=self.shapes,
            inputs=self.inputs or None,
            ranges=self.ranges,
            provider=(self.provider, self.provider_options) if self.provider_options else self.provider,
            threads=self.threads or threads,
            custom_ops=self.custom_ops,
            labels=self.labels,
            tolerance=tolerance,
        )


@dataclass(frozen=True)
class BenchOptions:
    """What ``bench`` was asked to do.

    Attributes:
        models: the files; ratios refer to the first.
        seconds: bound on the measured time of each batch and number of threads.
        batches: sizes of axis 0 to measure at; none is what the models, shapes or inputs say.
        threads: numbers of onnxruntime's threads to measure on; none is the default.
        isolate: whether every session has a process of its own.
        plot: file for a picture, if there is to be one.
    """

    models: tuple[Path, ...]
    seconds: float
    batches: tuple[int, ...]
    threads: tuple[int, ...]
    isolate: bool
    plot: Path | None


@dataclass(frozen=True)
class InspectOptions:
    """What ``inspect`` shows.

    Attributes:
        every: every region and every refusal, not the alike as one, also those for which nothing can be done.
        per_layer: every node with what it multiplies, moves and keeps in memory.
        ignore: codes of refusals to leave out.
    """

    every: bool = False
    per_layer: bool = False
    ignore: tuple[str, ...] = ()


@dataclass(frozen=True)
class Output:
    """Where a report goes.

    Attributes:
        json_path: file for the JSON report, ``-`` for stdout; None for no JSON.
        quiet: whether the report for people is left out.
        reports: further reports to write.
        every: whether people see the refusals too for which nothing can be done.
    """

    json_path: str | None
    quiet: bool
    reports: tuple[Destination, ...] = ()
    every: bool = False

    @property
    def annotates(self) -> bool:
        """Whether annotations go to stdout."""
        return any(report.format == ANNOTATIONS for report in self.reports)

    @property
    def on_stdout(self) -> tuple[str, ...]:
        """The options that send a report for programs to stdout."""
        document = ["--json"] if self.json_path == STDOUT else []
        return (*document, *(f"--report {report.named}" for report in self.reports if report.path is None))

    @property
    def replaces_text(self) -> bool:
        """Whether stdout is not for people; annotations are printed beside text."""
        return bool(self.on_stdout) and not self.annotates

    @property
    def silent(self) -> bool:
        """Whether nothing at all goes to stdout."""
        return self.quiet and not self.on_stdout

    @property
    def files(self) -> tuple[tuple[str, Path], ...]:
        """Every file that a report goes to, behind its format."""
        document = [] if self.json_path in (None, STDOUT) else [("json", Path(str(self.json_path)))]
        return (*document, *((report.format, report.path) for report in self.reports if report.path is not None))


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
        strict: fail if a region had to be rolled back.
        autotune: measure doubtful folds and keep the faster form.
        autotune_seconds: bound on the time that takes.
        decisions: file that the decisions are saved in with ``autotune``, and read from without; None for no file.
        target: the server that the model is for; None for no check of that.
        max_foldable: with ``check``, number of foldable regions that are let pass.
        ignore: codes of refusals to leave out of the report.
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
    strict: bool = False
    autotune: bool = False
    autotune_seconds: float = 30.0
    decisions: Path | None = None
    target: str | None = None
    max_foldable: int = 0
    ignore: tuple[str, ...] = ()


def together(*decorators: Decorator[Command]) -> Decorator[Command]:
    """Several options as one decorator; the first one's options are listed first."""

    def decorate(command: Command) -> Command:
        for decorator in reversed(decorators):
            command = decorator(command)
        return command

    return decorate


shape_option = click.option(
    "--shape",
    "shapes",
    multiple=True,
    metavar="NAME=N,C,H,W",
    callback=parse_shapes,
    help="Shape of an input whose axes are dynamic; repeatable.",
)
"""``--shape NAME=1,3,224,224``, repeatable, parsed to a dict."""

feed_options = together(
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
        callback=parse_ranges,
        help="Draw an input from LO to HI, both included; repeatable.",
    ),
)
"""``--shape``, ``--inputs`` and ``--range``."""

provider_options = together(
    click.option(
        "--provider",
        default="CPUExecutionProvider",
        show_default=True,
        help="Execution provider; short names such as cuda do.",
    ),
    click.option(
        "--provider-option",
        "provider_options",
        multiple=True,
        metavar="KEY=VALUE",
        callback=parse_settings,
        help="Option of the execution provider; repeatable.",
    ),
    click.option(
        "--custom-ops",
        type=click.Path(exists=True, dir_okay=False, path_type=Path),
        multiple=True,
        metavar="PATH",
        help="Library of operators that onnxruntime lacks; its code is run; repeatable.",
    ),
)
"""``--provider``, ``--provider-option`` and ``--custom-ops``."""

runtime_options = together(
    feed_options, click.option("--threads", type=AT_LEAST_ONE, help="Threads of onnxruntime."), provider_options
)
"""The options that make a ``Runtime``."""

_numbers = partial(click.option, metavar="N,N", default="", callback=parse_counts)
sweep_options = together(
    feed_options,
    _numbers("--batch", "batches", help="Sizes of axis 0 of every input to measure at."),
    _numbers("--threads", help="Threads of onnxruntime to measure on.  [default: 1]"),
    provider_options,
)
"""The options that make a ``Runtime`` without threads, and what to measure it at."""

labels_option = click.option(
    "--labels", type=FILE, metavar="FILE.npy", help="Classes of the rows of --inputs, to count right ones."
)
"""``--labels FILE.npy``."""

assumption_options = together(
    click.option(
        "--assume-inference", is_flag=True, help="Take training-mode nodes for inference-mode ones, and say which."
    ),
    click.option(
        "--assume-placeholders",
        is_flag=True,
        help="As --assume-inference, even where all statistics are mean 0 and variance 1.",
    ),
    click.option(
        "--freeze-initializers", is_flag=True, help="Take inputs that have initializers for constants, and say so."
    ),
    click.option(
        "--outputs", multiple=True, metavar="NAME", help="Keep this output and what it needs, and no other; repeatable."
    ),
)
"""The options of ``CompileOptions`` that say what is taken for granted."""

max_constant_option = click.option(
    "--max-constant-mb",
    type=NOT_NEGATIVE,
    default=DEFAULT_MB,
    show_default=True,
    help="MiB to compute of constants and weights, beyond twice the model's own.",
)
"""``--max-constant-mb``."""

below_option = click.option(
    "--below/--no-below",
    default=None,
    help="Move maps of the channels through resizing, pooling and Concat too.  [default: below, unless checking]",
)
"""``--below`` and ``--no-below``; where neither is given, what only checks does without."""

ignore_option = click.option(
    "--ignore",
    multiple=True,
    metavar="CODE",
    callback=require_codes,
    help="Leave refusals of this code out of the report; repeatable.",
)
"""``--ignore CODE``, repeatable."""

many_options = together(
    click.option(
        "--jobs",
        type=AT_LEAST_ONE,
        default=1,
        show_default=True,
        help="Models to work on at once; times are still measured one by one.",
    ),
    click.option("--fail-fast", is_flag=True, help="Begin no other model after one that failed."),
)
"""``--jobs`` and ``--fail-fast``."""

tuning_options = together(
    click.option("--autotune", is_flag=True, help="Measure doubtful folds and keep the faster form of each."),
    click.option(
        "--autotune-seconds",
        type=ABOVE_ZERO,
        default=30.0,
        show_default=True,
        help="Longest time to measure doubtful folds for.",
    ),
    click.option(
        "--decisions",
        type=FILE,
        metavar="FILE.json",
        help="With --autotune, save what was decided; without it, fold as the file says and measure no fold.",
    ),
)
"""``--autotune``, ``--autotune-seconds`` and ``--decisions``."""

tolerance_option = click.option(
    "--tolerance", type=ABOVE_ZERO, help="Largest accepted error, max|a-b| / max|a|.  [default: by type]"
)
"""``--tolerance``."""
