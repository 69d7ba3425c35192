"""From snapshots to groups: what is merged, what is left out and counted, what is ranked first."""

from pathlib import Path

import pytest

from tests.trainer.models import byte_tokenizer
from trainer.data.conversations import Tokenizer, completion_ids, end_id, prompt_ids, tokenizer_load
from trainer.data.groups import (
    EMPTY,
    NO_EDGES,
    NO_FIRST,
    REFUSED,
    TOO_LONG,
    Edge,
    Group,
    Ranking,
    answers_from,
    groups_from,
)
from trainer.data.snapshots import Snapshot
from trainer.records import ComparisonRow, EdgeRow, Manifest, Message


@pytest.fixture
def tokenizer(tmp_path: Path) -> Tokenizer:
    byte_tokenizer("plain").save_pretrained(tmp_path)
    return tokenizer_load(str(tmp_path))


def snapshot_of(
    prompts: dict[int, list[Message]],
    completions: dict[int, tuple[int, str, str]],
    comparisons: list[ComparisonRow],
    *,
    demonstrations: dict[int, tuple[int, str]] | None = None,
    splits: dict[int, str] | None = None,
) -> Snapshot:
    """A snapshot by hand: completions are (prompt, text, finish reason), demonstrations (prompt, text)."""
    manifest = Manifest(
        schema_version=1, digest="", as_of="", options={}, counts={}, protocols={}, annotators={}, files={}
    )
    return Snapshot(
        manifest=manifest,
        prompts={
            id_: {
                "prompt": id_,
                "messages": messages,
                "split": (splits or {}).get(id_, "train"),
                "source": "",
                "language": "en",
                "tags": [],
            }
            for id_, messages in prompts.items()
        },
        completions={
            id_: {"completion": id_, "prompt": prompt, "model": "m", "text": text, "finish_reason": reason}
            for id_, (prompt, text, reason) in completions.items()
        },
        comparisons=comparisons,
        ratings=[],
        demonstrations=[
            {"demonstration": id_, "prompt": prompt, "annotator": "a", "group": "training", "text": text}
            for id_, (prompt, text) in (demonstrations or {}).items()
        ],
    )


def compare(
    prompt: int,
    completions: list[int],
    *edges: tuple[int, str, int],
    weight: float = 1.0,
    task: int = 1,
    edge: float = 1.0,
) -> ComparisonRow:
    """A comparison with edges written as (i, ">", j), numbered in its own order."""
    rows = [EdgeRow(i=i, j=j, outcome=outcome, strength=2, weight=edge) for i, outcome, j in edges]
    return {
        "comparison": f"c{task}",
        "task": task,
        "prompt": prompt,
        "annotator": "a",
        "group": "training",
        "protocol": 1,
        "completions": completions,
        "edges": rows,
        "ranking": None,
        "rationale": "",
        "shown": [],
        "weight": weight,
    }


def user(text: str) -> list[Message]:
    return [{"role": "user", "content": text}]


TWO = {1: (1, "good", "stop"), 2: (1, "bad", "stop"), 3: (1, "so-so", "length")}


def test_a_comparison_becomes_a_group(tokenizer: Tokenizer) -> None:
    snapshot = snapshot_of({1: user("Hi")}, TWO, [compare(1, [2, 1, 3], (1, ">", 0), (1, ">", 2), (0, "=", 2))])
    groups, excluded = groups_from(snapshot, tokenizer, split="train", max_length=512)
    (group,) = groups
    assert (group.prompt, group.ids, group.tasks, group.weight) == (1, (1, 2, 3), (1,), 1.0)
    assert group.prompt_ids == prompt_ids(tokenizer, user("Hi"))
    assert group.edges == [
        Edge(0, 1, ">", 1.0, 2, "training"),
        Edge(0, 2, ">", 1.0, 2, "training"),
        Edge(1, 2, "=", 1.0, 2, "training"),
    ]
    assert excluded.counts() == {"found": 1, "kept": 1, "shortened": 0}


def test_each_completion_is_written_once_and_ends_where_it_ended(tokenizer: Tokenizer) -> None:
    snapshot = snapshot_of({1: user("Hi")}, TWO, [compare(1, [1, 2, 3], (0, ">", 1))])
    (group,), _ = groups_from(snapshot, tokenizer, split="train", max_length=512)
    assert group.completions == [
        completion_ids(tokenizer, "good", ended=True),
        completion_ids(tokenizer, "bad", ended=True),
        completion_ids(tokenizer, "so-so", ended=False),
    ]
    ends = [completion[-1] == end_id(tokenizer) for completion in group.completions]
    assert ends == [True, True, False]


def test_comparisons_of_the_same_completions_are_one_group_with_their_weights(tokenizer: Tokenizer) -> None:
    """Three annotators, each in an order of their own: 1 beats 2 by 0.5 + 0.25, 2 beats 1 by 0.25·2."""
    rows = [
        compare(1, [1, 2], (0, ">", 1), weight=0.5, task=5),
        compare(1, [2, 1], (1, ">", 0), weight=0.25, task=5),
        compare(1, [2, 1], (0, ">", 1), weight=0.25, task=6, edge=2.0),
        compare(1, [1, 2], (1, "=", 0), weight=0.5, task=6),
    ]
    (group,), excluded = groups_from(snapshot_of({1: user("Hi")}, TWO, rows), tokenizer, split="train", max_length=512)
    assert [(edge.i, edge.j, edge.outcome, edge.weight) for edge in group.edges] == [
        (0, 1, ">", 0.5),
        (0, 1, ">", 0.25),
        (1, 0, ">", 0.5),
        (1, 0, "=", 0.5),
    ]
    assert (group.weight, group.tasks) == (1.5, (5, 6))
    assert (excluded.found, excluded.kept) == (4, 4)


def test_other_completions_of_the_same_prompt_are_another_group(tokenizer: Tokenizer) -> None:
    rows = [compare(1, [1, 2], (0, ">", 1)), compare(1, [1, 3], (0, ">", 1), task=2)]
    groups, _ = groups_from(snapshot_of({1: user("Hi")}, TWO, rows), tokenizer, split="train", max_length=512)
    assert [group.ids for group in groups] == [(1, 2), (1, 3)]


def test_only_the_split_asked_for_is_read(tokenizer: Tokenizer) -> None:
    completions = {1: (1, "a", "stop"), 2: (1, "b", "stop"), 3: (2, "a", "stop"), 4: (2, "b", "stop")}
    rows = [compare(1, [1, 2], (0, ">", 1)), compare(2, [3, 4], (0, ">", 1))]
    snapshot = snapshot_of({1: user("x"), 2: user("y")}, completions, rows, splits={2: "test"})
    for split, prompt in (("train", 1), ("test", 2)):
        groups, excluded = groups_from(snapshot, tokenizer, split=split, max_length=512)
        assert [group.prompt for group in groups] == [prompt]
        assert excluded.found == 1


def test_the_order_of_rows_does_not_matter(tokenizer: Tokenizer) -> None:
    rows = [compare(1, [1, 3], (0, ">", 1)), compare(1, [1, 2], (0, ">", 1))]
    one, _ = groups_from(snapshot_of({1: user("Hi")}, TWO, rows), tokenizer, split="train", max_length=512)
    other, _ = groups_from(snapshot_of({1: user("Hi")}, TWO, rows[::-1]), tokenizer, split="train", max_length=512)
    assert one == other


TALK: list[Message] = [
    {"role": "system", "content": "Be kind"},
    *[{"role": role, "content": f"{role} {number}"} for number in range(3) for role in ("user", "assistant")],
    {"role": "user", "content": "last"},
]


def test_a_long_prompt_loses_its_oldest_turns_and_is_counted(tokenizer: Tokenizer) -> None:
    whole, kept = prompt_ids(tokenizer, TALK), prompt_ids(tokenizer, TALK[:1] + TALK[5:])
    snapshot = snapshot_of({1: TALK}, TWO, [compare(1, [1, 2], (0, ">", 1))])
    longest = len(completion_ids(tokenizer, "good", ended=True))
    (group,), excluded = groups_from(snapshot, tokenizer, split="train", max_length=len(kept) + longest)
    assert group.prompt_ids == kept
    assert excluded.shortened == 1
    assert "1 prompts lost their oldest turns" in str(excluded)
    (group,), excluded = groups_from(snapshot, tokenizer, split="train", max_length=len(whole) + longest)
    assert group.prompt_ids == whole
    assert excluded.shortened == 0


def test_a_group_whose_completion_does_not_fit_is_left_out_whole_and_counted(tokenizer: Tokenizer) -> None:
    completions = TWO | {3: (1, "x" * 100, "stop")}
    rows = [
        compare(1, [1, 2], (0, ">", 1)),
        compare(1, [1, 2, 3], (0, ">", 1), task=2),
        compare(1, [3, 2, 1], (0, ">", 1), task=3),
    ]
    groups, excluded = groups_from(
        snapshot_of({1: user("Hi")}, completions, rows), tokenizer, split="train", max_length=60
    )
    assert [group.ids for group in groups] == [(1, 2)]
    assert excluded.counts() == {"found": 3, "kept": 1, "shortened": 0, f"left out: {TOO_LONG}": 2}
    assert str(excluded) == f"1 of 3 comparisons remain.\n  2 left out: {TOO_LONG}."


def test_no_group_is_longer_than_asked(tokenizer: Tokenizer) -> None:
    snapshot = snapshot_of({1: TALK}, TWO, [compare(1, [1, 2, 3], (0, ">", 1))])
    for most in range(40, 200):
        groups, _ = groups_from(snapshot, tokenizer, split="train", max_length=most)
        for group in groups:
            assert len(group.prompt_ids) + max(map(len, group.completions)) <= most


def test_what_cannot_be_learned_from_is_left_out_by_cause(tokenizer: Tokenizer) -> None:
    completions = {
        1: (1, "a", "stop"),
        2: (1, "b", "stop"),
        3: (1, "", "length"),
        4: (2, "a", "stop"),
        5: (2, "b", "stop"),
    }
    tokenizer.chat_template = "{% if messages[0]['content'] == 'bad' %}{{ raise_exception('no') }}{% endif %}ok"
    rows = [
        compare(1, [1, 2]),
        compare(1, [1, 2], (0, ">", 1), weight=0.0),
        compare(1, [1, 3], (0, ">", 1)),
        compare(2, [4, 5], (0, ">", 1)),
    ]
    groups, excluded = groups_from(
        snapshot_of({1: user("Hi"), 2: user("bad")}, completions, rows), tokenizer, split="train", max_length=512
    )
    assert groups == []
    assert dict(excluded.causes) == {NO_EDGES: 2, EMPTY: 1, REFUSED: 1}


def test_an_empty_completion_that_ended_is_its_end_token(tokenizer: Tokenizer) -> None:
    completions = {1: (1, "a", "stop"), 2: (1, "", "stop")}
    snapshot = snapshot_of({1: user("Hi")}, completions, [compare(1, [1, 2], (0, ">", 1))])
    (group,), _ = groups_from(snapshot, tokenizer, split="train", max_length=512)
    assert group.completions[1] == [end_id(tokenizer)]


def test_a_group_counts_where_an_edge_counts() -> None:
    tied = Group(1, [1], [[1], [2]], [Edge(0, 1, "=", 1.0)], 2.0)
    won = Group(1, [1], [[1], [2]], [Edge(0, 1, "=", 1.0), Edge(0, 1, ">", 1.0)], 2.0)
    assert [group.counted_weight("drop") for group in (tied, won)] == [0.0, 2.0]
    assert [group.counted_weight("soft") for group in (tied, won)] == [2.0, 2.0]


def test_what_is_ranked_first_by_hand() -> None:
    """Weights of a third do not add up exactly; a circle has no first."""
    cases = [
        ([(2, 0, 1.0), (2, 1, 1.0), (0, 1, 1.0)], [0, 0, 1]),
        ([(0, 2, 1 / 3), (1, 2, 1 / 3)], [0.5, 0.5, 0]),
        ([], [0, 0, 0]),
        ([(0, 1, 1.0), (1, 2, 1.0), (2, 0, 1.0)], [0, 0, 0]),
    ]
    for wins, shares in cases:
        edges = [Edge(i, j, ">", weight) for i, j, weight in wins]
        assert Group(1, [1], [[1], [2], [3]], edges, 1.0).first_shares() == shares


def test_rankings_are_kept_in_the_order_of_the_completions(tokenizer: Tokenizer) -> None:
    """The row lists 3, 1, 2 and ranks its second and third above its first: 1 and 2 share the first rank."""
    row = compare(1, [3, 1, 2], (1, ">", 0), (2, ">", 0), (1, "=", 2), weight=0.5) | {"ranking": [[1, 2], [0]]}
    rows = [row, compare(1, [1, 2, 3], (0, ">", 1))]
    (group,), _ = groups_from(snapshot_of({1: user("Hi")}, TWO, rows), tokenizer, split="train", max_length=512)
    assert group.rankings == (Ranking((0, 0, 1), 0.5, "training"),)
    assert group.ranked_weight() == 0.5


def test_a_ranking_that_ties_all_counts_for_nothing() -> None:
    group = Group(1, [1], [[1], [2]], [], 1.0, rankings=(Ranking((0, 0), 1.0), Ranking((1, 0), 0.25)))
    assert group.ranked_weight() == 0.25


def test_ratings_are_means_over_annotators(tokenizer: Tokenizer) -> None:
    """7 of 7 and 4 of 7 are 1 and 0.5; one yes and one no are a half; na and null say nothing."""
    snapshot = snapshot_of({1: user("Hi")}, TWO, [compare(1, [1, 2, 3], (0, ">", 1))])
    given = [(1, 7, '{"safe": "yes", "kind": "na"}'), (1, 4, '{"safe": "no", "kind": null}'), (2, None, "{}")]
    snapshot.ratings.extend(
        {
            "comparison": f"c{number}",
            "prompt": 1,
            "completion": completion,
            "annotator": "a",
            "likert": likert,
            "likert_points": 7,
            "answers": answers,
        }
        for number, (completion, likert, answers) in enumerate(given)
    )
    (group,), _ = groups_from(snapshot, tokenizer, split="train", max_length=512)
    assert group.likert == (0.75, None, None)
    assert group.answers == ({"safe": 0.5}, {}, {})


ANSWERS = {
    "demonstrations": [(1, (7,), "written", 1.0)],
    "preferred": [(1, (1,), "good", 0.5), (1, (3,), "so-so", 0.5)],
    "both": [(1, (7,), "written", 1.0), (1, (1,), "good", 0.5), (1, (3,), "so-so", 0.5)],
}


@pytest.mark.parametrize("answers", sorted(ANSWERS))
def test_answers_to_learn_by_heart(answers: str, tokenizer: Tokenizer) -> None:
    """Completions 1 and 3 share the first place; 3 did not end, so it has no end token."""
    rows = [compare(1, [1, 2, 3], (0, ">", 1), (2, ">", 1), (0, "=", 2)), compare(1, [1, 2], (0, "=", 1), task=2)]
    snapshot = snapshot_of({1: user("Hi")}, TWO, rows, demonstrations={7: (1, "written")})
    groups, excluded = answers_from(snapshot, tokenizer, split="train", max_length=512, answers=answers)
    expected = [
        (prompt, ids, [completion_ids(tokenizer, text, ended=ids != (3,))], [], weight)
        for prompt, ids, text, weight in ANSWERS[answers]
    ]
    assert [(group.prompt, group.ids, group.completions, group.edges, group.weight) for group in groups] == expected
    assert excluded.kept == len(expected)
    assert excluded.causes[NO_FIRST] == (answers != "demonstrations")


def test_answers_that_do_not_fit_are_counted(tokenizer: Tokenizer) -> None:
    snapshot = snapshot_of({1: user("Hi")}, {}, [], demonstrations={1: (1, "ok"), 2: (1, "x" * 100)})
    groups, excluded = answers_from(snapshot, tokenizer, split="train", max_length=60, answers="demonstrations")
    assert [group.ids for group in groups] == [(1,)]
    assert str(excluded).startswith("1 of 2 answers remain.\n  1 left out")
