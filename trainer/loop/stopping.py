"""When a training stops before its last step: no evaluation improved the held-out loss for too long."""

from dataclasses import asdict, dataclass
from typing import Any


@dataclass
class Patience:
    """The step with the least held-out loss so far, and how many evaluations in a row were not less.

    With the limit 0 it listens and never ends anything. The evaluation before the first step counts like the others.
    """

    limit: int
    step: int | None = None
    loss: float = 0.0
    worse: int = 0

    @property
    def over(self) -> bool:
        """Whether the limit is reached."""
        return 0 < self.limit <= self.worse

    def hear(self, step: int, loss: float) -> bool:
        """Take the held-out loss after a step, and say whether it is the least so far. An equal one is not."""
        better = self.step is None or loss < self.loss
        if better:
            self.step, self.loss, self.worse = step, loss, 0
        else:
            self.worse += 1
        return better

    @property
    def state(self) -> dict[str, Any]:
        """What a checkpoint keeps of it."""
        return asdict(self)

    @classmethod
    def of(cls, state: dict[str, Any]) -> "Patience":
        """What a checkpoint kept."""
        return cls(**state)
