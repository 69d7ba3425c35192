"""From groups to tensors, in both layouts: what is read, what predicts what, and who sees whom."""

from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from trainer.data.batches import Batch, Tokens, collate, portions, unique_tokens
from trainer.data.groups import Edge, Group, Ranking
from trainer.data.layouts import Layout, sees

PAD = 0
GROUPS = [
    Group(
        1,
        [5, 6, 7],
        [[10], [11, 12, PAD, 13]],
        [Edge(1, 0, ">", 2.0, 4)],
        0.5,
        rankings=(Ranking((1, 0), 0.5),),
    ),
    Group(
        2,
        [8],
        [[14, PAD], [15], [16, 17]],
        [Edge(0, 2, ">", 1.0), Edge(1, 0, "=", 3.0)],
        1.0,
        rankings=(Ranking((0, 0, 1), 0.75), Ranking((2, 1, 0), 0.25)),
    ),
]


def test_a_plain_batch_by_hand() -> None:
    """Pads inside the text count, pads behind it do not."""
    tokens = collate(GROUPS, PAD, shared=False).tokens
    assert tokens.input_ids.tolist() == [
        [5, 6, 7, 10, 0, 0, 0],
        [5, 6, 7, 11, 12, 0, 13],
        [8, 14, 0, 0, 0, 0, 0],
        [8, 15, 0, 0, 0, 0, 0],
        [8, 16, 17, 0, 0, 0, 0],
    ]
    assert tokens.attention_mask is not None
    assert tokens.attention_mask.sum(1).tolist() == [4, 7, 3, 2, 3]
    assert tokens.places.tolist() == [3, 10, 11, 12, 13, 15, 16, 22, 29, 30]
    assert tokens.sources.tolist() == [2, 9, 10, 11, 12, 14, 15, 21, 28, 29]
    assert tokens.last.tolist() == [3, 13, 16, 22, 30]


def test_a_shared_batch_by_hand() -> None:
    """Each prompt stands there once, positions go on behind it for each completion, and there are no pads."""
    tokens = collate(GROUPS, PAD, shared=True).tokens
    assert tokens.input_ids.tolist() == [[5, 6, 7, 10, 11, 12, 0, 13, 8, 14, 0, 15, 16, 17]]
    assert tokens.position_ids.tolist() == [[0, 1, 2, 3, 3, 4, 5, 6, 0, 1, 2, 1, 1, 2]]
    assert tokens.attention_mask is None
    assert tokens.layout == Layout(((3, (1, 4)), (1, (2, 1, 2))))
    assert tokens.places.tolist() == [3, 4, 5, 6, 7, 9, 10, 11, 12, 13]
    assert tokens.sources.tolist() == [2, 2, 4, 5, 6, 8, 9, 8, 8, 12]
    assert tokens.last.tolist() == [3, 7, 10, 11, 13]


@pytest.mark.parametrize("shared", [False, True])
def test_what_both_layouts_say_alike(shared: bool) -> None:
    batch = collate(GROUPS, PAD, shared=shared)
    assert batch.tokens.targets.tolist() == [10, 11, 12, 0, 13, 14, 0, 15, 16, 17]
    assert batch.tokens.owners.tolist() == [0, 1, 1, 1, 1, 2, 2, 3, 4, 4]
    assert batch.tokens.counts.tolist() == [1, 4, 2, 1, 2]
    assert batch.group.tolist() == [0, 0, 1, 1, 1]
    assert batch.weight.tolist() == [0.5, 1.0]
    assert batch.first.tolist() == [0, 1, 1, 0, 0]


def test_the_comparisons_of_a_batch_by_hand() -> None:
    """Numbers of completions go on from group to group: the second group's first is 2."""
    edges, lists = collate(GROUPS, PAD, shared=True).edges, collate(GROUPS, PAD, shared=True).lists
    assert [tensor.tolist() for tensor in edges] == [
        [1, 2, 3],
        [0, 4, 2],
        [False, False, True],
        [2, 1, 3],
        [4, 0, 0],
        [0, 1, 1],
    ]
    assert lists.rows.tolist() == [[0, 1, 0], [2, 3, 4], [2, 3, 4]]
    assert lists.ranks.tolist() == [[1, 0, -1], [0, 0, 1], [2, 1, 0]]
    assert lists.weight.tolist() == [0.5, 0.75, 0.25]
    assert lists.group.tolist() == [0, 1, 1]


def test_groups_without_comparisons_have_empty_ones_of_the_right_kind() -> None:
    batch = collate([Group(1, [5], [[6]], [], 1.0)], PAD, shared=True)
    assert [tensor.dtype for tensor in batch.edges] == [
        torch.long, torch.long, torch.bool, torch.float32, torch.long, torch.long,
    ]  # fmt: skip
    assert batch.edges.i.shape == (0,)
    assert batch.lists.rows.shape == (0, 0)


@pytest.mark.parametrize("shared", [False, True])
def test_a_batch_of_nothing_is_refused(shared: bool) -> None:
    with pytest.raises(ValueError, match="at least one"):
        collate([], PAD, shared=shared)


groups_of_any_shape = st.lists(
    st.tuples(st.integers(1, 6), st.lists(st.integers(1, 5), min_size=1, max_size=4)), min_size=1, max_size=5
)


def written(shapes: list[tuple[int, list[int]]]) -> list[Group]:
    """Groups whose tokens are all different, so that a wrong place shows."""
    count = iter(range(1, 10_000))
    return [
        Group(
            number,
            [next(count) for _ in range(prompt)],
            [[next(count) for _ in range(length)] for length in lengths],
            [],
            1.0,
        )
        for number, (prompt, lengths) in enumerate(shapes)
    ]


@given(groups_of_any_shape)
def test_every_target_is_found_at_its_place_and_predicted_by_what_stands_before_it(
    shapes: list[tuple[int, list[int]]],
) -> None:
    groups = written(shapes)
    texts = [(group.prompt_ids, completion) for group in groups for completion in group.completions]
    for shared in (False, True):
        tokens = collate(groups, PAD, shared=shared).tokens
        flat = tokens.input_ids.flatten()
        assert flat[tokens.places].tolist() == tokens.targets.tolist()
        assert flat[tokens.last].tolist() == [completion[-1] for _, completion in texts]
        before = [token for prompt, completion in texts for token, _ in pairwise([prompt[-1], *completion])]
        assert flat[tokens.sources].tolist() == before


def seen_by_hand(groups: list[Group], window: int | None) -> list[list[bool]]:
    """Who sees whom in a row, from what the words mean: (element, segment, position) of each token."""
    row = []
    for element, group in enumerate(groups):
        row += [(element, 0, place) for place in range(len(group.prompt_ids))]
        for segment, completion in enumerate(group.completions, start=1):
            start = len(group.prompt_ids)
            row += [(element, segment, place) for place in range(start, start + len(completion))]
    return [
        [q[0] == k[0] and k[1] in (0, q[1]) and k[2] <= q[2] and (window is None or q[2] - k[2] < window) for k in row]
        for q in row
    ]


@given(groups_of_any_shape, st.one_of(st.none(), st.integers(1, 6)))
def test_a_completion_sees_its_prompt_and_itself(shapes: list[tuple[int, list[int]]], window: int | None) -> None:
    groups = written(shapes)
    layout = collate(groups, PAD, shared=True).tokens.layout
    assert layout is not None
    places = layout.places()
    count = torch.arange(len(places.element))
    assert sees(places, count.unsqueeze(1), count.unsqueeze(0), window).tolist() == seen_by_hand(groups, window)


def test_padding_sees_and_is_seen_by_none_of_the_text() -> None:
    layout = Layout(((2, (1,)),), padding=2)
    places = layout.places()
    count = torch.arange(5)
    table = sees(places, count.unsqueeze(1), count.unsqueeze(0), None)
    assert not table[:3, 3:].any()
    assert not table[3:, :3].any()


def test_a_tail_mask_by_hand() -> None:
    """Two tokens behind three: each sees the prompt and what is not after it; with a window of 3, the nearest three."""
    like, low = torch.zeros(1), float("-inf")
    layout = Layout(((3, (2,)),))
    assert layout.tail_mask(3, 2, None, like).tolist() == [[0, 0, 0, 0, low], [0, 0, 0, 0, 0]]
    assert layout.tail_mask(3, 2, 3, like).tolist() == [[low, 0, 0, 0, low], [low, low, 0, 0, 0]]
    assert layout.tail_mask(3, 2, None, like) is layout.tail_mask(3, 2, None, like)


@given(groups_of_any_shape, st.integers(1, 60))
def test_portions_hold_every_group_once_and_stay_within_the_budget(
    shapes: list[tuple[int, list[int]]], budget: int
) -> None:
    groups = written(shapes)
    for shared in (False, True):
        parts = list(portions(groups, budget, shared=shared))
        assert sorted(group.prompt for part in parts for group in part) == list(range(len(groups)))
        for part in parts:
            assert len(part) == 1 or read(collate(part, PAD, shared=shared)) <= budget


def read(batch: Batch) -> int:
    """Tokens of a batch, its padding among them."""
    tokens: Tokens = batch.tokens
    return tokens.input_ids.numel()


def test_portions_put_similar_lengths_together_whatever_order_they_come_in() -> None:
    groups = written([(9, [1]), (1, [1]), (8, [2]), (2, [1])])
    parts = [[group.prompt for group in part] for part in portions(groups, 22, shared=True)]
    assert parts == [[1, 3, 0], [2]]
    assert parts == [[group.prompt for group in part] for part in portions(groups[::-1], 22, shared=True)]


def test_tokens_of_a_group_count_the_prompt_once() -> None:
    assert [unique_tokens(group) for group in GROUPS] == [8, 6]
