"""How a pass enters a model.

What a pass computes is more than a model's `forward`: it takes the states of the backbone and reads the head's weight
itself. A model that is sharded has its weights together only inside the forward of the module that was sharded. That
module is an `Entrance`, whose forward is whatever is computed of the model.
"""

from collections.abc import Callable
from functools import wraps

from torch import Tensor, nn
from transformers import PreTrainedModel

from trainer.data.batches import Tokens

Pass = Callable[[PreTrainedModel, Tokens], Tensor]


class Entrance(nn.Module):
    """Stands around a model, and lets passes in. `idle` is one that uses all weights."""

    def __init__(self, model: PreTrainedModel, idle: Pass) -> None:
        super().__init__()
        self.model, self.idle = model, idle

    def forward(self, compute: Pass, tokens: Tokens) -> Tensor:
        """What a pass computes."""
        return compute(self.model, tokens)


def entrance_set(model: PreTrainedModel, entrance: Entrance | None) -> None:
    """Let passes into a model through an entrance, or, with None, without one."""
    # Not as a module of the model: each would be a part of the other.
    vars(model)["entrance"] = entrance


def entrance_of(model: nn.Module) -> Entrance | None:
    """The entrance of a model that is sharded; None for any other."""
    found = vars(model).get("entrance")
    return found if isinstance(found, Entrance) else None


def entering(compute: Pass) -> Pass:
    """A pass that takes a model's entrance, where it has one."""

    @wraps(compute)
    def entered(model: PreTrainedModel, tokens: Tokens) -> Tensor:
        entrance = entrance_of(model)
        found: Tensor = compute(model, tokens) if entrance is None else entrance(compute, tokens)
        return found

    return entered
