"""Rated completions as groups, and the questions that were answered."""

from pathlib import Path
from typing import Any

import pytest

from tests.trainer.models import byte_tokenizer
from tests.trainer.reward_samples import reward_snapshot_make
from trainer.data.conversations import completion_ids
from trainer.data.groups import TOO_LONG, groups_from
from trainer.data.rated import NO_RATING, questions_of, rated_groups_from
from trainer.data.snapshots import Snapshot, snapshot_read, snapshot_write


@pytest.fixture
def snapshot(tmp_path: Path) -> Snapshot:
    reward_snapshot_make(tmp_path / "snapshot", train=6, held_out=2)
    return snapshot_read(tmp_path / "snapshot")


def rows_with(snapshot: Snapshot, folder: Path, ratings: list[dict[str, Any]]) -> Snapshot:
    """The same snapshot with other ratings."""
    tables: dict[str, Any] = {
        "prompts": snapshot.prompts.values(),
        "completions": snapshot.completions.values(),
        "comparisons": snapshot.comparisons,
        "ratings": ratings,
    }
    snapshot_write(folder, options={}, tables=tables, as_of="", counts={}, protocols={}, annotators={})
    return snapshot_read(folder)


def test_every_rated_completion_of_a_prompt_is_in_its_group(snapshot: Snapshot) -> None:
    groups, excluded = rated_groups_from(snapshot, byte_tokenizer("chat"), split="train", max_length=512)
    assert [(group.prompt, group.ids) for group in groups] == [
        (prompt, (prompt * 10, prompt * 10 + 1, prompt * 10 + 2)) for prompt in (1, 2, 3, 4, 6)
    ]
    assert [group.tags for group in groups] == [(), (), ("safety",), (), ("safety",)]
    assert {group.weight for group in groups} == {1.0}
    # Prompt 1 is ranked 1, 2, 0 from the best down: 7, 5 and 3 of 7 points.
    assert groups[0].likert == (pytest.approx(1 / 3), 1.0, pytest.approx(2 / 3))
    assert groups[0].answers == ({"honest": 0.0}, {"honest": 1.0}, {"honest": 0.0})
    assert (excluded.found, excluded.kept, excluded.unit) == (15, 15, "rated completions")
    texts = [snapshot.completions[id_]["text"] for id_ in groups[0].ids]
    assert groups[0].completions == [completion_ids(byte_tokenizer("chat"), text, ended=True) for text in texts]


def test_what_was_said_in_comparing_them_comes_along(snapshot: Snapshot) -> None:
    rated, _ = rated_groups_from(snapshot, byte_tokenizer("chat"), split="validation", max_length=512)
    compared, _ = groups_from(snapshot, byte_tokenizer("chat"), split="validation", max_length=512)
    assert [group.edges for group in rated] == [group.edges for group in compared]


def test_only_pairs_that_were_both_rated_are_compared(snapshot: Snapshot, tmp_path: Path) -> None:
    some = [row for row in snapshot.ratings if row["completion"] in (10, 12, 21)]
    unrated = [{**row, "likert": None} if row["completion"] == 21 else dict(row) for row in some]
    fewer = rows_with(snapshot, tmp_path / "fewer", unrated)
    groups, excluded = rated_groups_from(fewer, byte_tokenizer("chat"), split="train", max_length=512)
    assert [group.ids for group in groups] == [(10, 12)]
    assert {(edge.i, edge.j) for edge in groups[0].edges} <= {(0, 1), (1, 0)}
    assert len(groups[0].edges) == 2
    assert excluded.causes == {NO_RATING: 1}


def test_what_does_not_fit_is_left_out(snapshot: Snapshot) -> None:
    groups, excluded = rated_groups_from(snapshot, byte_tokenizer("chat"), split="train", max_length=20)
    assert groups == []
    assert excluded.causes == {TOO_LONG: 15}


def test_questions_are_those_that_somebody_answered(snapshot: Snapshot, tmp_path: Path) -> None:
    """Nobody said yes or no to "rude", and to "kind" only about a held-out prompt."""
    assert questions_of(snapshot, "train") == ["honest"]
    changed = [{**row, "answers": '{"kind": "yes"}'} if row["prompt"] > 6 else dict(row) for row in snapshot.ratings]
    other = rows_with(snapshot, tmp_path / "other", changed)
    assert questions_of(other, "train") == ["honest"]
    assert questions_of(other, "validation") == ["kind"]
