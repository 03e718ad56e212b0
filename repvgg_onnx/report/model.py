"""What a report says, before it is rendered: one value that every renderer takes, and nothing else."""

import enum
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from repvgg_onnx.census import Census, Profile
from repvgg_onnx.census.topology import Operation
from repvgg_onnx.checks.latency import Latency
from repvgg_onnx.checks.parity import Parity
from repvgg_onnx.checks.regions import RegionParity
from repvgg_onnx.compiler.results import Refusal, Region
from repvgg_onnx.serving.tensorrt import TensorRTCheck
from repvgg_onnx.workflows.autotune import Judgement, Tuning
from repvgg_onnx.workflows.autotune import Outcome as TuningOutcome


class Verdict(enum.Enum):
    """How a run ended; the values are part of the JSON format."""

    FUSED = "fused"
    NOTHING_TO_FOLD = "nothing-to-fold"
    FOLDABLE = "foldable"
    PARITY_FAILED = "parity-failed"
    REGION_FAILED = "region-failed"
    TOO_SLOW = "too-slow"
    UNFIT = "unfit-for-target"


@dataclass(frozen=True)
class ModelFile:
    """One model of a report.

    Attributes:
        path: the file; None where the model was not written.
        size_bytes: size of the file with its external data; None where the model was not written.
        census: what the model stores.
        profile: what one run of it takes; None where nobody asked.
        topology: how its nodes hang together, by their names; None where nobody asked.
    """

    path: str | None
    size_bytes: int | None
    census: Census
    profile: Profile | None = None
    topology: Mapping[str, Operation] | None = None

    @property
    def running(self) -> Mapping[str, int]:
        """Number of nodes of each operator that run: functions inlined, and nothing that follows from constants alone.

        Two models that differ in how they write constants have the same. Where nobody asked for a profile, all nodes.
        """
        if self.profile is None:
            return self.census.nodes_by_op
        return dict(sorted(Counter(layer.op_type for layer in self.profile.layers).items()))


@dataclass(frozen=True)
class Overridable:
    """Convolutions that cannot be folded because a caller may feed their weights.

    Attributes:
        convolutions: number of those.
        total: number of all convolutions.
        regions: regions to fold if nobody feeds them.
    """

    convolutions: int
    total: int
    regions: int


@dataclass(frozen=True)
class Tuned:
    """What was decided about doubtful folds, and what was measured for it: a tuning without its models.

    Attributes:
        judgements: what was in doubt, in the order of the decisions.
        races: the whole model compared with the input: as tuned, then, if that was slower, with nothing doubtful.
        outcome: what became of the whole.
        keep_input: whether nothing is folded at all.
        decided: whether anything was decided about a fold.
    """

    judgements: tuple[Judgement, ...]
    races: tuple[Latency, ...]
    outcome: TuningOutcome
    keep_input: bool
    decided: bool

    @classmethod
    def of(cls, tuning: Tuning) -> "Tuned":
        """What a report says of a tuning."""
        decisions = tuning.decisions
        return cls(tuning.judgements, tuning.races, tuning.outcome, decisions.keep_all, bool(decisions.folds))


@dataclass(frozen=True)
class FuseReport:
    """What one run of ``fuse`` or ``inspect`` found and did.

    Attributes:
        version: version of this package.
        before: the input.
        after: the fused model.
        regions: what was folded, or would be, in graph order.
        refusals: what was not, and why.
        parity: comparison of the outputs; None where it was not asked for or nothing was folded.
        latency: measured times; None where they were not asked for or nothing was folded.
        min_speedup: the speedup that the user demanded, if any.
        verdict: how the run ended.
        notes: what was taken for granted about the input, in sentences; where there are any, parity and latency
            compare with the input so changed, and not with the file.
        region_parities: how each folded region compares on the activations that arrive there; empty where that was not
            asked for.
        rolled_back: the same for regions that failed and were left as they were.
        tuning: what was decided about doubtful folds, and what was measured for it; None where nothing was.
        target: what the server that the model is for is known to say of it; None where none was named.
        max_foldable: number of foldable regions up to which a model passes ``check``; None outside of it.
        overridable: convolutions whose weights a caller may feed; None where there are none.
        sizes: shapes of inputs that everything was run and counted with, since onnxruntime does not run the model on
            the usual ones; None where it does, or the user gave the shapes.
        warnings: what spoke against measuring latency on this machine.
        seconds: what each stage took, by name.
        options: the options that decide what is folded, as the user would give them to fold the same.
        remarks: what is to be known of the fused model, in sentences, such as why its weights take more bytes.
    """

    version: str
    before: ModelFile
    after: ModelFile
    regions: tuple[Region, ...]
    refusals: tuple[Refusal, ...]
    parity: Parity | None
    latency: Latency | None
    min_speedup: float | None
    verdict: Verdict
    notes: tuple[str, ...]
    region_parities: tuple[RegionParity, ...] = ()
    rolled_back: tuple[RegionParity, ...] = ()
    tuning: Tuned | None = None
    target: TensorRTCheck | None = None
    max_foldable: int | None = None
    overridable: Overridable | None = None
    sizes: Mapping[str, tuple[int, ...]] | None = None
    warnings: tuple[str, ...] = ()
    seconds: Mapping[str, float] = field(default_factory=dict)
    options: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()

    @property
    def advice(self) -> dict[str, str]:
        """What a user can do, for each code of the refusals."""
        return {refusal.code: refusal.long_form.advice for refusal in self.refusals}


@dataclass(frozen=True)
class Outcome:
    """What became of one model of several.

    Attributes:
        path: the model, as the user named it.
        report: what was found and done; None where the model is not usable or was not begun.
        exit_code: what the command would have returned for it alone; None where it was not begun.
        error: why that is not 0, in a sentence; None where it is.
    """

    path: str
    report: FuseReport | None
    exit_code: int | None
    error: str | None
