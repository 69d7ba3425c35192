"""One optimizer step: its prompts in portions that fit in memory, gradients added up, and what was measured.

Several processes each compute the part of a step's prompts that is their `own`; all know the whole step, so that each
portion counts for its share of all.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

from torch import Tensor, nn

from trainer.data.batches import Batch, Feed, unique_tokens
from trainer.data.groups import Group
from trainer.loop import distributed
from trainer.loop.memory import again_error, longest_of, memory_release, out_of_memory, sharded_error, single_error
from trainer.loop.parts import gradients
from trainer.loop.sharding import turns
from trainer.models.entrance import entrance_of
from trainer.runs import CommandError, say

NAMED = 8
"""Prompts that a message names."""


class NotFiniteError(CommandError):
    """A loss or a gradient is no number; the message says which, of which prompts, and what to try."""


class Portion(NamedTuple):
    """Prompts of a step that are in memory at once, as a batch, and which share of the step they are."""

    groups: list[Group]
    batch: Batch
    share: float


class Objective(NamedTuple):
    """What a portion comes to: the number to make smaller, a mean over the portion's prompts; further means of that
    kind to log (a `loss` among them is logged in place of the number); and sums to add up over the step.
    """

    loss: Tensor
    means: dict[str, Tensor]
    sums: dict[str, Tensor]


Compute = Callable[[Portion], Objective]


@dataclass
class Step:
    """One optimizer step: its prompts, and what was measured in it.

    `size` is what a prompt counts for. `spare`: micro_tokens may still be halved when the memory ends.
    """

    number: int
    groups: list[Group]
    feed: Feed
    size: Callable[[Group], float]
    model: nn.Module
    spare: bool = True
    _objectives: list[Compute] = field(default_factory=list)
    _measured: list[tuple[list[int], dict[str, Tensor]]] = field(default_factory=list)

    @cached_property
    def total_size(self) -> float:
        """What its prompts count for together, in all processes; the loss of the step is a mean over this."""
        return math.fsum(self.size(group) for group in self.groups)

    def accumulate(self, objective: Compute) -> None:
        """Add up gradients and measurements over the portions that fit in memory.

        When the memory ends, the step is done again from its beginning with half as many tokens at once, for the rest
        of the run. Raises MemoryEndError when that cannot help, was done before, or the model is sharded.
        """
        self._objectives.append(objective)
        if lacking := self._attempt([objective]):
            self._halve(*lacking)
            if lacking := self._attempt(self._objectives):
                raise again_error(self.number, *lacking[:2], self.feed.micro_tokens)

    def sums(self) -> dict[str, float]:
        """What was measured, of all processes. Raises NotFiniteError where a number of a portion is not finite."""
        portions = [
            (prompts, {name: float(value) for name, value in values.items()}) for prompts, values in self._measured
        ]
        names = {name: None for _, values in portions for name in values}
        mine = {name: math.fsum(values.get(name, 0.0) for _, values in portions) for name in names}
        bad = [
            f"{name} is {value} for {_prompts(prompts)}"
            for prompts, values in portions
            for name, value in values.items()
            if not math.isfinite(value)
        ]
        told = distributed.exchange([mine, bad])
        if found := [text for _, texts in told for text in texts]:
            raise self._not_finite("; ".join(found[:NAMED]))
        names = {name: None for values, _ in told for name in values}
        return {name: math.fsum(values.get(name, 0.0) for values, _ in told) for name in names}

    def gradient_error(self, norm: float) -> NotFiniteError:
        """What to raise when the gradient is not finite. Does the portions again, to find out whose gradient is not."""
        passed: list[tuple[bool, list[int]]] = []
        self.forget()
        for objective in self._objectives:
            for part, batch in turns(self.model, self.feed, distributed.own(self.groups), idle_too=True):
                if part:
                    self._add(objective, part, batch)
                finite = math.isfinite(float(nn.utils.get_total_norm(gradients(self.model))))
                passed.append((finite, [group.prompt for group in part]))
                self.forget()
        told = distributed.exchange(passed)
        # One that has a part of the model has that part of the gradient that all processes added to in a turn.
        apart = [(turn,) for of_one in told for turn in of_one]
        joint = list(zip(*told, strict=True)) if entrance_of(self.model) is not None else apart
        found = sorted({prompt for turn in joint if not all(ok for ok, _ in turn) for _, of in turn for prompt in of})
        whose = _prompts(found or [group.prompt for group in self.groups])
        return self._not_finite(f"the norm of the gradient is {norm} for {whose}")

    def forget(self) -> None:
        """Drop gradients and measurements."""
        self.model.zero_grad(set_to_none=True)
        self._measured.clear()

    def _add(self, objective: Compute, part: list[Group], batch: Batch) -> None:
        share = math.fsum(map(self.size, part)) / self.total_size
        found = objective(Portion(part, batch, share))
        (found.loss * share).backward()  # type: ignore[no-untyped-call]
        means = {"loss": found.loss} | found.means
        values = {name: value.detach() * share for name, value in means.items()}
        # Nothing waits for the device here.
        values |= {name: value.detach() for name, value in found.sums.items()}
        self._measured.append(([group.prompt for group in part], values))

    def _attempt(self, objectives: Sequence[Compute]) -> tuple[int, int, int] | None:
        """None; or, when it did not fit in the memory of a process, of the portion: its longest prompt, how many
        tokens that has with its completions, and how many prompts there were.
        """
        lacking = None
        part = groups = distributed.own(self.groups)
        try:
            for objective in objectives:
                for part, batch in turns(self.model, self.feed, groups):
                    self._add(objective, part, batch)
        except (RuntimeError, MemoryError) as error:
            if not out_of_memory(error):
                raise
            if entrance_of(self.model) is not None:
                # The others wait for this process in the middle of a pass, where nothing can be agreed on.
                raise sharded_error(self.number, self.feed.micro_tokens) from error
            longest = longest_of(part)
            lacking = (longest.prompt, unique_tokens(longest), len(part))
        # One that stands alone in its portion says more than others.
        found = sorted((one for one in distributed.exchange(lacking) if one is not None), key=lambda one: int(one[2]))
        return tuple(found[0]) if found else None

    def _halve(self, prompt: int, tokens: int, prompts: int) -> None:
        self.forget()
        memory_release()
        if prompts == 1:
            raise single_error(self.number, prompt, tokens)
        if not self.spare:
            raise again_error(self.number, prompt, tokens, self.feed.micro_tokens)
        self.spare = False
        before, self.feed.micro_tokens = self.feed.micro_tokens, max(1, self.feed.micro_tokens // 2)
        say(
            f"Out of memory at step {self.number}, with {prompts} prompts at once, of which {prompt} is the longest "
            f"with {tokens} tokens. From here on micro_tokens is {self.feed.micro_tokens} instead of {before}; the "
            "step is done again. What it learns is the same."
        )

    def _not_finite(self, what: str) -> NotFiniteError:
        return NotFiniteError(
            f"Step {self.number} gave numbers that are not finite: {what}. The step was not taken, and checkpoints are "
            "as they were. Try a lower learning_rate or max_grad_norm, or dtype float32, and look at these prompts; if "
            "this is the first step, the model that was given is damaged."
        )


def _prompts(prompts: Sequence[int]) -> str:
    more = f" and {len(prompts) - NAMED} more" if len(prompts) > NAMED else ""
    return f"prompt{'s' if len(prompts) > 1 else ''} {', '.join(map(str, prompts[:NAMED]))}{more}"
