"""Do two models compute the same outputs?

The judgement is about the second model and not about the network: an output passes if its error is within the tolerance
of the model's type, or if it is at most a few times what the original differs from itself on the same feed. A feed
on which the original hardly determines an output says nothing about it; where no feed says anything, the tensors inside
are compared one by one.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from repvgg_onnx.checks.agreement import Agreement, agreement_of, total
from repvgg_onnx.checks.comparison import Comparison, compare_values, described, is_finite, normalized_error
from repvgg_onnx.checks.exposure import parsed
from repvgg_onnx.checks.inner import Inner, compare_inner
from repvgg_onnx.checks.options import CheckKeywords, CheckOptions
from repvgg_onnx.checks.precision import FLOATS, choose_tolerance, require_tolerance
from repvgg_onnx.checks.reference import LOUD, OF_NOISE, Reference, reference
from repvgg_onnx.checks.session import LEVELS, PLAIN, SHIPPED, Loadable, ModelLike, Session, loadable
from repvgg_onnx.checks.sizes import on_runnable_shapes
from repvgg_onnx.checks.verdicts import DecidedBy, OutputParity, Parity
from repvgg_onnx.errors import CheckError, LoadError, ModelError, RunError

if TYPE_CHECKING:
    from typing_extensions import Unpack

__all__ = ["OutputParity", "Parity", "compare", "judge", "normalized_error", "verify"]

_VACUOUS = "it is all NaN and infinity in the original too, so that nothing could be compared"
_EMPTY = "output {!r} has no elements on these inputs: its type and its shape were compared, and no values"
_DRAWN = "tensor {!r} is drawn at random in every run: it is not compared, and given to both models alike"
_UNDECIDED = "no feed determines this output, and the models name no tensors alike to compare instead; give real inputs"


def verify(before: ModelLike, after: ModelLike, **options: "Unpack[CheckKeywords]") -> Parity:
    """Comparison of every output of two models, at ORT_DISABLE_ALL and at ORT_ENABLE_ALL.

    Both models run at the same level on the same feeds. Outputs are matched by name. An output passes

    1. if its error is within the tolerance;
    2. if its error is at most 8 times the original's own noise on that feed, the noise is below 1e-3, and no tensor
       that both models name disagrees inside them;
    3. if the noise is above 1e-3 on every feed, and every tensor agrees that both models name.

    Outputs that are not floating point must be equal. Where they are not, and the original does not agree with itself
    either when its inputs move by a few units in the last place, the third rule holds for them. A missing output,
    another type or shape, NaN or infinity where the original has none, an output that is nothing else on every feed,
    and a second model that fails to run where the original does not are failures with an infinite error and a reason.

    Args:
        before: path, bytes or ModelProto of the model that is right.
        after: the model to judge.
        **options: the fields of CheckOptions: ``shapes``, ``inputs``, ``ranges``, ``labels``, ``seeds``,
            ``tolerance``, ``provider``, ``threads``, ``custom_ops``. Whoever names a ``tolerance`` wants it to hold
            for outputs that are not floating point too, and no other rule.

    Raises:
        CheckError: the models take different inputs, ``shapes``, ``inputs``, ``ranges`` or ``labels`` do not fit
            them, the provider is not available, the tolerance is negative, or ``before`` cannot be run on a feed.
        ModelError: onnxruntime cannot load one of the models; the second one at ORT_ENABLE_ALL alone is a failure.
    """
    return compare(before, after, CheckOptions(**options))


def compare(before: ModelLike, after: ModelLike, run: CheckOptions) -> Parity:
    """``verify`` with its options as one value."""
    require_tolerance(run.tolerance)

    def compared(run: CheckOptions) -> Parity:
        with loadable(before) as first, loadable(after) as second:
            opened = [run.open(second, PLAIN)]
            known = reference(before, first, run, others=[opened[0].inputs])
            return _Judge(known, after, second).judged(opened)

    return on_runnable_shapes(compared, before, run)


def judge(known: Reference, after: ModelLike, *, proven: Mapping[str, float] | None = None) -> Parity:
    """Comparison of a model with one that has run already, as ``verify`` makes it.

    A model that onnxruntime cannot load is one that fails to run.

    Args:
        known: the original.
        after: the model to judge.
        proven: tensors that are known to be right, given those before them: sinks of regions, each with the error that
            the region has on its own.

    Raises:
        CheckError: the tolerance is negative, the original cannot be run, or no output fits the labels.
    """
    require_tolerance(known.conditions.tolerance)
    with loadable(after) as source:
        return _Judge(known, after, source, proven).judged([])


@dataclass(frozen=True)
class _Finding:
    """One output in one run; the fields are OutputParity's, and whether only one of the models gave the output."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    compared: Comparison
    index: int
    level: str
    agreement: Agreement | None = None
    absent: bool = False

    @property
    def error(self) -> float:
        return self.compared.error


class _Judge:
    """One comparison; the arguments are those of ``judge``, and ``source`` is the second model for onnxruntime."""

    def __init__(
        self,
        known: Reference,
        after: ModelLike,
        source: Loadable,
        proven: Mapping[str, float] | None = None,
    ) -> None:
        self.known, self.after, self.source, self.proven = known, after, source, proven or {}
        self.asked = known.conditions.tolerance
        self.tolerance, self.reason = choose_tolerance(parsed(known.model), self.asked)
        self.remarks: dict[str, None] = {}

    def judged(self, opened: list[Session]) -> Parity:
        """The comparison.

        Args:
            opened: a session of the second model at ORT_DISABLE_ALL, if there is one already; it is taken out of the
                list, so that it can be closed before others are opened.
        """
        findings: list[_Finding] = []
        for level in LEVELS:
            expected = self.known.outputs(level)
            if level == PLAIN:
                self.known.release(PLAIN)
            after = opened.pop() if opened and level == PLAIN else self._second(level)
            for index, values in enumerate(expected):
                findings += self._compare_run(after, index, values, level)
            del after
        agreements = self._agreements(findings)
        if self.known.conditions.labels is not None and not any(agreement.before.rows for agreement in agreements):
            raise CheckError("labels are given, but no output of the models holds a row of scores for each of them")
        names = dict.fromkeys(found.name for found in findings)
        outputs = [self._output([found for found in findings if found.name == name]) for name in names]
        filled = {found.name for found in findings if not found.compared.empty}
        self.remarks |= {_EMPTY.format(name): None for name in names if name not in filled}
        self.known.release(SHIPPED)
        inner = self._inner([output for output in outputs if output.passed and output.decided_by != "tolerance"])
        if inner is not None:
            self.remarks |= {_DRAWN.format(name): None for name, kind in self.known.kinds.items() if kind.drawn}
        return Parity(
            tuple(self._confirmed(output, inner) for output in outputs),
            tuple(feed.label for feed in self.known.feeds),
            tuple(LEVELS),
            self.reason,
            agreements,
            () if inner is None else inner.tensors,
            tuple(self.remarks),
        )

    def _second(self, level: str) -> Session | str:
        """The second model at a level, or why onnxruntime cannot load it there."""
        try:
            return self.known.conditions.open(self.source, level)
        except LoadError as failure:
            return str(failure)

    def _compare_run(
        self, after: Session | str, index: int, expected: Mapping[str, Any], level: str
    ) -> Iterator[_Finding]:
        """Findings on every output that either model has, for one feed."""
        feed = self.known.feeds[index]
        missing = "the second model has no such output"
        actual: dict[str, Any] = {}
        if isinstance(after, str):
            missing = f"the second model fails to run: {after}"
        else:
            try:
                actual = after.run(feed.values)
            except RunError as failure:
                missing = f"the second model fails to run: {failure}"
        for name, value in expected.items():
            found = Comparison(math.inf, missing)
            if name in actual:
                found = compare_values(value, actual[name], self.known.scale(name))
            alike = agreement_of(name, value, actual.get(name), feed.labels) if level == SHIPPED else None
            yield _Finding(name, *described(value), found, index, level, agreement=alike, absent=name not in actual)
        for name in [name for name in actual if name not in expected]:
            lacking = Comparison(math.inf, "the original has no such output")
            yield _Finding(name, *described(actual[name]), lacking, index, level, absent=True)

    def _output(self, findings: Sequence[_Finding]) -> OutputParity:
        """The judgement of one output from all its runs, as far as it can be judged from outside."""
        dtype = findings[0].dtype
        if all(found.compared.vacuous for found in findings):
            return self._parity(findings[0], error=math.inf, passed=True, reason=_VACUOUS, decided_by="inner tensors")
        counted = [found for found in findings if not self._is_original_broken(found)]
        tolerance = self._tolerance(dtype)
        within = [found for found in counted if found.error <= tolerance]
        open_ = [found for found in counted if found.error > tolerance]
        if open_ and self.asked is not None:  # whoever names a tolerance wants no other excuse
            return self._parity(_worst(open_), passed=False)
        known = [found for found in open_ if not self._is_undetermined(found)]
        failed = [found for found in known if math.isinf(found.error) or found.error > OF_NOISE * self._noise(found)]
        if failed:
            return self._parity(_worst(failed), passed=False)
        if within or known:
            worst = _worst(within + known)
            return self._parity(worst, passed=True, decided_by="noise" if known else "tolerance")
        return self._parity(_worst(open_), passed=True, decided_by="inner tensors")

    def _parity(
        self,
        found: _Finding,
        *,
        passed: bool,
        error: float | None = None,
        reason: str | None = None,
        decided_by: DecidedBy = "tolerance",
    ) -> OutputParity:
        return OutputParity(
            found.name,
            found.dtype,
            found.shape,
            found.error if error is None else error,
            self._tolerance(found.dtype),
            passed,
            self.known.feeds[found.index].label,
            found.level,
            found.compared.reason if reason is None else reason,
            self._noise(found),
            self.known.scale(found.name) if found.dtype in FLOATS else None,
            decided_by,
        )

    def _noise(self, found: _Finding) -> float:
        """How far the original's output differs from itself on that feed."""
        return self.known.noise(found.index).get(found.name, 0.0)

    def _tolerance(self, dtype: str) -> float:
        """Floating point has the model's tolerance; everything else is equal unless the user asks for less."""
        return self.tolerance if dtype in FLOATS or self.asked is not None else 0.0

    def _is_original_broken(self, found: _Finding) -> bool:
        """Whether a run says nothing because the original is not finite at that level, and is at the other one.

        onnxruntime's own fusions compute float16 in an order that can overflow where the graph does not.
        """
        values = {level: self.known.outputs(level)[found.index].get(found.name) for level in LEVELS}
        finite = {level: is_finite(value) for level, value in values.items()}
        if finite[found.level] or not any(finite.values()):
            return False
        label = self.known.feeds[found.index].label
        self.remarks[
            f"the original's output {found.name!r} is not finite at {found.level} on {label}, and is at the other "
            "level, so that this run decides nothing"
        ] = None
        return True

    def _is_undetermined(self, found: _Finding) -> bool:
        """Whether the original itself gives so different values on this feed that an error says nothing."""
        jumps = self.known.jumps(found.name)
        if found.absent or (found.compared.unlike and not jumps):
            return False
        noise = self._noise(found)
        if noise > max(LOUD, self.tolerance):
            return math.isinf(noise) or not math.isinf(found.error)
        if not jumps:
            return False
        moved = self.known.noise_of_moves(found.index, int(OF_NOISE)).get(found.name, 0.0)
        if math.isinf(found.error):
            return math.isinf(moved)
        return moved > (max(LOUD, self.tolerance) if found.dtype in FLOATS else 0.0)

    def _inner(self, outputs: Sequence[OutputParity]) -> Inner | None:
        """Tensors inside both models, where some output cannot be told by its tolerance."""
        if not outputs:
            return None
        names = [output.name for output in outputs]
        try:
            return compare_inner(self.known, self.after, names, tolerance=self.tolerance, proven=self.proven)
        except (CheckError, ModelError):  # a part of the original that cannot be run on its own
            return None

    def _confirmed(self, output: OutputParity, inner: Inner | None) -> OutputParity:
        """The judgement, with what the tensors inside say of an output that its tolerance does not decide about."""
        if not output.passed or output.decided_by == "tolerance":
            return output
        if inner is None or not inner.tells(output.name):
            sure = output.decided_by == "noise"
            return output if sure else replace(output, passed=False, reason=output.reason or _UNDECIDED)
        failed = inner.failed(output.name, blind=math.isinf(output.error))
        if not failed:
            return output
        worst = failed[0]
        why = worst.reason or f"its error is {worst.error:.2g} and may be {worst.limit:.2g}"
        return replace(output, passed=False, reason=f"tensor {worst.name!r} inside differs: {why}, on {worst.feed}")

    def _agreements(self, findings: Sequence[_Finding]) -> tuple[Agreement, ...]:
        """Agreement of each output on the user's feeds, or on all if none is the user's."""
        given = [found for found in findings if self.known.feeds[found.index].given]
        return total(found.agreement for found in given or findings if found.agreement)


def _worst(findings: Sequence[_Finding]) -> _Finding:
    """The one with the largest error."""
    return max(findings, key=lambda found: found.error)
