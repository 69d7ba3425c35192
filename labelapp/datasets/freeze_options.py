"""What somebody asks of a snapshot: which labels, and how several labels of one task combine."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from labelapp.errors import DomainError
from labelapp.models import Annotator
from trainer.records import SPLITS

MOST_HOURS = 24 * 366
ACCEPTED, SUBMITTED = "accepted", "submitted"
MINIMUM_STATES = {
    ACCEPTED: "Accepted: it has stood for some hours without being corrected",
    SUBMITTED: "Submitted: at once",
}
ALL, MAJORITY, SOFT = "all", "pairwise_majority", "soft"
COMBINATIONS = {
    ALL: "Keep each label; those of one task weigh 1 together",
    MAJORITY: "One label per task: what most say about each pair",
    SOFT: "One label per task: each pair both ways, by the share who say so",
}
KEEP, DROP = "keep", "drop"
TIES = {KEEP: "Keep ties; the training decides what they mean", DROP: "Leave ties out"}


@dataclass(frozen=True, kw_only=True)
class FreezeOptions:
    """Which labels a snapshot takes, and how. Raises DomainError when made of values that nobody may choose.

    Batches are given by id and rounds by number; with neither, all batches are taken. Weights go by annotator id:
    who is not named weighs 1, and who weighs 0 is left out.
    """

    batches: tuple[int, ...] = ()
    rounds: tuple[int, ...] = ()
    splits: tuple[str, ...] = SPLITS
    groups: tuple[str, ...] = (Annotator.Group.TRAINING.value,)
    kinds: tuple[str, ...] = tuple(Annotator.Kind.values)
    weights: Mapping[int, float] = field(default_factory=dict)
    minimum_state: str = ACCEPTED
    settled_hours: float = 24.0
    include_surplus: bool = False
    combine: str = ALL
    ties: str = KEEP
    ratings: bool = True
    demonstrations: bool = True

    def __post_init__(self) -> None:
        """Refuse what cannot be frozen with."""
        _chosen("splits", self.splits, SPLITS)
        _chosen("groups", self.groups, Annotator.Group.values)
        _chosen("kinds", self.kinds, Annotator.Kind.values)
        _chosen("minimum_state", [self.minimum_state], MINIMUM_STATES)
        _chosen("combine", [self.combine], COMBINATIONS)
        _chosen("ties", [self.ties], TIES)
        if not 0 <= self.settled_hours <= MOST_HOURS:
            raise DomainError(f"settled_hours: it must be from 0 to {MOST_HOURS:,}, not {self.settled_hours}.")
        for annotator, weight in self.weights.items():
            if not (math.isfinite(weight) and 0 <= weight <= 1000):
                raise DomainError(f"weights: annotator {annotator} cannot weigh {weight}. Choose 0 to 1000.")

    @property
    def wait_hours(self) -> float:
        """For how many hours a label must have stood."""
        return self.settled_hours if self.minimum_state == ACCEPTED else 0.0

    def payload(self) -> dict[str, Any]:
        """As JSON, for a job."""
        return asdict(self) | {"weights": {str(annotator): weight for annotator, weight in self.weights.items()}}

    def canonical(self, keys: Mapping[int, str]) -> dict[str, Any]:
        """As a manifest says it and the digest takes it in: sorted, and annotators by their pseudonyms."""
        weights = {keys[annotator]: float(weight) for annotator, weight in self.weights.items() if weight != 1}
        return {
            **asdict(self),
            "batches": sorted(set(self.batches)),
            "rounds": sorted(set(self.rounds)),
            "splits": [split for split in SPLITS if split in self.splits],
            "groups": sorted(set(self.groups)),
            "kinds": sorted(set(self.kinds)),
            "weights": weights,
            "settled_hours": float(self.wait_hours),
        }


def freeze_options_read(given: Mapping[str, Any]) -> FreezeOptions:
    """Options as a job's payload or a manifest has them. Raises DomainError when one is unknown or no good."""
    unknown = set(given) - {known.name for known in fields(FreezeOptions)}
    if unknown:
        raise DomainError(f"A snapshot has no option {', '.join(sorted(unknown))}.")
    values: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in given.items()}
    values["weights"] = {int(annotator): float(weight) for annotator, weight in given.get("weights", {}).items()}
    return FreezeOptions(**values)


def _chosen(name: str, values: Any, known: Any) -> None:
    wrong = [value for value in values if value not in known]
    if wrong or not values:
        said = ", ".join(map(str, wrong)) or "nothing"
        raise DomainError(f"{name}: choose from {', '.join(known)}, not {said}.")
