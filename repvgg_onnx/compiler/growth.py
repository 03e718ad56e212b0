"""Why a file grows although nodes go."""

from dataclasses import dataclass, field

import onnx

from repvgg_onnx.compiler.fold import Folded
from repvgg_onnx.compiler.plans import Plan
from repvgg_onnx.graph.bodies import tensor_bytes


@dataclass
class Growth:
    """What regions store that the model did not.

    Attributes:
        shared: weights that nodes outside of their region read as well.
        computed: sinks of regions whose weights the model computed.
        positions: sinks of regions with a term for each position.
        widened: sinks of regions whose kernel has more weights than those that it stands for.
    """

    shared: set[str] = field(default_factory=set)
    computed: set[str] = field(default_factory=set)
    positions: set[str] = field(default_factory=set)
    widened: set[str] = field(default_factory=set)

    def note(self, plan: Plan, folded: Folded) -> None:
        """Takes up a region that is about to be written."""
        constants = plan.graph.constants
        names = {node.inputs[index] for node in plan.members for index in node.constant_inputs}
        kernels = {node.inputs[1] for node in plan.members if node.kernel_size > 0}
        self.shared |= {name for name in kernels if not plan.removed.issuperset(plan.graph.readers[name])}
        grows = constants.stored_bytes(names) < folded.nbytes - folded.bias.nbytes
        if grows and plan.candidate.computes:
            self.computed.add(plan.sink)
        elif grows and folded.field is not None:
            self.positions.add(plan.sink)
        elif grows:
            self.widened.add(plan.sink)

    def remarks(self, before: int, model: onnx.ModelProto) -> tuple[str, ...]:
        """One sentence if the tensors of a model take more bytes than before; none otherwise."""
        after = tensor_bytes(model)
        if after <= before:
            return ()
        reasons = [
            (len(self.shared), "kernel", "that other nodes read as well"),
            (len(self.computed), "region", "whose weights the file only said how to compute"),
            (len(self.positions), "region", "with a term for each position, which a border needs"),
            (len(self.widened), "region", "with more weights as one kernel than as several"),
        ]
        given = [f"{count} {noun}{'s' * (count > 1)} {which}" for count, noun, which in reasons if count]
        why = ", ".join(given) or "there are new biases"
        return (f"the weights grow from {_size(before)} to {_size(after)}: {why}",)


def _size(count: int) -> str:
    """Bytes as people write them."""
    for unit, name in ((10**9, "GB"), (10**6, "MB"), (10**3, "kB")):
        if count >= unit:
            return f"{count / unit:.3g} {name}"
    return f"{count} bytes"
