"""How much memory may be spent on what a model only describes: constants that are computed, and folded weights."""

from dataclasses import dataclass

import onnx

from repvgg_onnx.graph.bodies import tensors_of
from repvgg_onnx.graph.storage.tensors import stored_bytes

DEFAULT_MB = 64
MB = 2**20
OF_ITS_OWN = 2  # times the model's own tensors may be computed from them, whatever the limit


@dataclass
class Budget:
    """Bytes that may still be computed.

    Attributes:
        left: how many; spent amounts are not given back.
        fell_short: whether more was asked for than was left.
    """

    left: int = DEFAULT_MB * MB
    fell_short: bool = False

    def allows(self, size: int) -> bool:
        """Whether so many bytes are left."""
        return size <= self.left

    def spend(self, size: int) -> bool:
        """Takes so many bytes, if they are left, and says whether they were."""
        if not self.allows(size):
            self.fell_short = True
            return False
        self.left -= size
        return True


def budget_of(model: onnx.ModelProto, megabytes: int) -> Budget:
    """What may be computed for a model: ``megabytes`` MiB, and twice what its tensors take.

    Raises:
        ModelError: a tensor has an impossible shape or an unknown type.
    """
    return Budget(megabytes * MB + OF_ITS_OWN * sum(map(stored_bytes, tensors_of(model))))
