"""How much memory may be spent on what a model only describes: constants that are computed, and folded weights."""

from dataclasses import dataclass

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

    @classmethod
    def beyond(cls, stored: int, megabytes: int) -> "Budget":
        """What may be computed for a model whose tensors take ``stored`` bytes: ``megabytes`` MiB, and twice those."""
        return cls(megabytes * MB + OF_ITS_OWN * stored)

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
