"""What a training from preferences makes smaller, and what it measures of a batch."""

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.trainer.models import tiny_llama
from trainer.config import options_read
from trainer.data.batches import Batch, Feed, collate
from trainer.data.groups import Edge, Group, Ranking
from trainer.goals import Goal, Said, first_nll
from trainer.kto import Labels
from trainer.loop.steps import Objective, Portion, Step
from trainer.loop.training import shares
from trainer.models.networks import completion_logprobs, policy_load, prompts_share

CPU = torch.device("cpu")
Z0 = torch.zeros(())


def goal(labels: Labels | None = None, **given: Any) -> Goal:
    """A goal with these options."""
    return Goal(options_read("preference", given), labels)  # type: ignore[arg-type]


def ranked(prompt: int, tiers: Sequence[int], lengths: Sequence[int], weight: float = 1.0) -> Group:
    """A prompt whose completions have these tiers and lengths, each pair of different tiers an edge."""
    edges = [
        Edge(i, j, ">" if tiers[i] < tiers[j] else "=", weight)
        for i in range(len(tiers))
        for j in range(len(tiers))
        if tiers[i] < tiers[j] or (tiers[i] == tiers[j] and i < j)
    ]
    completions = [[(prompt * 31 + place * 7 + at) % 250 + 5 for at in range(n)] for place, n in enumerate(lengths)]
    ids = tuple(prompt * 10 + place for place in range(len(tiers)))
    return Group(
        prompt, [9, prompt + 10, 4], completions, edges, weight, ids, rankings=(Ranking(tuple(tiers), weight),)
    )


GROUPS = [
    ranked(1, (0, 1), (3, 2), weight=2.0),
    ranked(2, (2, 0, 1, 3), (2, 5, 3, 4)),
    ranked(3, (0, 1, 1), (4, 1, 2), weight=0.5),
    ranked(4, (0, 0), (2, 2)),
]


def said(logps: Sequence[float], reference: Sequence[float] | None, groups: Sequence[Group]) -> Said:
    counts = torch.tensor([float(len(ids)) for group in groups for ids in group.completions])
    return Said(torch.tensor(logps), counts, None if reference is None else torch.tensor(reference))


def batch_of(groups: Sequence[Group]) -> Batch:
    return collate(groups, 0, shared=True)


@pytest.mark.parametrize(
    ("given", "sizes"),
    [
        ({"loss": "dpo"}, [2.0, 1.0, 0.5, 0.0]),
        ({"loss": "dpo", "ties": "soft"}, [2.0, 1.0, 0.5, 1.0]),
        ({"loss": "plackett_luce"}, [2.0, 1.0, 0.5, 0.0]),
        ({"loss": "pro", "ties": "soft"}, [2.0, 1.0, 0.5, 0.0]),
    ],
)
def test_a_prompt_counts_by_what_its_loss_learns_from(given: dict[str, Any], sizes: list[float]) -> None:
    assert [goal(**given).size(group) for group in GROUPS] == sizes


def test_a_prompt_without_a_whole_ranking_counts_for_losses_on_pairs_alone() -> None:
    pairs = Group(1, [1], [[2], [3], [4]], [Edge(0, 1, ">", 1.0)], 1.0)
    assert (goal(loss="dpo").size(pairs), goal(loss="infonce").size(pairs)) == (1.0, 0.0)


def test_for_kto_each_label_counts_by_the_weight_of_its_prompt() -> None:
    labels = Labels({(1, (10, 11)): (1.0, None), (2, (20, 21, 22, 23)): (1.0, 0.0, None, 0.0)})
    assert [goal(labels, loss="kto").size(group) for group in GROUPS[:2]] == [2.0, 3.0]


@pytest.mark.parametrize(("loss", "held_to", "has"), [
    ("dpo", "start", True), ("dpo", "none", False), ("kto", "sft", True), ("simpo", "start", False),
    ("orpo", "sft", False), ("pro", "start", False), ("plackett_luce", "start", True),
])  # fmt: skip
def test_which_losses_have_a_reference(loss: str, held_to: str, has: bool) -> None:
    assert goal(loss=loss, held_to=held_to).has_reference is has


def naive(model: nn.Module, group: Group) -> list[Tensor]:
    """Summed log-probabilities of a group's completions, one forward pass each."""
    sums = []
    for completion in group.completions:
        ids = torch.tensor([group.prompt_ids + completion])
        logprobs = model(input_ids=ids).logits[0, :-1].log_softmax(-1).gather(1, ids[0, 1:, None])
        sums.append(logprobs[-len(completion) :].sum())
    return sums


def dpo_by_hand(ratios: list[Tensor], group: Group) -> Tensor:
    won = [edge for edge in group.edges if edge.outcome == ">"]
    terms = [-torch.log(torch.sigmoid(0.1 * (ratios[edge.i] - ratios[edge.j]))) for edge in won]
    return sum(terms, torch.zeros(())) / len(terms)


def plackett_luce_by_hand(ratios: list[Tensor], group: Group) -> Tensor:
    ranks, terms = group.rankings[0].ranks, []
    for place, rank in enumerate(ranks):
        below = [other for other, its in enumerate(ranks) if its > rank]
        if below:
            rest = torch.stack([0.1 * ratios[other] for other in [place, *below]])
            terms.append(torch.log(torch.exp(rest).sum()) - 0.1 * ratios[place])
    return sum(terms, torch.zeros(())) / len(terms)


@pytest.mark.parametrize("loss", ["dpo", "plackett_luce"])
@pytest.mark.parametrize(("shared", "micro_tokens"), [(True, 10_000), (True, 16), (False, 40)])
def test_gradients_of_a_step_are_those_of_the_formula_through_the_model(
    tmp_path: Path, loss: str, shared: bool, micro_tokens: int
) -> None:
    by_hand: Callable[[list[Tensor], Group], Tensor] = {"dpo": dpo_by_hand, "plackett_luce": plackett_luce_by_hand}[
        loss
    ]
    groups, wanted = GROUPS[:3], goal(loss=loss)
    policy = policy_load(str(tiny_llama(tmp_path / "policy")))
    other = policy_load(str(tiny_llama(tmp_path / "other", seed=1))).requires_grad_(False)
    total = sum(group.weight for group in groups)
    whole = torch.zeros(())
    for group in groups:
        ratios = [one - two for one, two in zip(naive(policy, group), naive(other, group), strict=True)]
        whole = whole + group.weight / total * by_hand(ratios, group)
    whole.backward()
    expected = {name: parameter.grad.clone() for name, parameter in policy.named_parameters()}  # type: ignore[union-attr]
    policy.zero_grad()

    def objective(portion: Portion) -> Objective:
        sums, counts = completion_logprobs(policy, portion.batch.tokens)
        reference, _ = completion_logprobs(other, portion.batch.tokens)
        return wanted.objective(Said(sums, counts, reference), portion.groups, portion.batch, Z0)

    if shared:
        assert prompts_share(policy, "auto")
        assert prompts_share(other, "auto")
    step = Step(1, list(groups), Feed(0, CPU, micro_tokens, shared), wanted.size, policy)
    step.accumulate(objective)
    assert shares(step.sums())["loss"] == pytest.approx(whole.item(), rel=1e-5)
    for name, parameter in policy.named_parameters():
        assert torch.allclose(parameter.grad, expected[name], atol=2e-6), name  # type: ignore[arg-type]


def test_the_reference_gets_no_gradient(tmp_path: Path) -> None:
    policy = policy_load(str(tiny_llama(tmp_path / "policy")))
    batch = batch_of(GROUPS[:1])
    prompts_share(policy, "auto")
    sums, counts = completion_logprobs(policy, batch.tokens)
    kept = sums.detach().clone().requires_grad_(False)
    found = goal().objective(Said(sums, counts, kept), GROUPS[:1], batch, Z0)
    found.loss.backward()
    assert kept.grad is None
    assert found.loss.item() == pytest.approx(math.log(2))
    assert all(not value.requires_grad for value in found.sums.values())


def test_the_likelihood_of_the_first_is_a_mean_over_prompts() -> None:
    groups = [ranked(1, (0, 1), (1, 2)), ranked(2, (1, 0, 1), (1, 1, 1), weight=2.0)]
    batch = batch_of(groups)
    logps = torch.tensor([-1.0, -4.0, -1.0, -6.0, -1.0])
    assert float(first_nll(logps, batch, batch.weight)) == pytest.approx((1 * 1 + 2 * 6) / 3)


def test_completions_that_share_the_first_place_share_its_likelihood() -> None:
    batch = batch_of([ranked(1, (0, 0, 1), (1, 1, 1))])
    assert float(first_nll(torch.tensor([-1.0, -4.0, -9.0]), batch, batch.weight)) == pytest.approx(2.5)


def test_the_likelihood_is_added_by_its_weight_and_logged_apart() -> None:
    groups = GROUPS[:1]
    found = goal(nll_weight=0.5).objective(said([-3.0, -4.0], [-3.0, -4.0], groups), groups, batch_of(groups), Z0)
    assert float(found.means["nll"]) == pytest.approx(1.0)
    assert float(found.means["loss"]) == pytest.approx(math.log(2))
    assert float(found.loss) == pytest.approx(math.log(2) + 0.5)


def test_orpo_is_the_likelihood_with_a_part_of_the_odds_ratio() -> None:
    groups = GROUPS[:1]
    found = goal(loss="orpo", odds_weight=0.25).objective(
        said([-3.0, -4.0], None, groups), groups, batch_of(groups), Z0
    )
    # Means of a token are −1 and −2.
    odds = [-1 - math.log(1 - math.exp(-1)), -2 - math.log(1 - math.exp(-2))]
    expected = 1.0 + 0.25 * -math.log(1 / (1 + math.exp(odds[1] - odds[0])))
    assert float(found.loss) == pytest.approx(expected, rel=1e-5)


def test_pro_adds_the_whole_likelihood_of_the_best_by_the_square_of_its_rivals() -> None:
    groups = [ranked(1, (0, 1, 2), (2, 1, 1))]
    found = goal(loss="pro").objective(said([-4.0, -1.0, -3.0], None, groups), groups, batch_of(groups), Z0)
    # Means of a token are −2, −1, −3; from the first rank on, the others are 1 and 2 ranks below, then 1.
    first = -math.log(math.exp(-2 * 2) / (math.exp(-2 * 2) + math.exp(-1 * 1) + math.exp(-3 * 2)))
    second = -math.log(math.exp(-1) / (math.exp(-1) + math.exp(-3)))
    assert float(found.loss) == pytest.approx(first + second + 0.05 * 2**2 * 4.0, rel=1e-5)


def measured(found: dict[str, Tensor]) -> dict[str, float]:
    return shares({name: float(value) for name, value in found.items()})


def test_sides_are_means_over_prompts_of_means_over_comparisons() -> None:
    groups = [ranked(1, (0, 1), (3, 2), weight=2.0), ranked(2, (0, 1, 2), (1, 2, 3))]
    logps, reference = [-3.0, -4.0, -1.0, -2.0, -6.0], [-4.0, -4.0, -1.0, -4.0, -2.0]
    values = measured(goal(beta=0.5).measured(said(logps, reference, groups), groups, batch_of(groups)))
    # Log-ratios: 1, 0; 0, 2, −4. Of the second prompt, 0 stands before 1 and 2, and 1 before 2.
    chosen, rejected = (2 * 1 + (0 + 0 + 2) / 3) / 3, (2 * 0 + (2 - 4 - 4) / 3) / 3
    assert values["chosen_reward"] == pytest.approx(0.5 * chosen)
    assert values["rejected_reward"] == pytest.approx(0.5 * rejected)
    assert values["margin"] == pytest.approx(0.5 * (chosen - rejected))
    assert values["chosen_logp"] == pytest.approx((2 * -3 + (-1 - 1 - 2) / 3) / 3)
    assert values["rejected_length"] == pytest.approx((2 * 2 + (2 + 3 + 3) / 3) / 3)
    # 2 of 2, and of three comparisons two are right, by weight 2 and 1.
    assert values["accuracy"] == pytest.approx((2 + 2) / (2 + 3))
    assert values["kl"] == pytest.approx((-1 + 0 + 0 - 2 + 4) / 5)
    assert values["log_ratio_per_token"] == pytest.approx((1 + 0 + 0 + 2 - 4) / 11)
    assert values["tokens"] == 11


def test_what_is_measured_of_portions_adds_up_to_the_whole() -> None:
    wanted, torch_seed = goal(ties="soft"), torch.Generator().manual_seed(0)
    logps = torch.randn(11, generator=torch_seed).tolist()
    reference = torch.randn(11, generator=torch_seed).tolist()
    whole = wanted.measured(said(logps, reference, GROUPS), GROUPS, batch_of(GROUPS))
    added: dict[str, Tensor] = {}
    for part, (start, stop) in (([GROUPS[0], GROUPS[3]], (0, 0)), (GROUPS[1:3], (2, 9))):
        chosen = [0, 1, 9, 10] if not stop else list(range(start, stop))
        mine = said([logps[at] for at in chosen], [reference[at] for at in chosen], part)
        for name, value in wanted.measured(mine, part, batch_of(part)).items():
            added[name] = added.get(name, torch.zeros(())) + value
    assert measured(added) == pytest.approx(measured(whole), rel=1e-5)


def test_without_a_reference_nothing_is_said_about_the_distance_from_it() -> None:
    groups = GROUPS[:1]
    values = measured(goal(loss="simpo").measured(said([-3.0, -4.0], None, groups), groups, batch_of(groups)))
    assert not {"kl", "log_ratio_per_token"} & values.keys()
    assert values["margin"] == pytest.approx(2.0 * (-1 + 2))


def test_kto_measures_by_labels() -> None:
    groups = [GROUPS[0], GROUPS[1]]
    labels = Labels({(1, (10, 11)): (1.0, None), (2, (20, 21, 22, 23)): (0.0, 1.0, None, 0.0)})
    logps, reference = [1.0, 5.0, 2.0, 3.0, 7.0, 4.0], [0.0] * 6
    wanted = goal(labels, loss="kto")
    values = measured(wanted.measured(said(logps, reference, groups), groups, batch_of(groups)))
    assert values["chosen_reward"] == pytest.approx(0.1 * (2 * 1 + 3) / 3)
    assert values["rejected_reward"] == pytest.approx(0.1 * (2 + 4) / 2)
    assert "margin" not in values
    found = wanted.objective(said(logps, reference, groups), groups, batch_of(groups), torch.tensor(1.0))
    # (weight, ρ − z0, desirable): (2, 0, yes), (1, 1, no), (1, 2, yes), (1, 3, no)
    terms = [2 * 0.5, 1 / (1 + math.exp(-0.1)), 1 / (1 + math.exp(0.2)), 1 / (1 + math.exp(-0.3))]
    assert float(found.loss) == pytest.approx(sum(terms) / 5, rel=1e-5)
