"""The order of the prompts, the portions of a step, and what is measured on them."""

import pytest
import torch

from trainer.batches import Edge, Group, collate
from trainer.material import groups_digest, portions
from trainer.training import Step, agreement, epoch_order, judged_report, rows_split, shares

CPU = torch.device("cpu")


def group(prompt: int, *lengths: int, weight: float = 1.0) -> Group:
    """Completions of some lengths, the first being preferred to all others."""
    edges = [Edge(0, other, ">", 1.0) for other in range(1, len(lengths))]
    return Group(prompt, [5], [[6] * length for length in lengths], edges, weight, tuple(range(len(lengths))))


GROUPS = [group(1, 4, 2), group(2, 1, 2, 3, weight=2.0), group(3, 7, 5, weight=0.5)]


def test_every_epoch_has_every_prompt_once_in_its_own_order() -> None:
    orders = [epoch_order(50, seed, epoch) for seed in (0, 1) for epoch in (0, 1)]
    assert all(sorted(order) == list(range(50)) for order in orders)
    assert len(set(orders)) == 4


def test_the_order_never_changes_between_versions() -> None:
    assert epoch_order(6, 3, 0) == (5, 4, 2, 1, 0, 3)


@pytest.mark.parametrize("micro_batch", [1, 2, 3, 9])
def test_the_portions_of_a_step_add_up(micro_batch: int) -> None:
    step = Step(1, GROUPS, micro_batch, 0, CPU, size=lambda part: part.weight)
    parts = list(step.portions())
    assert [part for portion in parts for part in portion.groups] == GROUPS
    assert sum(portion.share for portion in parts) == pytest.approx(1.0)
    assert parts[0].share == pytest.approx(sum(part.weight for part in GROUPS[:micro_batch]) / 3.5)


def test_what_is_measured_in_a_step_is_added_up() -> None:
    step = Step(1, GROUPS, 1, 0, CPU, size=lambda part: part.weight)
    step.add(loss=torch.tensor(1.5), tokens=torch.tensor(3))
    step.add(loss=torch.tensor(0.5))
    assert {name: float(value) for name, value in step.sums.items()} == {"loss": 2.0, "tokens": 3.0}


def test_agreement_counts_wins_by_weight_and_equal_values_half() -> None:
    batch = collate(GROUPS, 0)
    values = torch.tensor([[1.0, 0.0, 0.0], [1.0, 1.0, 2.0], [0.0, 3.0, 0.0]])
    right, compared = agreement(values, batch)
    assert (float(right), float(compared)) == (1.5, 4.0)


def test_values_go_back_to_their_groups() -> None:
    values = torch.arange(7.0)
    assert [numbers for _, numbers in rows_split(GROUPS, values)] == [[0, 1], [2, 3, 4], [5, 6]]


def test_the_report_knows_lengths_and_prompts() -> None:
    judged = rows_split(GROUPS, torch.tensor([1.0, 0.0, 3.0, 2.0, 1.0, 5.0, 6.0]))
    measured = judged_report(judged)
    assert measured["accuracy"] == pytest.approx(3 / 4)
    assert measured["longer_wins"] == pytest.approx(2 / 4)
    assert (measured["prompts"], measured["comparisons"]) == (3, 4)
    assert judged_report(judged[::-1]) == measured


def test_portions_put_similar_lengths_together() -> None:
    assert [[part.prompt for part in portion] for portion in portions(GROUPS, 2)] == [[2, 1], [3]]


def test_the_digest_of_the_data_sees_every_change() -> None:
    other = [group(1, 4, 2), group(2, 1, 2, 3, weight=2.0), group(3, 7, 5, weight=0.6)]
    shorter = [group(1, 3, 2), *GROUPS[1:]]
    digests = {groups_digest(given) for given in (GROUPS, other, shorter, GROUPS[::-1])}
    assert len(digests) == 4


def test_accuracy_is_a_share_of_what_was_compared_however_little_it_weighs() -> None:
    assert shares({"right": 1 / 3, "compared": 1 / 3}) == {"accuracy": 1.0}
    assert shares({"right": 0.0, "compared": 0.0}) == {}
    assert shares({"loss": 2.0}) == {"loss": 2.0}
