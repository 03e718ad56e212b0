"""What a command is to do with one model, made from what its options are set to."""

import glob
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from repvgg_onnx.cli.options import FuseOptions, Runtime
from repvgg_onnx.compiler.options import CompileOptions

if TYPE_CHECKING:
    from repvgg_onnx.compiler.decisions import Decisions
    from repvgg_onnx.graph.load import Source
    from repvgg_onnx.workflows.request import Request

Sizes = Mapping[str, tuple[int, ...]]

_NEGATED = {"verify": "no_verify", "bench": "no_bench"}
_RUNTIME = ("shapes", "inputs", "ranges", "threads", "provider", "custom_ops", "provider_options", "labels")


@dataclass(frozen=True)
class FuseTask:
    """One model, and what ``fuse`` is to do with it.

    Attributes:
        options: what to do.
        compiling: what is taken for granted, and what compiling may cost.
        runtime: how models are run.
        warnings: what spoke against measuring before the work began, which loads the machine itself.
    """

    options: FuseOptions
    compiling: CompileOptions
    runtime: Runtime
    warnings: tuple[str, ...] = ()

    def to(self, output: Path) -> "FuseTask":
        """The same, written to another file."""
        return replace(self, options=replace(self.options, output=output))

    def on(self, sizes: Sizes | None) -> "FuseTask":
        """The same on inputs of these sizes, if there are any."""
        if sizes is None:
            return self
        compiling = replace(self.compiling, shapes=dict(sizes))
        return replace(self, compiling=compiling, runtime=replace(self.runtime, shapes=dict(sizes)))

    def request(self, source: "Source", decisions: "Decisions", *, threads: int) -> "Request":
        """What the workflows are asked for.

        Args:
            source: the model.
            decisions: what to fold by.
            threads: how many threads to run on where the user did not say.
        """
        from repvgg_onnx.workflows.request import Request

        running = self.runtime.options(threads=threads, tolerance=self.options.tolerance)
        return Request(source, self.compiling, running, decisions)


def fuse_task(model: Path, params: Mapping[str, Any]) -> FuseTask:
    """What ``fuse`` was asked to do with a model.

    Args:
        model: the file.
        params: what the options are set to.
    """
    named = {name: params[name] for name in FuseOptions.__dataclass_fields__ if name in params}
    negated = {name: not params[option] for name, option in _NEGATED.items()}
    output = None if params["output"] is None else Path(params["output"])
    options = FuseOptions(**{**named, **negated, "model": model, "output": output})
    return FuseTask(options, compile_options(params), Runtime(**{name: params[name] for name in _RUNTIME}))


def check_task(model: Path, params: Mapping[str, Any]) -> FuseTask:
    """What ``check`` was asked to do with a model: what ``fuse --check`` does.

    Args:
        model: the file.
        params: what the options are set to.
    """
    options = FuseOptions(
        model,
        output=None,
        in_place=False,
        check=True,
        verify=False,
        bench=False,
        tolerance=None,
        bench_seconds=0.0,
        min_speedup=None,
        max_foldable=params["max_foldable"],
        ignore=params["ignore"],
    )
    runtime = Runtime(params["shapes"], (), {}, None, "CPUExecutionProvider", ())
    return FuseTask(options, compile_options({**params, "check": True}), runtime)


def expand(models: Iterable[Path]) -> Iterator[Path]:
    """The models, each once; a pattern that the shell has left as it is stands for the files that it matches."""
    return iter(dict.fromkeys(path for model in models for path in (_matches(model) or [model])))


def is_folder(output: str | None) -> bool:
    """Whether the place to write to is a folder by its name alone."""
    return output is not None and output.endswith(("/", os.sep))


def _matches(model: Path) -> list[Path]:
    """Files that a pattern matches; none where it is the name of a file or no pattern."""
    if model.exists() or not glob.has_magic(str(model)):
        return []
    return [Path(name) for name in sorted(glob.glob(str(model), recursive=True))]


def compile_options(params: Mapping[str, Any]) -> CompileOptions:
    """What the options of a command say of compiling a model.

    What is below the deployed form counts in a check only where it is asked for: one that passed an earlier version
    passes this one.
    """
    given = {name: params[name] for name in CompileOptions.__dataclass_fields__}
    if given["below"] is None:
        given["below"] = not params.get("check", False)
    return CompileOptions(**given)
