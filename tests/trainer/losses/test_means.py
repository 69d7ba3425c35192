"""The mean over prompts: what counts, and that portions add up."""

import math

import pytest
import torch

from tests.trainer.losses.cases import edges_of, lists_of, loop_mean, ones, random_case, vector
from trainer.data.batches import collate
from trainer.data.groups import PREFERRED, TIED, Edge, Group, Ranking
from trainer.losses import TIES, counted_weights, prompt_mean, ranked_weights, rated_weights

NAN = math.nan


def test_prompt_mean_by_hand() -> None:
    """First prompt: (3·1 + 1·5) / 4 = 2; second: 10; weights 1 and 3: (2 + 30) / 4 = 8."""
    losses, counted = vector(1.0, 10.0, 5.0), torch.tensor([3.0, 7.0, 1.0])
    mean = prompt_mean(losses, counted, torch.tensor([0, 1, 0]), torch.tensor([1.0, 3.0]))
    assert mean.item() == 8


@pytest.mark.parametrize("seed", range(5))
def test_prompt_mean_equals_loops(seed: int) -> None:
    case = random_case(seed)
    losses = torch.rand(len(case.edges.i), generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    rows = zip(case.edges.group.tolist(), case.edges.weight.tolist(), losses.tolist(), strict=True)
    expected = loop_mean(rows, case.weight.tolist())
    assert prompt_mean(losses, case.edges.weight, case.edges.group, case.weight).item() == pytest.approx(expected)


def test_a_prompt_without_weight_counts_nothing() -> None:
    losses = vector(1.0, 10.0)
    assert prompt_mean(losses, torch.tensor([1.0, 0.0]), torch.tensor([0, 1]), ones(2)).item() == 1
    assert prompt_mean(losses, torch.ones(2), torch.tensor([0, 1]), torch.tensor([1.0, 0.0])).item() == 1
    nothing = prompt_mean(losses, torch.zeros(2), torch.tensor([0, 1]), ones(2))
    assert nothing.item() == 0
    assert torch.autograd.grad(nothing, losses)[0].tolist() == [0, 0]


def test_counted_weights_leave_out_what_does_not_count() -> None:
    """A win, a tie alone, nothing said, a win without weight."""
    edges = edges_of((0, 1, ">", 2.0, 0), (2, 3, "=", 1.0, 1), (6, 7, ">", 0.0, 3))
    weight = torch.tensor([0.5, 2.0, 3.0, 4.0])
    assert counted_weights(edges, weight, "drop").tolist() == [0.5, 0, 0, 0]
    assert counted_weights(edges, weight, "soft").tolist() == [0.5, 2, 0, 0]
    assert counted_weights(edges, weight, "rao_kupper").tolist() == [0.5, 2, 0, 0]


def test_an_unknown_policy_for_ties_is_refused() -> None:
    with pytest.raises(ValueError, match="drop, soft, rao_kupper, not 'half'"):
        counted_weights(edges_of(), ones(1), "half")


def test_ranked_weights_add_up_rankings_of_two_ranks_or_more() -> None:
    lists = lists_of(([0, 1], [0, 1], 2.0, 0), ([0, 1], [1, 0], 0.5, 0), ([2, 3, 4], [0, 0, 0], 9.0, 1))
    assert ranked_weights(lists, 3).tolist() == [2.5, 0, 0]
    assert ranked_weights(lists_of(), 2).tolist() == [0, 0]


def test_rated_weights_are_of_prompts_with_a_rating() -> None:
    group, weight = torch.tensor([0, 0, 1, 2]), torch.tensor([0.5, 2.0, 3.0])
    assert rated_weights(torch.tensor([NAN, 0.0, NAN, 1.0]), group, weight).tolist() == [0.5, 0, 3]
    answers = torch.tensor([[NAN, NAN], [NAN, NAN], [NAN, 1.0], [0.5, 0.5]])
    assert rated_weights(answers, group, weight).tolist() == [0, 2, 3]


def test_weights_are_those_of_groups() -> None:
    """What the loop counts before it makes tensors is what the losses divide by."""
    groups = [
        Group(1, [5], [[6], [7]], [Edge(0, 1, PREFERRED, 2.0)], 2.0, rankings=(Ranking((0, 1), 2.0),)),
        Group(2, [5], [[6], [7]], [Edge(0, 1, TIED, 0.5)], 0.5, rankings=(Ranking((0, 0), 0.5),)),
        Group(3, [5], [[6]], [], 1.0),
        Group(4, [5], [[6], [7], [8]], [Edge(2, 1, PREFERRED, 1.0), Edge(0, 1, TIED, 1.0)], 3.0),
    ]
    batch = collate(groups, 0, shared=True)
    for ties in TIES:
        expected = [group.counted_weight(ties) for group in groups]
        assert counted_weights(batch.edges, batch.weight, ties).tolist() == expected
    assert ranked_weights(batch.lists, len(groups)).tolist() == [group.ranked_weight() for group in groups]
