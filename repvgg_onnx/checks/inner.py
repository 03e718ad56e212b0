"""Two models compared tensor by tensor, each tensor computed from the values that the original has before it.

Errors then do not add up on the way, so that this tells models apart whose outputs are all noise. If every tensor
agrees that both models name, given the same tensors before it, then so do the models.
"""

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

import onnx
from onnx import helper

from repvgg_onnx.checks.comparison import compare_values
from repvgg_onnx.checks.exposure import complete, in_batches, with_outputs
from repvgg_onnx.checks.inputs import Feed
from repvgg_onnx.checks.kinds import Kind
from repvgg_onnx.checks.options import CheckOptions
from repvgg_onnx.checks.precision import FLOATS, least_precise
from repvgg_onnx.checks.reference import LOUD, OF_NOISE, PATTERNS, Reference, few, moved_by
from repvgg_onnx.checks.session import PLAIN, SHIPPED, Array, ModelLike, Session, loadable
from repvgg_onnx.errors import CheckError, ModelError
from repvgg_onnx.graph.bodies import copy_of, reads_of
from repvgg_onnx.graph.cut import Cutter

_AGAIN = "#again"
_AGAIN_AT_MOST = 2.0
"""How many times the error of a region on its own the error inside may be, which is that of the same computation."""
_NO_TENSORS = ("Sequence", "SplitToSequence", "Optional", "ConcatFromSequence", "ZipMap")


@dataclass(frozen=True)
class InnerParity:
    """How one tensor compares that both models name, computed from the original's values before it.

    Attributes:
        name: tensor name.
        error: worst over the feeds. Floating point: normalized error. Everything else: fraction that differs.
        noise: how far the original differs from itself there, at another optimization level and where those values
            move by one unit in the last place.
        limit: largest error that passes.
        feed: label of the feed with the worst error.
        reason: why the error is infinite, or why it tells nothing, in words; empty otherwise.
    """

    name: str
    error: float
    noise: float
    limit: float
    feed: str
    reason: str = ""

    @property
    def passed(self) -> bool:
        """Whether the error is within its limit."""
        return self.error <= self.limit


@dataclass(frozen=True)
class Inner:
    """What a comparison of inner tensors found.

    Attributes:
        tensors: every tensor that was compared, in the original's order.
        ancestors: for each output that was asked about, the tensors among them that it depends on, itself included.
        proven: tensors that are known to be right, given those before them.
        left_out: tensors that do not agree and whose names seem to mean something else in the second model.
    """

    tensors: tuple[InnerParity, ...]
    ancestors: Mapping[str, frozenset[str]]
    proven: frozenset[str] = frozenset()
    left_out: tuple[InnerParity, ...] = ()

    def tells(self, output: str) -> bool:
        """Whether anything was compared that the output alone does not tell."""
        compared = {tensor.name for tensor in self.tensors} & self.ancestors.get(output, frozenset())
        return output in compared and (len(compared) > 1 or output in self.proven)

    def failed(self, output: str, *, blind: bool = False) -> tuple[InnerParity, ...]:
        """Tensors that do not agree, of an output and those before it, in the original's order.

        Args:
            output: its name.
            blind: whether the output tells nothing by itself, so that what was left out counts too.
        """
        compared = (*self.tensors, *self.left_out) if blind else self.tensors
        return tuple(tensor for tensor in compared if tensor.name in self.ancestors[output] and not tensor.passed)


def compare_inner(
    known: Reference,
    after: ModelLike,
    outputs: Sequence[str],
    *,
    tolerance: float,
    proven: Mapping[str, float],
) -> Inner:
    """Comparison of every tensor before some outputs that both models name, at ORT_DISABLE_ALL.

    A name may mean another tensor in the second model, as where a tool folds a node into the one before it and keeps
    that one's name. Tensors that disagree are therefore left out, and if nothing else disagrees then, nothing does.

    Args:
        known: the original; one of its feeds of each sort is enough.
        after: the second model.
        outputs: names of outputs of both.
        tolerance: error that always passes.
        proven: tensors that are known to be right, given those before them, each with the error that was measured.

    Raises:
        CheckError: the original, or a part of it, cannot be run on a feed.
        ModelError: onnxruntime cannot load the original, or a part of it.
    """
    before, theirs = complete(known.model), Cutter(complete(after))
    feeds = few(known.feeds)
    run = _Run(
        before, Cutter(before), theirs, feeds, known.conditions, tolerance, known.kinds, proven, least_precise(before)
    )
    ancestors = {name: run.common(name) for name in outputs}
    shared = [name for name in run.ours.made if any(name in names for names in ancestors.values())]
    tensors = run.compare(shared)
    sure = {*outputs, *proven}
    doubtful = tuple(tensor for tensor in tensors if not tensor.passed and tensor.name not in sure)
    if doubtful:
        names = {tensor.name for tensor in doubtful}
        again = run.compare([name for name in shared if name not in names])
        if all(tensor.passed for tensor in again):
            return Inner(tuple(again), ancestors, frozenset(proven), doubtful)
    return Inner(tuple(tensors), ancestors, frozenset(proven))


@dataclass(frozen=True, eq=False)
class _Run:
    """Both models, and what they are compared on."""

    before: onnx.ModelProto
    ours: Cutter
    theirs: Cutter
    feeds: Sequence[Feed]
    conditions: CheckOptions
    tolerance: float
    kinds: Mapping[str, Kind]
    proven: Mapping[str, float]
    coarse: str | None

    def common(self, output: str) -> frozenset[str]:
        """Names that both models have for tensors before an output, and the output itself."""
        if not self.ours.makes(output):
            return frozenset()
        makers = self.ours.nodes(self.ours.back_from([output], ())[0])
        made = {name for node in makers if not node.op_type.startswith(_NO_TENSORS) for name in node.output if name}
        read = {name for node in makers for name in node.input} | {output}
        return frozenset(made & read & self.theirs.made)

    def compare(self, shared: Sequence[str]) -> list[InnerParity]:
        """Every one of the tensors, from those of them before it."""
        outputs = {value.name for value in self.before.graph.output}
        with loadable(self.before) as source:
            exposed = with_outputs(source, [name for name in shared if name not in outputs])
            session = self.conditions.open(exposed, PLAIN)
        tensors = [name for name in shared if name in session.tensors]
        known = frozenset(tensors)
        # What is drawn at random is given to both, and so are tensors equal that are computed from it.
        judged = [name for name in tensors if not (name in self.kinds and self.kinds[name].drawn)]
        return [parity for names in in_batches(self.before, judged, self.feeds)
                for parity in self._compare_batch(session, names, known)]  # fmt: skip

    def _compare_batch(self, session: Session, names: Sequence[str], known: frozenset[str]) -> Iterator[InnerParity]:
        ours, theirs = (_part(whole, names, known) for whole in (self.ours, self.theirs))
        wanted = [name for name in dict.fromkeys((*names, *ours.given, *theirs.given)) if name in known]
        recorded = [(feed, {**feed.values, **session.run(feed.values, wanted)}) for feed in self.feeds]
        try:
            second = self._open(theirs, recorded[0][1], PLAIN)
            results = [theirs.run(second, values) for _, values in recorded]
        except (CheckError, ModelError) as failure:
            if len(names) > 1:  # some of them do, and some do not
                for name in names:
                    yield from self._compare_batch(session, [name], known)
            else:
                why = f"the second model fails to run: {failure}"
                yield InnerParity(names[0], math.inf, 0.0, self.tolerance, recorded[0][0].label, why)
            return
        first, shipped = (self._open(ours, recorded[0][1], level) for level in (PLAIN, SHIPPED))
        worst: dict[str, InnerParity] = {}
        for (feed, values), actual in zip(recorded, results, strict=True):
            own = [
                ours.run(shipped, values),
                *(ours.run(first, moved_by(values, seed, 1, self.coarse)) for seed in PATTERNS),
            ]
            for name in names:
                parity = self._judged(name, values[name], actual[name], [other[name] for other in own], feed.label)
                if name not in worst or parity.error - parity.limit > worst[name].error - worst[name].limit:
                    worst[name] = parity
        yield from worst.values()

    def _open(self, part: "_Part", values: Mapping[str, Array], level: str) -> Session:
        return self.conditions.open(part.model(values).SerializeToString(), level)

    def _judged(self, name: str, expected: Array, actual: Array, own: Sequence[Array], label: str) -> InnerParity:
        scale = self.kinds[name].range if name in self.kinds else None
        found = compare_values(expected, actual, scale)
        noise = max(compare_values(expected, other, scale).error for other in own)
        limit, reason = self.tolerance if expected.dtype.name in FLOATS else 0.0, found.reason
        if name in self.proven:
            # Under a bound that knows of cancellation, which the noise of few runs need not show.
            limit = max(limit, OF_NOISE * min(noise, LOUD), _AGAIN_AT_MOST * self.proven[name])
        elif noise <= max(LOUD, self.tolerance):
            limit = max(limit, OF_NOISE * noise)
        elif found.error > limit and not reason:
            reason = f"the original itself differs by {noise:.1e} there, so that nothing can be told"
        return InnerParity(name, found.error, noise, limit, label, reason)


@dataclass(frozen=True, eq=False)
class _Part:
    """Nodes of a model that compute some tensors from others.

    Attributes:
        whole: the model.
        nodes: copies of the nodes, in graph order; what they compute of the known tensors has another name, so that
            whoever reads a known tensor reads what is given.
        outside: names of what they read and do not compute.
        given: those of them that are neither weights nor inside the bodies of nodes.
        names: the tensors that are computed.
    """

    whole: Cutter
    nodes: tuple[onnx.NodeProto, ...]
    outside: frozenset[str]
    given: tuple[str, ...]
    names: tuple[str, ...]

    def model(self, values: Mapping[str, Array]) -> onnx.ModelProto:
        """The nodes as a model of their own.

        Args:
            values: what will be given, for its types.
        """
        types = {name: helper.np_dtype_to_tensor_dtype(values[name].dtype) for name in self.given}
        inputs = [helper.make_tensor_value_info(name, elem_type, None) for name, elem_type in types.items()]
        outputs = [onnx.ValueInfoProto(name=name + _AGAIN) for name in self.names]
        return self.whole.joined(self.nodes, inputs, outputs, self.outside)

    def run(self, session: Session, values: Mapping[str, Array]) -> dict[str, Array]:
        """The tensors computed from these values."""
        results = session.run({name: values[name] for name in self.given})
        return {name: results[name + _AGAIN] for name in self.names}


def _part(whole: Cutter, names: Sequence[str], known: Collection[str]) -> _Part:
    """What computes these tensors from known ones and from the inputs of the model."""
    indices, _ = whole.back_from(names, known)
    nodes = []
    for original in whole.nodes(indices):
        node = copy_of(original)
        node.output[:] = [name + _AGAIN if name in known else name for name in node.output]
        nodes.append(node)
    made = {name for node in nodes for name in node.output}
    outside = frozenset(name for node in nodes for name in reads_of(node)) - made
    given = sorted(name for name in outside if name in known or whole.is_fed(name))
    return _Part(whole, tuple(nodes), outside, tuple(given), tuple(names))
