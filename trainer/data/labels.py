"""Which completions are desirable: labels for a loss that judges each completion on its own (KTO)."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from trainer.data.conversations import Tokenizer
from trainer.data.groups import Edge, Exclusions, Group
from trainer.data.rated import chosen_groups_from
from trainer.data.ratings import TRUTH, ratings_of
from trainer.data.snapshots import Snapshot
from trainer.records import Manifest, RatingRow

DESIRABLE, UNDESIRABLE = 1.0, 0.0
MIDDLE = 0.5
"""Of a scale from 0 to 1."""
ROUNDING = 1e-9
"""How far from the middle still is the middle: means of sixths do not come out exactly."""
FLAGGED = 0.5
"""The share of annotators whose yes to a severe question outweighs every rating."""

UNLABELED = "no rating says whether it is desirable"

Label = float | None


def desirability(snapshot: Snapshot, group: Group, labels: str) -> tuple[Label, ...]:
    """Of each completion of a group 1 (desirable), 0 (undesirable) or None (neither), from its "ratings" or from the
    "ranking".
    """
    return rated(snapshot, group.ids) if labels == "ratings" else ranked(group)


def rated(snapshot: Snapshot, completions: Sequence[int]) -> tuple[Label, ...]:
    """Labels of completions, by their ids, from what was said about each on its own.

    It matters on which side of the middle of the scale the mean rating lies; thumbs are a scale of two points. A
    completion is undesirable whatever its rating when of those who answered a severe question, whose yes is bad, at
    least half said yes.
    """
    severe = _severe(snapshot.manifest)
    means, _ = ratings_of(snapshot, completions)
    flagged = [_flagged(snapshot.ratings_by_completion.get(completion, ()), severe) for completion in completions]
    return tuple(UNDESIRABLE if flag else _side(mean) for mean, flag in zip(means, flagged, strict=True))


def ranked(group: Group) -> tuple[Label, ...]:
    """Labels from what was said about a group's completions together: the first tier is desirable, the last is not.

    Tiers go by the weight of wins less losses. All None where nothing is preferred to anything.
    """
    turned = [Edge(edge.j, edge.i, *edge[2:]) for edge in group.edges]
    first, last = group.first_shares(), replace(group, edges=turned).first_shares()
    return tuple(
        DESIRABLE if best > 0 else UNDESIRABLE if worst > 0 else None for best, worst in zip(first, last, strict=True)
    )


def rated_from(
    snapshot: Snapshot, tokenizer: Tokenizer, *, split: str, max_length: int
) -> tuple[list[Group], Exclusions]:
    """The completions of a split that ratings say something about, compared or not, as groups without edges.

    One group for each prompt, of weight 1. A group whose longest completion does not fit is left out whole.
    """

    def labeled(ids: Sequence[int]) -> list[int]:
        return [id_ for id_, label in zip(ids, rated(snapshot, ids), strict=True) if label is not None]

    return chosen_groups_from(snapshot, tokenizer, split=split, max_length=max_length, chosen=labeled, cause=UNLABELED)


def _side(mean: float | None) -> Label:
    if mean is None or abs(mean - MIDDLE) < ROUNDING:
        return None
    return DESIRABLE if mean > MIDDLE else UNDESIRABLE


def _severe(manifest: Manifest) -> dict[int, set[str]]:
    """By id of the protocol, the keys of the questions whose yes is bad and severe; under 0 those of all protocols,
    for ratings that do not know theirs.
    """
    severe = {
        int(id_): {
            question["key"]
            for question in protocol.get("questions", ())
            if question["polarity"] == "bad" and question["severity"] == "severe"
        }
        for id_, protocol in manifest["protocols"].items()
    }
    return severe | {0: {key for keys in severe.values() for key in keys}}


def _flagged(rows: Iterable[RatingRow], severe: Mapping[int, set[str]]) -> bool:
    said: dict[str, list[float]] = {}
    for row in rows:
        keys = severe.get(row["protocol"], set())
        for question, answer in json.loads(row["answers"]).items():
            if question in keys and answer in TRUTH:
                said.setdefault(question, []).append(TRUTH[answer])
    return any(sum(values) >= FLAGGED * len(values) for values in said.values())
