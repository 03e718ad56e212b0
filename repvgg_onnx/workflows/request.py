"""What a workflow is asked for, in values: the model, how it is compiled, how it is run."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from repvgg_onnx.checks.inputs import Shapes
from repvgg_onnx.checks.options import CheckKeywords, CheckOptions
from repvgg_onnx.compiler.decisions import UNDECIDED, Decisions
from repvgg_onnx.compiler.fuse import Fusion, Prepared, prepare
from repvgg_onnx.compiler.options import CompileKeywords, CompileOptions
from repvgg_onnx.graph.load import ModelLike, Source

Written = Callable[[Fusion], ModelLike]


class Keywords(CompileKeywords, CheckKeywords, total=False):
    """The fields of CompileOptions and of CheckOptions as keyword arguments."""


@dataclass(frozen=True)
class Request:
    """What is compiled and how, and how it is run.

    Attributes:
        source: the model.
        compiling: what is taken for granted about it.
        running: feeds, runtime and tolerance.
        decisions: regions to fold or to keep whatever they cost.
    """

    source: Source
    compiling: CompileOptions
    running: CheckOptions
    decisions: Decisions = UNDECIDED

    @classmethod
    def of(cls, model: ModelLike | Source, keywords: Mapping[str, Any], decisions: Decisions = UNDECIDED) -> "Request":
        """The request that keyword arguments make; a model is opened.

        Raises:
            TypeError: there is no such keyword.
            ModelError: the model cannot be read.
        """
        return cls(Source.of(model), *options_of(keywords), decisions)

    def prepared(self) -> Prepared:
        """The model with what is taken for granted written into it, every tensor in memory.

        Raises:
            CheckError: the model has no such output.
        """
        return prepare(self.source.whole, self.compiling)

    def on(self, shapes: Shapes) -> "Request":
        """The same on inputs of these shapes."""
        return replace(
            self, compiling=replace(self.compiling, shapes=shapes), running=replace(self.running, shapes=shapes)
        )


def options_of(keywords: Mapping[str, Any]) -> tuple[CompileOptions, CheckOptions]:
    """The options that keyword arguments give.

    Raises:
        TypeError: there is no such option.
    """
    compiling, running = ({each.name for each in fields(kind)} for kind in (CompileOptions, CheckOptions))
    unknown = keywords.keys() - compiling - running
    if unknown:
        raise TypeError(f"unknown option {min(unknown)!r}")
    return (
        CompileOptions(**{name: value for name, value in keywords.items() if name in compiling}),
        CheckOptions(**{name: value for name, value in keywords.items() if name in running}),
    )
