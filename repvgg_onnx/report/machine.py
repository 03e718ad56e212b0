"""A report as JSON, for programs: every key of the documents, in order, units in the keys.

Results whose fields are the keys stand here as they are; ``document`` says how the others are shown.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from msgspec import field

from repvgg_onnx.census import Layer, Profile
from repvgg_onnx.checks.bisection import Bisection
from repvgg_onnx.checks.parity import Parity
from repvgg_onnx.compiler.codes import Code
from repvgg_onnx.compiler.results import Member, Refusal, Region
from repvgg_onnx.report.checked import (
    BenchEntry,
    BisectionEntry,
    LatencyEntry,
    ParityEntry,
    RaceEntry,
    RegionParityEntry,
    VerifyEntry,
)
from repvgg_onnx.report.document import Entry, document
from repvgg_onnx.report.latency import BenchReport
from repvgg_onnx.report.model import FuseReport, ModelFile, Outcome, Overridable, Tuned, Verdict
from repvgg_onnx.report.remedy import command
from repvgg_onnx.serving.findings import Finding, Severity
from repvgg_onnx.serving.tensorrt import TensorRTCheck
from repvgg_onnx.workflows.autotune import Judgement
from repvgg_onnx.workflows.autotune import Outcome as TuningOutcome

if TYPE_CHECKING:
    from typing_extensions import Self


def fuse_json(report: FuseReport) -> str:
    """The report of ``fuse`` or ``inspect``."""
    return document(report.version, FuseEntry.of(report))


def many_json(version: str, outcomes: Sequence[Outcome]) -> str:
    """What became of several models, each with what ``fuse_json`` says of it."""
    return document(version, ManyEntry(models=tuple(map(OutcomeEntry.of, outcomes))))


def parity_json(
    version: str,
    parity: Parity,
    bisection: Bisection | None = None,
    sizes: Mapping[str, Sequence[int]] | None = None,
) -> str:
    """The comparison of two models, under the key that it has in the report of ``fuse``; and where they differ."""
    found = None if bisection is None else BisectionEntry.of(bisection)
    return document(version, VerifyEntry(sizes=sizes, parity=ParityEntry.of(parity), bisection=found))


def bench_json(report: BenchReport) -> str:
    """The report of ``bench``; two models under one condition also have the key of ``fuse``, ``latency``."""
    return document(report.version, BenchEntry.of(report))


def codes_json(version: str, codes: Mapping[str, Code]) -> str:
    """Refusal codes with their ``meaning`` and ``advice``."""
    return document(version, CodesEntry(codes=codes))


class RegionEntry(Entry, frozen=True, kw_only=True):
    """One affine region and the node that stands for it.

    Attributes:
        macs_before: multiply-adds of the nodes that the fold removes.
        moved_bytes_before: bytes that they read and write.
        macs_after: multiply-adds of the emitted node.
        moved_bytes_after: bytes that it reads and writes.
        saving: multiply-adds plus bytes that are saved.
    """

    shows: ClassVar = Region
    name: str
    root: str
    sink: str
    members: tuple[Member, ...]
    branches: tuple[str, ...]
    op_type: str
    c_in: int
    c_out: int
    kernel_shape: tuple[int, ...]
    strides: tuple[int, ...]
    pads: tuple[int, ...]
    dilations: tuple[int, ...]
    group: int
    moved: str
    macs_before: int
    moved_bytes_before: int
    macs_after: int
    moved_bytes_after: int
    saving: int

    @classmethod
    def of(cls, result: Region, **given: Any) -> "Self":
        """The costs one by one."""
        before, after = result.cost_before, result.cost_after
        given |= {"macs_before": before.macs, "moved_bytes_before": before.bytes}
        given |= {"macs_after": after.macs, "moved_bytes_after": after.bytes, "saving": before.total - after.total}
        return super().of(result, **given)


class ProfileEntry(Entry, frozen=True, kw_only=True):
    """What one run of a model takes, and each of its layers."""

    shows: ClassVar = Profile
    inputs: Mapping[str, tuple[int, ...]]
    assumed: tuple[str, ...] = field(name="assumed_inputs")
    macs: int
    winograd_multiplications: int
    activation_bytes_read: int
    activation_bytes_written: int
    weight_bytes: int = field(name="weight_bytes_read")
    peak_activation_bytes: int
    intensity: float = field(name="macs_per_byte")
    subgraphs: int
    unknown: tuple[str, ...]
    layers: tuple[Layer, ...]


class ModelEntry(Entry, frozen=True, kw_only=True):
    """A model file and its census.

    Attributes:
        nodes: number of all nodes.
        nodes_by_op: number of nodes of each operator, with its domain unless that is ONNX's own.
        parameters: elements of the floating-point tensors that the model stores.
        tensor_bytes: bytes of all tensors that it stores, strings left out.
    """

    shows: ClassVar = ModelFile
    path: str | None
    size_bytes: int | None
    nodes: int
    nodes_by_op: Mapping[str, int]
    parameters: int
    tensor_bytes: int
    profile: ProfileEntry | None

    @classmethod
    def of(cls, result: ModelFile, **given: Any) -> "Self":
        """The census key by key."""
        stored = ("nodes", "nodes_by_op", "parameters", "tensor_bytes")
        return super().of(result, **{key: getattr(result.census, key) for key in stored}, **given)


class JudgedEntry(Entry, frozen=True, kw_only=True):
    """A region of a doubtful fold."""

    shows: ClassVar = Region
    root: str
    sink: str
    members: tuple[Member, ...]
    branches: tuple[str, ...]
    op_type: str
    kernel_shape: tuple[int, ...]
    group: int


class JudgementEntry(Entry, frozen=True, kw_only=True):
    """What became of one choice of the cost rule."""

    shows: ClassVar = Judgement
    regions: tuple[JudgedEntry, ...]
    wanted: bool
    folded: bool
    latency: RaceEntry | None = field(name="measured")
    reason: str


class DecisionsEntry(Entry, frozen=True, kw_only=True):
    """What was decided about doubtful folds."""

    shows: ClassVar = Tuned
    outcome: TuningOutcome
    keep_input: bool
    races: tuple[RaceEntry, ...]
    judgements: tuple[JudgementEntry, ...] = field(name="regions")


class FindingEntry(Entry, frozen=True, kw_only=True):
    """What stands between a model and TensorRT."""

    shows: ClassVar = Finding
    severity: Severity
    code: str
    subject: str
    sentence: str
    advice: str


class TargetEntry(Entry, frozen=True, kw_only=True):
    """What the server that the model is for is known to say of it."""

    shows: ClassVar = TensorRTCheck
    release: str
    passed: bool
    findings: tuple[FindingEntry, ...]
    command: str
    hint: str


class FuseEntry(Entry, frozen=True, kw_only=True):
    """What one run of fuse or inspect found in a model and did with it.

    Attributes:
        remedy: the command that folds what can be folded; null where nothing is left to fold.
        baseline: what outputs and latency are compared with.
    """

    shows: ClassVar = FuseReport
    verdict: Verdict
    min_speedup: float | None
    max_foldable: int | None
    overridable: Overridable | None
    remedy: str | None
    notes: tuple[str, ...]
    remarks: tuple[str, ...]
    baseline: Literal["input", "input with notes"]
    sizes: Mapping[str, tuple[int, ...]] | None
    before: ModelEntry
    after: ModelEntry
    regions: tuple[RegionEntry, ...]
    refusals: tuple[Refusal, ...]
    advice: Mapping[str, str]
    parity: ParityEntry | None
    region_parities: tuple[RegionParityEntry, ...]
    rolled_back: tuple[RegionParityEntry, ...]
    tuning: DecisionsEntry | None = field(name="decisions")
    latency: LatencyEntry | None
    warnings: tuple[str, ...]
    seconds: Mapping[str, float]
    target: TargetEntry | None

    @classmethod
    def of(cls, result: FuseReport, **given: Any) -> "Self":
        """With the remedy, and with what is compared."""
        given |= {"remedy": command(result) if result.verdict is Verdict.FOLDABLE else None}
        return super().of(result, baseline="input with notes" if result.notes else "input", **given)


class OutcomeEntry(Entry, frozen=True, kw_only=True):
    """What became of one model of several."""

    shows: ClassVar = Outcome
    path: str
    exit_code: int | None
    error: str | None
    report: FuseEntry | None


class ManyEntry(Entry, frozen=True, kw_only=True):
    """Report of check, of fuse for several models, and of one that cannot be used.

    Attributes:
        models: every model, in order.
    """

    models: tuple[OutcomeEntry, ...]


class CodesEntry(Entry, frozen=True, kw_only=True):
    """Report of explain.

    Attributes:
        codes: refusal codes by name.
    """

    codes: Mapping[str, Code]
