"""What a completion says and who wrote it. Pure: needs no database."""

from dataclasses import dataclass, field

HUMAN = "human"
"""Name of the writer that stands for people."""


@dataclass(frozen=True, slots=True)
class CompletionContent:
    """A completion as it came in, for a prompt and by a model version, both by id.

    Lacking a `given_id`, `occurrence` counts from 1 the same text by the same model.
    """

    prompt: int
    model: int
    text: str
    given_id: str = ""
    occurrence: int = 1
    sampling: dict[str, object] = field(default_factory=dict)
    seed: int | None = None
