"""What an engine is: it completes prompts and hands each completion over as soon as it has ended."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from trainer.runs import CommandError


@dataclass(frozen=True)
class SampleRequest:
    """Completion number `index` of a prompt. The tokens end where the assistant's answer begins."""

    prompt: int
    index: int
    prompt_ids: tuple[int, ...]


@dataclass(frozen=True)
class Sampled:
    """A completion. `ids` are all tokens that were drawn, an end token and those of a stop text among them.

    `finish_reason` is stop (an end token or a stop text) or length (max_tokens, or the model's context is full).
    """

    request: SampleRequest
    text: str
    finish_reason: str
    ids: tuple[int, ...]


class SamplingError(CommandError):
    """The model cannot be sampled from; the message says why."""


class Engine(Protocol):
    """Completes prompts."""

    def sample(
        self, requests: Sequence[SampleRequest], on_done: Callable[[Sampled], None], stop: Callable[[], bool]
    ) -> None:
        """Call `on_done` once for each request, in any order.

        `stop` is asked again and again; once it says yes, the engine returns soon and leaves the rest undone.
        """


def stop_at(text: str, stops: Iterable[str]) -> int | None:
    """Where the first of the stop texts begins, or None."""
    return min((place for stop in stops if (place := text.find(stop)) >= 0), default=None)
