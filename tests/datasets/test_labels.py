"""Labels and demonstrations that came with an import."""

from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from labelapp.datasets.labels import IMPORTED, imported_batch
from labelapp.datasets.rows import Row, row_parse
from labelapp.datasets.services import rows_import
from labelapp.errors import ConflictError
from labelapp.labeling.services.batches import completions_key
from labelapp.models import (
    Annotation,
    Annotator,
    Batch,
    ComparisonTask,
    Completion,
    Demonstration,
    Project,
    Protocol,
    Rating,
    TaskCompletion,
)
from tests.datasets.conftest import completion, jsonl, labelled_row, table_counts


def bring(project: Project, *rows: dict[str, Any]) -> dict[str, int]:
    return dict(rows_import(project=project, rows=parsed(*rows)))


def parsed(*rows: dict[str, Any]) -> list[Row]:
    return [row_parse(line) for line in jsonl(rows).splitlines()]


def ranked(*order: Any, annotator: str = "ann", **fields: Any) -> dict[str, Any]:
    return labelled_row(rankings=[{"annotator": annotator, "order": list(order)}], **fields)


def rankings() -> list[Any]:
    """All rankings, oldest first, in the letters of their completions."""
    found = []
    for task, ranking in Annotation.objects.order_by("pk").values_list("task", "ranking"):
        names = dict(TaskCompletion.objects.filter(task=task).values_list("slot", "completion__source_key"))
        found.append([sorted(names[slot] for slot in tier) for tier in ranking or []])
    return found


def test_the_batch_is_closed_and_made_once(project: Project) -> None:
    batch = imported_batch(project=project)
    assert (batch.name, batch.state, batch.k, batch.overlap) == (IMPORTED, Batch.State.CLOSED, 9, 1)
    protocol = batch.protocol
    assert (protocol.name, protocol.version, protocol.likert_points) == (IMPORTED, 1, 7)
    assert protocol.asks_ranking
    assert protocol.used_at is not None
    assert not protocol.questions.exists()
    assert imported_batch(project=project) == batch
    assert (Batch.objects.count(), Protocol.objects.count()) == (1, 1)


def test_a_batch_of_that_name_made_by_hand_is_not_taken(project: Project, protocol: Protocol) -> None:
    Batch.objects.create(project=project, protocol=protocol, name=IMPORTED)
    with pytest.raises(ConflictError, match="made one by hand"):
        imported_batch(project=project)


def test_a_labelled_row_becomes_a_task_without_seats(project: Project) -> None:
    bring(project, ranked("b", "a", "c"))
    task = ComparisonTask.objects.get()
    ids = list(Completion.objects.values_list("pk", flat=True))
    assert task.batch == imported_batch(project=project)
    assert (task.overlap, task.purpose, task.repeat_of) == (0, "production", None)
    assert (task.selection_rule, task.selection_probability) == ("import", 1)
    assert task.completions_key == completions_key(ids)
    slots = TaskCompletion.objects.order_by("slot").values_list("completion", "slot")
    assert list(slots) == [(pk, slot) for slot, pk in enumerate(sorted(ids))]
    assert not task.seats.exists()


def test_a_row_without_labels_makes_no_task(project: Project) -> None:
    bring(project, labelled_row())
    assert not Batch.objects.exists()
    assert not ComparisonTask.objects.exists()


def test_an_annotation_carries_all_that_was_said(project: Project) -> None:
    row = labelled_row(
        rankings=[{"annotator": "ann", "order": [["b"], ["a", "c"]], "rationale": "Crisper", "confidence": 3}],
        ratings=[
            {"annotator": "ann", "completion": "b", "likert": 7},
            {"annotator": "ann", "completion": "a", "answers": {"harmful": "no", "on_topic": None}},
        ],
    )
    assert bring(project, row) == {"prompts": 1, "completions": 3, "annotations": 1}
    annotation = Annotation.objects.get()
    assert annotation.annotator.name == "ann"
    assert annotation.annotator.kind == Annotator.Kind.EXTERNAL
    assert annotation.edges == [[0, 2, "=", None, 1.0], [1, 0, ">", None, 1.0], [1, 2, ">", None, 1.0]]
    assert annotation.ranking == [[1], [0, 2]]
    assert (annotation.rationale, annotation.confidence) == ("Crisper", 3)
    assert (annotation.seat, annotation.order_shown, annotation.surplus) == (None, [], False)
    ratings = list(Rating.objects.values_list("slot", "likert", "answers"))
    assert ratings == [(0, None, {"harmful": "no", "on_topic": None}), (1, 7, {})]


def test_preferences_that_are_no_weak_order_have_no_ranking(project: Project) -> None:
    pairs = [("a", "b"), ("b", "c"), ("c", "a")]
    row = labelled_row(
        preferences=[{"annotator": "ann", "a": a, "b": b, "preferred": "a", "strength": 2} for a, b in pairs]
    )
    bring(project, row)
    annotation = Annotation.objects.get()
    assert annotation.ranking is None
    assert annotation.edges == [[0, 1, ">", 2, 1.0], [1, 2, ">", 2, 1.0], [2, 0, ">", 2, 1.0]]


def test_a_partial_ranking_is_edges_only(project: Project) -> None:
    bring(project, ranked("c", "a"))
    annotation = Annotation.objects.get()
    assert (annotation.ranking, annotation.edges) == (None, [[2, 0, ">", None, 1.0]])


def test_identical_texts_share_a_slot(project: Project) -> None:
    twins = [completion("a", "Same"), completion("b", "Other"), completion("c", "Same", model="tiny-2")]
    bring(project, ranked("b", ["a", "c"]) | {"completions": twins})
    slots = dict(TaskCompletion.objects.values_list("completion__source_key", "slot"))
    assert slots == {"a": 0, "b": 1, "c": 0}
    assert Annotation.objects.get().ranking == [[1], [0]]


def test_again_changes_nothing(project: Project) -> None:
    row = ranked("b", "a", "c", demonstrations=[{"annotator": "ann", "text": "Mine"}])
    bring(project, row)
    before = table_counts()
    assert bring(project, row) == {}
    assert table_counts() == before


def test_the_order_of_completions_does_not_matter(project: Project) -> None:
    bring(project, ranked(["b", "a"], "c"))
    row = ranked(["a", "b"], "c")
    row["completions"].reverse()
    assert bring(project, row) == {}


def test_a_ranking_and_its_preferences_are_the_same(project: Project) -> None:
    bring(project, ranked("b", ["a", "c"]))
    pairs = [("b", "a", "a"), ("c", "b", "b"), ("c", "a", "tie")]
    row = labelled_row(preferences=[{"annotator": "ann", "a": a, "b": b, "preferred": p} for a, b, p in pairs])
    assert bring(project, row) == {}


def test_what_differs_supersedes_the_newest(project: Project) -> None:
    for order in ("abc", "bca", "cab"):
        assert bring(project, ranked(*order)) == {"annotations": 1} or order == "abc"
    first, second, third = Annotation.objects.order_by("pk")
    assert (first.supersedes, second.supersedes, third.supersedes) == (None, first, second)
    assert rankings()[-1] == [["c"], ["a"], ["b"]]


def test_what_was_said_before_does_not_come_back(project: Project) -> None:
    for order in ("abc", "bca", "abc", "bca"):
        bring(project, ranked(*order))
    assert rankings() == [[["a"], ["b"], ["c"]], [["b"], ["c"], ["a"]]]


def test_rows_of_one_chunk_supersede_each_other(project: Project) -> None:
    orders = ["abc", "bca", "abc", "cab"]
    assert bring(project, *(ranked(*order) for order in orders))["annotations"] == 3
    first, second, third = Annotation.objects.order_by("pk")
    assert (first.supersedes, second.supersedes, third.supersedes) == (None, first, second)


def test_annotators_do_not_supersede_each_other(project: Project) -> None:
    bring(project, ranked(*"abc"), ranked(*"bca", annotator="bob"))
    assert Annotation.objects.filter(supersedes__isnull=True).count() == 2
    assert ComparisonTask.objects.count() == 1


def test_another_set_of_completions_is_another_task(project: Project) -> None:
    bring(project, ranked(*"abc"))
    more = ranked(*"abcd")
    more["completions"].append(completion("d"))
    bring(project, more)
    assert ComparisonTask.objects.count() == 2
    assert Annotation.objects.filter(supersedes__isnull=True).count() == 2


def test_a_person_of_the_same_name_is_somebody_else(project: Project, annotator: Annotator) -> None:
    Annotator.objects.filter(pk=annotator.pk).update(name="ann")
    bring(project, ranked(*"abc"))
    assert Annotation.objects.get().annotator != annotator


def test_demonstrations_form_chains_too(project: Project) -> None:
    rows = [labelled_row(demonstrations=[{"annotator": "ann", "text": text}]) for text in ("One", "Two", "One")]
    assert bring(project, *rows[:2])["demonstrations"] == 2
    assert bring(project, rows[2]) == {}
    one, two = Demonstration.objects.order_by("pk")
    assert (one.text, one.supersedes, two.text, two.supersedes) == ("One", None, "Two", one)
    assert not ComparisonTask.objects.exists()


def test_demonstrations_of_others_stand_beside(project: Project) -> None:
    people = ("ann", "bob")
    bring(project, labelled_row(demonstrations=[{"annotator": name, "text": "Same"} for name in people]))
    assert Demonstration.objects.filter(supersedes__isnull=True).count() == 2


def test_completions_without_ids_count_per_text_and_model(project: Project) -> None:
    twice = {"text": "Same", "model": "tiny-1"}
    row = labelled_row() | {"completions": [twice, twice, twice | {"model": "tiny-2"}]}
    assert bring(project, row)["completions"] == 3
    assert bring(project, row) == {}


def test_it_costs_as_many_queries_for_3_rows_as_for_100(project: Project) -> None:
    def count(start: int, rows: int) -> int:
        given = [ranked(*"abc") | {"prompt": f"Question {start + number}"} for number in range(rows)]
        with CaptureQueriesContext(connection) as queries:
            bring(project, *given)
        return len(queries)

    count(0, 3)
    assert count(10, 3) == count(100, 100) <= 30
