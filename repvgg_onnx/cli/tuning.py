"""``--autotune`` and ``--decisions``: what is measured, and the file that it is saved in and read from."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import onnx

from repvgg_onnx import __version__
from repvgg_onnx.checks.environment import describe_environment
from repvgg_onnx.checks.latency import Race
from repvgg_onnx.checks.session import provider_parts
from repvgg_onnx.cli.boundary import about
from repvgg_onnx.cli.options import FuseOptions, Output, Runtime
from repvgg_onnx.cli.output import stage
from repvgg_onnx.cli.places import require_report_file
from repvgg_onnx.cli.tasks import FuseTask
from repvgg_onnx.compiler.decisions import UNDECIDED, Decisions
from repvgg_onnx.compiler.stages import timed
from repvgg_onnx.errors import CheckError
from repvgg_onnx.graph.fingerprint import fingerprint
from repvgg_onnx.graph.load import OpenModel
from repvgg_onnx.graph.save import write_bytes
from repvgg_onnx.report.marks import DECISIONS
from repvgg_onnx.workflows.autotune import Tuning, tuned
from repvgg_onnx.workflows.turns import alone

FORMAT_VERSION = 1
"""Raised when a key changes its meaning or goes."""


def require_decisions_file(options: FuseOptions, output: Output, *files: Path | None) -> None:
    """The decisions, if they are to be saved, can be, and not over another file of this run.

    Args:
        options: where the decisions go.
        output: where reports go.
        files: the models that are read and written, and their external data.

    Raises:
        UsageError: their folder does not exist, or they would overwrite the model, the output or the report.
    """
    if options.autotune and options.decisions is not None:
        require_report_file("decisions", options.decisions, *files, *(file for _, file in output.files))


def measured(task: FuseTask, opened: OpenModel, output: Output) -> Tuning | None:
    """What ``--autotune`` finds; None without it."""
    options = task.options
    if not options.autotune:
        return None
    doing = f"Measuring doubtful folds, at most {options.autotune_seconds:g} s"
    with alone(), stage(doing, quiet=output.quiet), timed("measure"):
        return tuned(task.request(opened, UNDECIDED, threads=1), Race(options.autotune_seconds))


def decided(options: FuseOptions, tuning: Tuning | None, model: onnx.ModelProto) -> Decisions:
    """The decisions to fold by: those measured just now, those of the file, or none.

    Args:
        options: where the file is.
        tuning: what was measured.
        model: what the file has to be about.

    Raises:
        CheckError: the file holds no decisions about this model.
    """
    if tuning is not None:
        return tuning.decisions
    return UNDECIDED if options.decisions is None else read_decisions(options.decisions, model)


def save_decisions(task: FuseTask, tuning: Tuning | None, model: onnx.ModelProto) -> None:
    """Writes what was measured, if the user wants it.

    Raises:
        BadInputError: the file cannot be written.
    """
    path = task.options.decisions
    if tuning is not None and path is not None:
        document = json.dumps(_document(tuning, model, task.runtime), indent=2) + "\n"
        with about(path):
            write_bytes(document.encode(), path)


def read_decisions(path: Path, model: onnx.ModelProto) -> Decisions:
    """The decisions of a file.

    Args:
        path: the file.
        model: what they have to be about.

    Raises:
        CheckError: the file cannot be read, is of another format or version, or is about another model.
    """
    document = _parsed(path)
    version = document.get("format_version")
    if version != FORMAT_VERSION:
        raise CheckError(f"decisions file {path} has format version {version!r}; this version reads {FORMAT_VERSION}")
    try:
        folds = {_ends(entry): _flag(entry["fold"]) for entry in document["regions"]}
        decisions, sha256 = Decisions(folds, _flag(document["keep_input"])), document["model"]["sha256"]
    except (KeyError, TypeError) as error:
        raise CheckError(f"decisions file {path} is damaged: {type(error).__name__} {error}") from error
    if sha256 != fingerprint(model):
        raise CheckError(f"decisions file {path} was made for a different model, or another version of this one")
    return decisions


def _parsed(path: Path) -> dict[str, Any]:
    try:
        document = json.loads(path.read_bytes())
    except OSError as error:
        raise CheckError(f"decisions file {path} cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise CheckError(f"decisions file {path} is not a JSON document: {error}") from error
    if not isinstance(document, dict) or document.get("format") != DECISIONS:
        raise CheckError(f"{path} is not a decisions file of this program")
    return document


def _ends(entry: dict[str, Any]) -> tuple[str, str]:
    root, sink = entry["root"], entry["sink"]
    if not isinstance(root, str) or not isinstance(sink, str):
        raise TypeError("a root or a sink is not a name")
    return root, sink


def _flag(value: object) -> bool:
    if not isinstance(value, bool):
        raise TypeError(f"{value!r} is neither true nor false")
    return value


def _document(tuning: Tuning, model: onnx.ModelProto, runtime: Runtime) -> dict[str, Any]:
    """The decisions, and what they rest on."""
    figures = {
        (region.root, region.sink): {"speedup": latency.speedup, "low": latency.low, "high": latency.high}
        for judgement in tuning.judgements
        for region in judgement.regions
        if (latency := judgement.latency) is not None
    }
    running = runtime.options(threads=1)
    name, settings = provider_parts(running.provider)
    conditions = {"provider": name, "provider_options": settings, "threads": running.threads}
    return {
        "format": DECISIONS,
        "format_version": FORMAT_VERSION,
        "tool_version": __version__,
        "model": {"sha256": fingerprint(model)},
        "environment": asdict(describe_environment()) | conditions | {"shapes": runtime.shapes},
        "keep_input": tuning.decisions.keep_all,
        "regions": [
            {"root": root, "sink": sink, "fold": fold, "measured": figures.get((root, sink))}
            for (root, sink), fold in tuning.decisions.folds.items()
        ],
    }
