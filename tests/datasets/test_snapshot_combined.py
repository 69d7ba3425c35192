"""What a freeze makes of several labels of one task, and how it counts them."""

from typing import Any

import pytest

from labelapp.models import Annotator, ComparisonTask, Project, Protocol
from tests import factories
from tests.datasets.freezing import batch_labelled_elsewhere, frozen, left_out

pytestmark = pytest.mark.usefixtures("own_folders")

FIRST, SECOND, TIE = [[0], [1]], [[1], [0]], [[0, 1]]


@pytest.fixture
def pairs(project: Project, protocol: Protocol) -> list[ComparisonTask]:
    """Three tasks of two completions."""
    return list(batch_labelled_elsewhere(project, protocol, tasks=3, k=2).tasks.order_by("pk"))


def vote(task: ComparisonTask, crowd: list[Annotator], *rankings: list[list[int]]) -> None:
    """Have one annotator after the other rank the completions of a task."""
    for annotator, ranking in zip(crowd, rankings, strict=False):
        factories.annotation_make(task, annotator, ranking=ranking)


def test_ties_have_their_vote_in_a_majority_that_drops_ties(
    project: Project, pairs: list[ComparisonTask], crowd: list[Annotator]
) -> None:
    vote(pairs[0], crowd, TIE, TIE, FIRST)
    vote(pairs[1], crowd, TIE, SECOND, SECOND)
    vote(pairs[2], crowd, TIE)
    snapshot = frozen(project, combine="pairwise_majority", ties="drop")
    assert [(row["task"], row["ranking"]) for row in snapshot.comparisons] == [(pairs[1].pk, SECOND)]
    assert snapshot.manifest["counts"]["labels"] == 3
    assert left_out(snapshot) == {"ties_only": 4}


@pytest.mark.parametrize("combine", ["all", "soft"])
def test_labels_of_nothing_but_ties_are_dropped_one_by_one_elsewhere(
    project: Project, pairs: list[ComparisonTask], crowd: list[Annotator], combine: str
) -> None:
    vote(pairs[0], crowd, TIE, TIE, FIRST)
    snapshot = frozen(project, combine=combine, ties="drop")
    assert len(snapshot.comparisons) == 1
    assert (snapshot.manifest["counts"]["labels"], left_out(snapshot)) == (1, {"ties_only": 2})


@pytest.mark.parametrize(
    ("options", "edges"),
    [
        ({"combine": "soft"}, {"strict": 1, "ties": 2}),
        ({"combine": "soft", "ties": "drop"}, {"strict": 1, "ties": 1}),
        ({"combine": "pairwise_majority"}, {"strict": 1, "ties": 2}),
        ({"combine": "all"}, {"strict": 5, "ties": 1}),
    ],
)
def test_pairs_are_counted_once_and_ties_are_told(
    project: Project,
    pairs: list[ComparisonTask],
    crowd: list[Annotator],
    options: dict[str, Any],
    edges: dict[str, int],
) -> None:
    vote(pairs[0], crowd, FIRST, FIRST, SECOND)
    vote(pairs[1], crowd, FIRST, SECOND)
    vote(pairs[2], crowd, TIE)
    assert frozen(project, **options).manifest["counts"]["edges"] == edges
