"""What annotators said about completions on their own: ratings on a scale, and yes/no questions."""

import json
from collections.abc import Iterable, Mapping, Sequence

from trainer.data.snapshots import Snapshot
from trainer.records import RatingRow

TRUTH = {"yes": 1.0, "no": 0.0}
"""Not applicable and unanswered are neither."""


def ratings_of(
    snapshot: Snapshot, completions: Sequence[int]
) -> tuple[tuple[float | None, ...], tuple[Mapping[str, float], ...]]:
    """Of each completion, the mean rating (0 the worst of its scale, 1 the best; None without any), and for each
    question the share of annotators who said yes, of those who said yes or no.
    """
    rows = [snapshot.ratings_by_completion.get(completion, []) for completion in completions]
    return tuple(_likert(of_one) for of_one in rows), tuple(_answers(of_one) for of_one in rows)


def _likert(rows: Iterable[RatingRow]) -> float | None:
    given = [
        (row["likert"] - 1) / (row["likert_points"] - 1)
        for row in rows
        if row["likert"] is not None and row["likert_points"] > 1
    ]
    return sum(given) / len(given) if given else None


def _answers(rows: Iterable[RatingRow]) -> dict[str, float]:
    said: dict[str, list[float]] = {}
    for row in rows:
        for question, answer in json.loads(row["answers"]).items():
            if answer in TRUTH:
                said.setdefault(question, []).append(TRUTH[answer])
    return {question: sum(values) / len(values) for question, values in sorted(said.items())}
