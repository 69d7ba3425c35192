"""Completions to measure: with as much of their prompt as fits, those of one prompt together."""

from pathlib import Path
from typing import Any

import pytest

from tests.trainer.models import byte_tokenizer
from tests.trainer.reward_samples import reward_snapshot_make
from trainer.data.completions import completions_of, item_of, together
from trainer.data.conversations import completion_ids, prompt_ids
from trainer.data.groups import EMPTY, TOO_LONG, Group
from trainer.data.snapshots import snapshot_read
from trainer.records import CompletionLine

TOKENIZER = byte_tokenizer("chat")


def line(number: int, text: str, question: str = "What?", **given: Any) -> CompletionLine:
    messages = [{"role": "user", "content": question}]
    return CompletionLine(completion=number, messages=messages, text=text, **given)  # type: ignore[typeddict-item]


def group(number: int, question: str = "What?", **given: Any) -> Group:
    found = item_of(line(number, "so", question, **given), TOKENIZER, 500).group
    assert found is not None
    return found


def test_a_completion_is_a_group_of_its_own() -> None:
    found = item_of(line(7, "so", finish_reason="stop", tags=["a"]), TOKENIZER, 500)
    assert found.group is not None
    assert found.group.prompt_ids == prompt_ids(TOKENIZER, line(7, "so")["messages"])
    assert found.group.completions == [completion_ids(TOKENIZER, "so", ended=True)]
    assert (found.group.ids, found.group.tags, found.excluded, found.shortened) == ((7,), ("a",), "", False)
    cut = item_of(line(7, "so", finish_reason="length"), TOKENIZER, 500).group
    assert cut is not None
    assert len(cut.completions[0]) == 2


@pytest.mark.parametrize(("text", "room", "why"), [("", 500, EMPTY), ("so", 10, TOO_LONG)])
def test_what_cannot_be_measured_says_why(text: str, room: int, why: str) -> None:
    found = item_of(line(7, text, finish_reason="length"), TOKENIZER, room)
    assert (found.group, found.excluded) == (None, why)


def test_completions_of_one_prompt_come_together() -> None:
    groups = [group(1), group(2, "Why?"), group(3), group(4, tags=["a"]), group(5)]
    assert [part.ids for part in together(groups, 9)] == [(1, 3, 5), (2,), (4,)]
    assert [part.ids for part in together(groups, 2)] == [(1, 3), (5,), (2,), (4,)]
    joined = together(groups, 9)[0]
    assert joined.prompt_ids == groups[0].prompt_ids
    assert joined.completions == [groups[0].completions[0]] * 3


def test_all_completions_of_a_snapshot_with_their_tags(tmp_path: Path) -> None:
    reward_snapshot_make(tmp_path / "snapshot", train=3, held_out=1)
    found = list(completions_of(snapshot_read(tmp_path / "snapshot")))
    assert [row["completion"] for row in found] == [10, 11, 12, 20, 21, 22, 30, 31, 32, 40, 41, 42]
    assert [row.get("tags") for row in found[6:10]] == [["safety"]] * 3 + [[]]
    assert {row.get("finish_reason") for row in found} == {"stop"}
