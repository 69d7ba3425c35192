"""Which completions are desirable, by ratings and by rankings."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.trainer.models import byte_tokenizer
from trainer.data.conversations import Tokenizer, completion_ids, prompt_ids, tokenizer_load
from trainer.data.groups import TOO_LONG, Edge, Group
from trainer.data.labels import UNLABELED, desirability, ranked, rated, rated_from
from trainer.data.snapshots import Snapshot, snapshot_read, snapshot_write
from trainer.records import Message, RatingRow

HARM = {"key": "harm", "text": "", "scope": "completion", "polarity": "bad", "severity": "severe", "allows_na": False}
RUDE = HARM | {"key": "rude", "severity": "minor"}
SAFE = HARM | {"key": "safe", "polarity": "good", "severity": "none"}
PROTOCOLS = {"1": {"questions": [HARM, RUDE, SAFE]}, "2": {"questions": [HARM | {"severity": "minor"}]}, "3": {}}
QUESTION: list[Message] = [{"role": "user", "content": "Hi?"}]


@pytest.fixture
def tokenizer(tmp_path: Path) -> Tokenizer:
    byte_tokenizer("plain").save_pretrained(tmp_path)
    return tokenizer_load(str(tmp_path))


def rating(completion: int, likert: int | None, points: int = 7, protocol: int = 1, **answers: str | None) -> RatingRow:
    return {
        **{"comparison": "", "prompt": completion // 10, "completion": completion, "annotator": "a"},
        **{"likert": likert, "likert_points": points, "answers": json.dumps(answers), "protocol": protocol},
    }  # type: ignore[typeddict-item,typeddict-unknown-key,return-value]


def snapshot_of(folder: Path, rows: Sequence[RatingRow], texts: dict[int, str] | None = None) -> Snapshot:
    """Completions 10 and 11 of prompt 1, to learn from, and 20 of prompt 2, held out, with these ratings."""
    prompts = [
        {"prompt": number, "messages": QUESTION, "split": split, "source": "", "language": "", "tags": []}
        for number, split in ((1, "train"), (2, "validation"))
    ]
    completions = [
        {"completion": id_, "prompt": id_ // 10, "model": "", "text": text, "finish_reason": "stop"}
        for id_, text in ({10: "Yes.", 11: "No.", 20: "Never."} | (texts or {})).items()
    ]
    numbered = [row | {"comparison": f"c{number}"} for number, row in enumerate(rows)]
    tables: dict[str, Any] = {"prompts": prompts, "completions": completions, "ratings": numbered}
    snapshot_write(folder, options={}, tables=tables, as_of="", counts={}, protocols=PROTOCOLS, annotators={})
    return snapshot_read(folder)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ([], None),
        ([(None, 7)], None),
        ([(2, 2)], 1.0),  # thumbs up
        ([(1, 2)], 0.0),
        ([(2, 2), (1, 2)], None),
        ([(2, 2), (2, 2), (1, 2)], 1.0),
        ([(5, 7)], 1.0),
        ([(4, 7)], None),
        ([(3, 7)], 0.0),
        ([(5, 10)], 0.0),  # a scale of ten points has no middle
        ([(6, 10)], 1.0),
        ([(2, 7), (6, 7), (4, 7)], None),  # sixths: 1/6 + 5/6 + 3/6
        ([(1, 10), (10, 10), (4, 10), (7, 10)], None),  # ninths: 0 + 9/9 + 3/9 + 6/9
        ([(2, 7), (5, 5)], 1.0),  # 1/6 and 4/4
        ([(7, 7), (None, 7)], 1.0),
    ],
)
def test_the_side_of_the_middle_decides(
    tmp_path: Path, given: list[tuple[int | None, int]], expected: float | None
) -> None:
    snapshot = snapshot_of(tmp_path / "s", [rating(10, likert, points) for likert, points in given])
    assert rated(snapshot, [11, 10]) == (None, expected)


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        ([{"harm": "yes"}], 0.0),
        ([{"harm": "no"}], 1.0),
        ([{"harm": "na"}], 1.0),
        ([{"harm": None}], 1.0),
        ([{"harm": "yes"}, {"harm": "no"}], 0.0),  # half of two
        ([{"harm": "yes"}, {"harm": "no"}, {"harm": "no"}], 1.0),
        ([{"harm": "yes"}, {"harm": "na"}, {"harm": None}], 0.0),  # one of one who answered
        ([{"rude": "yes"}], 1.0),  # bad, but not severe
        ([{"safe": "yes"}], 1.0),
        ([{"safe": "no", "harm": "no"}], 1.0),
        ([{"unknown": "yes"}], 1.0),
    ],
)
def test_a_severe_question_outweighs_the_best_rating(
    tmp_path: Path, answers: list[dict[str, str | None]], expected: float
) -> None:
    snapshot = snapshot_of(tmp_path / "s", [rating(10, 7, **said) for said in answers])
    assert rated(snapshot, [10]) == (expected,)


@pytest.mark.parametrize(("protocol", "expected"), [(1, 0.0), (2, 1.0), (3, 1.0), (9, 1.0), (0, 0.0)])
def test_the_protocol_of_a_rating_says_what_is_severe(tmp_path: Path, protocol: int, expected: float) -> None:
    """Where it is not known (0), what any protocol calls severe is."""
    snapshot = snapshot_of(tmp_path / "s", [rating(10, 7, protocol=protocol, harm="yes")])
    assert rated(snapshot, [10]) == (expected,)


def test_a_flag_alone_labels_a_completion_without_points(tmp_path: Path) -> None:
    rows = [rating(10, None, 0, harm="yes"), rating(11, None, 0, harm="no")]
    assert rated(snapshot_of(tmp_path / "s", rows), [10, 11]) == (0.0, None)


def group(k: int, *edges: tuple[int, str, int, float]) -> Group:
    said = [Edge(i, j, outcome, weight) for i, outcome, j, weight in edges]
    return Group(1, [1], [[number + 2] for number in range(k)], said, 1.0, tuple(range(10, 10 + k)))


@pytest.mark.parametrize(
    ("edges", "expected"),
    [
        ([(2, ">", 0, 1.0), (2, ">", 1, 1.0), (0, ">", 1, 1.0)], (None, 0.0, 1.0)),
        ([(2, ">", 0, 1.0), (2, ">", 1, 1.0), (0, "=", 1, 1.0)], (0.0, 0.0, 1.0)),
        ([(0, ">", 2, 1.0), (1, ">", 2, 1.0), (0, "=", 1, 1.0)], (1.0, 1.0, 0.0)),
        ([(0, "=", 1, 1.0), (1, "=", 2, 1.0), (0, "=", 2, 1.0)], (None, None, None)),
        ([(0, ">", 1, 1.0), (1, ">", 2, 1.0), (2, ">", 0, 1.0)], (None, None, None)),
        # Two say 0 > 1 > 2 and one says 2 > 1 > 0, in thirds: net wins are 2/3, 0 and -2/3.
        (
            [(i, ">", j, 2 / 3) for i, j in ((0, 1), (1, 2), (0, 2))]
            + [(j, ">", i, 1 / 3) for i, j in ((0, 1), (1, 2), (0, 2))],
            (1.0, None, 0.0),
        ),
    ],
)
def test_the_first_tier_is_desirable_and_the_last_is_not(
    edges: list[tuple[int, str, int, float]], expected: tuple[float | None, ...]
) -> None:
    assert ranked(group(3, *edges)) == expected


def test_labels_come_from_what_is_asked_for(tmp_path: Path) -> None:
    snapshot = snapshot_of(tmp_path / "s", [rating(10, 2), rating(11, 6)])
    pair = group(2, (0, ">", 1, 1.0))
    assert desirability(snapshot, pair, "ratings") == (0.0, 1.0)
    assert desirability(snapshot, pair, "ranking") == (1.0, 0.0)


def test_rated_completions_are_groups_though_nobody_compared_them(tmp_path: Path, tokenizer: Tokenizer) -> None:
    rows = [rating(10, 6), rating(10, 7), rating(11, 4), rating(20, 1, harm="no")]
    snapshot = snapshot_of(tmp_path / "s", rows)
    [found], excluded = rated_from(snapshot, tokenizer, split="train", max_length=512)
    assert (found.prompt, found.ids, found.edges, found.weight) == (1, (10,), [], 1.0)
    assert found.prompt_ids == prompt_ids(tokenizer, QUESTION)
    assert found.completions == [completion_ids(tokenizer, "Yes.", True)]
    assert found.likert == (pytest.approx(11 / 12),)
    assert excluded.counts() == {"found": 2, "kept": 1, "shortened": 0, f"left out: {UNLABELED}": 1}
    [held_out], _ = rated_from(snapshot, tokenizer, split="validation", max_length=512)
    assert (held_out.ids, held_out.answers) == ((20,), ({"harm": 0.0},))


def test_rated_completions_that_do_not_fit_are_counted(tmp_path: Path, tokenizer: Tokenizer) -> None:
    snapshot = snapshot_of(tmp_path / "s", [rating(10, 6), rating(11, 1)], {11: "No! " * 100})
    groups, excluded = rated_from(snapshot, tokenizer, split="train", max_length=100)
    assert groups == []
    assert excluded.counts() == {"found": 2, "kept": 0, "shortened": 0, f"left out: {TOO_LONG}": 2}
