"""How a round is done: one small set of choices, fixed when the round is started and handed on to the next."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from labelapp.errors import DomainError
from labelapp.models import Prompt
from labelapp.models.tasks import MAX_COMPLETIONS, MAX_OVERLAP
from trainer.config import option_fields, options_read
from trainer.fields import OptionsError

NEW, EXISTING = "new", "existing"
LABELS = {
    NEW: "New ones: the policy writes, and people label what it wrote",
    EXISTING: "Those that are there: all labels of the project are frozen as they stand",
}
FIRST, PREVIOUS = "first", "previous"
ANCHORS = {
    FIRST: "The policy that the chain of rounds began with",
    PREVIOUS: "The policy of this round",
}
"""What the new policy is held to, by their keys."""
COMMANDS = {"sampling": "sample", "reward": "reward", "preference": "preference"}
"""The trainer's commands that a round gives options to, by the field that holds them."""
MOST_PROMPTS = 100_000


@dataclass(frozen=True, kw_only=True)
class RoundOptions:
    """The choices of a round. Raises DomainError when made of values that nobody may choose.

    `sampling`, `reward` and `preference` are options of the trainer; what they leave out has the trainer's default.
    """

    labels: str = NEW
    prompts: int = 64
    split: str = ""
    protocol: int | None = None
    overlap: int = 1
    shared_percent: int = 0
    shared_overlap: int = 3
    anchor: str = FIRST
    sampling: Mapping[str, Any] = field(default_factory=dict)
    reward: Mapping[str, Any] = field(default_factory=dict)
    preference: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse what no round can be done with."""
        problems = [
            *_one_of("labels", self.labels, LABELS),
            *_one_of("anchor", self.anchor, ANCHORS),
            *_one_of("split", self.split, ["", *Prompt.Split.values]),
            *_between("prompts", self.prompts, 1, MOST_PROMPTS),
            *_between("overlap", self.overlap, 1, MAX_OVERLAP),
            *_between("shared_percent", self.shared_percent, 0, 100),
            *_between("shared_overlap", self.shared_overlap, self.overlap, MAX_OVERLAP),
            *(
                problem
                for name, command in COMMANDS.items()
                for problem in _refused(name, command, getattr(self, name))
            ),
        ]
        if not problems and self.labels == NEW:
            problems = _between("completions per prompt (n)", self.completions, 2, MAX_COMPLETIONS)
        if problems:
            raise DomainError(" ".join(problems))

    @property
    def completions(self) -> int:
        """How many completions each prompt gets."""
        return int(self.trainer_options("sampling")["n"])

    def trainer_options(self, name: str) -> dict[str, Any]:
        """All options of one of the trainer's commands, its defaults among them."""
        return asdict(options_read(COMMANDS[name], getattr(self, name)))


def round_options_read(given: Mapping[str, Any]) -> RoundOptions:
    """Options as a round keeps them. Raises DomainError when one is unknown or no good.

    Options that the trainer had when the round was made, and has no longer, are left out.
    """
    unknown = set(given) - set(RoundOptions.__dataclass_fields__)
    if unknown:
        raise DomainError(f"A round has no option {', '.join(sorted(unknown))}.")
    known = {name: {option.name for option in option_fields(command)} for name, command in COMMANDS.items()}
    kept = {
        name: {option: value for option, value in given[name].items() if option in known[name]}
        for name in COMMANDS
        if name in given
    }
    return RoundOptions(**{**given, **kept})


def _one_of(name: str, value: str, known: Any) -> list[str]:
    return [] if value in known else [f"{name}: choose from {', '.join(filter(None, known))}, not {value!r}."]


def _between(name: str, value: int, least: int, most: int) -> list[str]:
    return [] if least <= value <= most else [f"{name}: it must be from {least:,} to {most:,}, not {value:,}."]


def _refused(name: str, command: str, given: Mapping[str, Any]) -> list[str]:
    try:
        options_read(command, given)
    except OptionsError as error:
        return [f"{name}, {option}: it {problem}" for option, problem in error.problems.items()]
    return []
