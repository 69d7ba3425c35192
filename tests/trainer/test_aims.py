"""What a reward model learns from a prompt: parts, what counts in each, and gradients through a network."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.functional import logsigmoid, softplus

from tests.trainer.models import tiny_llama
from tests.trainer.reward_samples import logistic
from trainer.aims import Aims, options_check, tie_width_start
from trainer.config import RewardOptions
from trainer.data.batches import Batch, Feed, collate
from trainer.data.groups import Edge, Group, Ranking
from trainer.models.heads import LIKERT, QUESTION, Reading, RewardHead, heads_wanted
from trainer.models.networks import head_scores, prompts_share, reward_load
from trainer.runs import InputError

PREFERRED = [Edge(2, 0, ">", 1.0, 4), Edge(2, 1, ">", 2.0, 1), Edge(0, 1, "=", 1.0), Edge(1, 0, ">", 1.0, 3)]
GROUPS = [
    Group(
        1,
        [20, 21],
        [[30, 31], [32, 33, 34], [35]],
        PREFERRED,
        2.0,
        (10, 11, 12),
        rankings=(Ranking((1, 1, 0), 2.0),),
        likert=(0.5, None, 1.0),
        answers=({"ok": 1.0}, {}, {"ok": 0.5, "rude": 0.0}),
    ),
    Group(2, [23] * 5, [[36, 37], [39]], [Edge(1, 0, ">", 1.0, 2)], 1.0, (20, 21), tags=("safety", "x")),
    Group(3, [24], [[40], [41]], [Edge(0, 1, "=", 1.0)], 5.0, (30, 31), likert=(0.0, 0.25)),
]
HEADS = (RewardHead("helpful"), RewardHead("harmless", tag="safety"))
ALL = (*HEADS, RewardHead("likert", LIKERT), RewardHead("question:ok", QUESTION), RewardHead("question:rude", QUESTION))


def reading(heads: tuple[RewardHead, ...] = (RewardHead("score"),)) -> Reading:
    return Reading(heads, shift=(0.0,) * len(heads))


def batch_of(groups: list[Group]) -> Batch:
    return collate(groups, 0, shared=False)


def parts_of(aims: Aims, values: Tensor, width: Tensor | None = None) -> dict[str, float]:
    found = aims.parts(values, GROUPS, batch_of(GROUPS), width)
    return {name: float(part.loss) for name, part in found.items()}


# --- What counts ---------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("options", "sizes"),
    [
        ({}, [2.0, 1.0, 0.0]),
        ({"ties": "soft"}, [2.0, 1.0, 5.0]),
        ({"ties": "rao_kupper"}, [2.0, 1.0, 5.0]),
        ({"loss": "plackett_luce"}, [2.0, 0.0, 0.0]),
        ({"loss": "likert"}, [2.0, 0.0, 5.0]),
    ],
)
def test_a_prompt_counts_for_what_the_loss_learns_from_it(options: dict[str, Any], sizes: list[float]) -> None:
    aims = Aims(RewardOptions(**options), reading())
    assert [aims.size(group) for group in GROUPS] == sizes


def test_each_part_counts_by_itself() -> None:
    aims = Aims(RewardOptions(likert_weight=0.5, questions_weight=2.0), reading(ALL))
    assert aims.weights == {"comparisons": 1.0, "likert": 0.5, "questions": 2.0}
    assert [tuple(aims.sizes(group).values()) for group in GROUPS] == [(2.0, 2.0, 2.0), (1.0, 0, 0), (0, 5.0, 0)]
    assert aims.totals(GROUPS) == {"comparisons": 3.0, "likert": 7.0, "questions": 2.0}


def test_answers_to_questions_without_a_head_count_for_nothing() -> None:
    """Only prompt 1 was asked anything, and "rude" of its third completion alone."""
    found = [
        Aims(RewardOptions(questions_weight=1.0), reading((RewardHead("score"), RewardHead(name, QUESTION))))
        for name in ("question:rude", "question:kind")
    ]
    assert [aims.totals(GROUPS)["questions"] for aims in found] == [2.0, 0.0]


def test_questions_that_nobody_answered_are_no_part() -> None:
    assert list(Aims(RewardOptions(questions_weight=1.0), reading()).weights) == ["comparisons"]


def test_prompts_without_a_head_count_for_nothing() -> None:
    aims = Aims(RewardOptions(likert_weight=1.0), reading((HEADS[1], ALL[2])))
    assert [aims.size(group) for group in GROUPS] == [0.0, 1.0, 0.0]


# --- Heads ---------------------------------------------------------------------------------------------------------
def test_the_head_follows_from_the_tags() -> None:
    both = reading(ALL)
    assert [both.head_for(tags) for tags in ((), ("x",), ("x", "safety"))] == [0, 0, 1]
    assert reading((HEADS[1],)).head_for(("x",)) is None
    values = torch.arange(35.0).view(7, 5)
    assert both.chosen(values, GROUPS).tolist() == [0, 5, 10, 16, 21, 25, 30]


@pytest.mark.parametrize(
    ("options", "names"),
    [
        ({}, ["score"]),
        ({"heads": ("helpful", " harmless = safety ")}, ["helpful", "harmless"]),
        ({"likert_weight": 1.0, "questions_weight": 1.0}, ["score", "likert", "question:ok", "question:rude"]),
    ],
)
def test_heads_that_options_ask_for(options: dict[str, Any], names: list[str]) -> None:
    heads = heads_wanted(RewardOptions(**options), ["ok", "rude"])
    assert [head.name for head in heads] == names
    assert {head.tag for head in heads} <= {"", "safety"}


@pytest.mark.parametrize(
    ("heads", "said"),
    [
        (("a", "b"), "one head can be without a tag"),
        (("a=x", "b=x"), "same tag"),
        (("a", "a=x"), "not all different"),
        (("=x",), "is no head"),
        (("a=",), "is no head"),
        (("score", "disagreement=safety"), "Choose another name"),
    ],
)
def test_heads_that_cannot_be_used_are_refused(heads: tuple[str, ...], said: str) -> None:
    with pytest.raises(InputError, match=said):
        heads_wanted(RewardOptions(heads=heads), [])


# --- Losses by hand ------------------------------------------------------------------------------------------------
VALUES = torch.tensor([[0.3, 1.0], [-0.2, 0.5], [0.9, -1.0], [0.1, 0.7], [0.4, -0.6], [0.2, 0.0], [0.5, 0.1]])


def log_loss(difference: float) -> float:
    return -math.log(logistic(difference))


def test_each_comparison_trains_the_head_that_is_for_its_prompt() -> None:
    """Prompt 1 by the first column, prompt 2 by the second; a step is a mean over both by weight."""
    found = parts_of(Aims(RewardOptions(), reading(HEADS)), VALUES)
    first = (log_loss(0.6) + 2 * log_loss(1.1) + log_loss(-0.5)) / 4
    assert found == {"comparisons": pytest.approx((2 * first + log_loss(-1.3)) / 3)}


@pytest.mark.parametrize(("margin", "unit"), [("none", 0.0), ("small", 1 / 3), ("large", 1.0)])
def test_margins_are_those_of_the_recorded_strengths(margin: Any, unit: float) -> None:
    found = parts_of(Aims(RewardOptions(margin=margin), reading()), VALUES[:, :1])
    first = (log_loss(0.6 - 3 * unit) + 2 * log_loss(1.1) + log_loss(-0.5 - 2 * unit)) / 4
    assert found["comparisons"] == pytest.approx((2 * first + log_loss(0.3 - unit)) / 3)


def test_centering_pulls_pairs_towards_zero() -> None:
    plain, pulled = (
        parts_of(Aims(RewardOptions(centering=centering), reading()), VALUES[:, :1])["comparisons"]
        for centering in (0.0, 0.1)
    )
    first = (1.2**2 + 2 * 0.7**2 + 0.1**2) / 4
    assert pulled - plain == pytest.approx(0.1 * (2 * first + 0.5**2) / 3)


def test_ties_have_a_width_that_is_learned() -> None:
    """−log P by hand, with θ = 0.5, and a gradient for θ."""
    width = torch.tensor(0.5, requires_grad=True)
    aims = Aims(RewardOptions(ties="rao_kupper"), reading())
    found = aims.parts(VALUES[:, :1], GROUPS, batch_of(GROUPS), width)["comparisons"]

    def tie(difference: float) -> float:
        return -math.log(1 - logistic(difference - 0.5) - logistic(-difference - 0.5))

    first = (log_loss(0.6 - 0.5) + 2 * log_loss(1.1 - 0.5) + tie(0.5) + log_loss(-0.5 - 0.5)) / 5
    assert found.loss.item() == pytest.approx((2 * first + log_loss(0.3 - 0.5) + 5 * tie(-0.3)) / 8)
    found.loss.backward()  # type: ignore[no-untyped-call]
    assert width.grad is not None
    assert width.grad.abs() > 0.01


def test_whole_rankings_are_drawn_from_the_best_down() -> None:
    """Completion 2 before the other two, which stand on one rank: one factor."""
    options = RewardOptions(loss="plackett_luce", centering=0.1)
    values = [math.exp(0.3), math.exp(-0.2), math.exp(0.9)]
    one = (-math.log(values[2] / (values[2] + values[0])) - math.log(values[2] / (values[2] + values[1]))) / 2
    whole = -math.log(values[2] / sum(values))
    pull = 0.1 * (1.2**2 + 2 * 0.7**2 + 2 * 0.1**2) / 5
    found = parts_of(Aims(options, reading()), VALUES[:, :1])["comparisons"] - pull
    assert found == pytest.approx(whole)
    assert found != pytest.approx(one)


def test_ratings_are_predicted() -> None:
    """The score itself for loss=likert, else a head of its own; a mean over prompts of means over what was rated."""
    by_score = parts_of(Aims(RewardOptions(loss="likert"), reading()), VALUES[:, :1])["comparisons"]
    first, third = (0.2**2 + 0.1**2) / 2, (0.2**2 + 0.25**2) / 2
    assert by_score == pytest.approx((2 * first + 5 * third) / 7)
    beside = Aims(RewardOptions(likert_weight=1.0), reading((RewardHead("score"), RewardHead("likert", LIKERT))))
    assert parts_of(beside, VALUES.flip(1))["likert"] == pytest.approx(by_score)


def test_questions_are_answered() -> None:
    heads = (RewardHead("score"), *ALL[3:])
    values = torch.cat([torch.zeros(7, 1), VALUES], dim=1)
    found = parts_of(Aims(RewardOptions(questions_weight=1.0), reading(heads)), values)["questions"]
    yes, half, no = log_loss(0.3), (log_loss(0.9) + log_loss(-0.9)) / 2, log_loss(1.0)
    assert found == pytest.approx((yes + half + no) / 3)


def test_parts_of_a_step_add_up_however_it_is_divided() -> None:
    """The second portion says nothing about ratings, the third nothing but ratings."""
    aims = Aims(RewardOptions(likert_weight=0.5, questions_weight=2.0), reading(ALL))
    values = torch.randn(7, 5, generator=torch.Generator().manual_seed(0))
    totals = aims.totals(GROUPS)
    whole = aims.combined(aims.shares(aims.parts(values, GROUPS, batch_of(GROUPS), None), totals))
    pieces = [
        aims.combined(aims.shares(aims.parts(rows, [group], batch_of([group]), None), totals))
        for group, rows in zip(GROUPS, values.split([3, 2, 2]), strict=True)
    ]
    torch.testing.assert_close(torch.stack(pieces).sum(), whole)
    found = aims.parts(values, GROUPS, batch_of(GROUPS), None)
    by_hand = found["comparisons"].loss + 0.5 * found["likert"].loss + 2.0 * found["questions"].loss
    torch.testing.assert_close(whole, by_hand)


# --- Through a network ---------------------------------------------------------------------------------------------
def brute_force(scores: list[list[Tensor]]) -> Tensor:
    """Σ over prompts of weight · mean over its preferences, pair by pair in plain loops."""
    terms = []
    for group, row in zip(GROUPS[:2], scores, strict=True):
        wins = [edge for edge in group.edges if edge.outcome == ">"]
        weight = sum(edge.weight for edge in wins)
        losses = [edge.weight / weight * -logsigmoid(row[edge.i] - row[edge.j]) for edge in wins]
        terms.append(group.weight * torch.stack(losses).sum())
    return torch.stack(terms).sum() / sum(group.weight for group in GROUPS[:2])


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("micro_tokens", [1, 10_000])
def test_gradients_equal_those_of_every_pair_by_itself(tmp_path: Path, shared: bool, micro_tokens: int) -> None:
    """Each text alone through the network, for each pair it is in; against one pass for each completion."""
    model = reward_load(str(tiny_llama(tmp_path)))
    scores = [
        [model(input_ids=torch.tensor([group.prompt_ids + row])).logits[0, 0] for row in group.completions]
        for group in GROUPS[:2]
    ]
    brute_force(scores).backward()  # type: ignore[no-untyped-call]
    expected = {name: parameter.grad for name, parameter in model.named_parameters()}
    model.zero_grad(set_to_none=True)
    assert not shared or prompts_share(model, "auto")
    aims = Aims(RewardOptions(), reading())
    totals = aims.totals(GROUPS[:2])
    rows: list[int] = []
    model.base_model.register_forward_hook(lambda module, args, output: rows.append(output[0].shape[0]))
    for part, batch in Feed(0, torch.device("cpu"), micro_tokens, shared).batches(GROUPS[:2]):
        parts = aims.parts(head_scores(model, batch.tokens), part, batch, None)
        aims.combined(aims.shares(parts, totals)).backward()  # type: ignore[no-untyped-call]
    assert sum(rows) == (5 if not shared else 2 if micro_tokens == 1 else 1)
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None
        torch.testing.assert_close(parameter.grad, expected[name], rtol=1e-4, atol=1e-6, msg=name)


# --- Options -------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "given",
    [
        {"loss": "plackett_luce", "margin": "small"},
        {"loss": "plackett_luce", "ties": "soft"},
        {"loss": "likert", "ties": "rao_kupper"},
        {"loss": "likert", "centering": 0.1},
        {"loss": "likert", "likert_weight": 1.0},
    ],
)
def test_options_that_contradict_each_other_are_refused(given: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=next(reversed(given))):
        options_check(RewardOptions(**given))


def test_the_width_of_ties_begins_where_it_explains_their_share() -> None:
    """4 of 11 by weight: with equal scores, P(tie) = 1 − 2·σ(−θ)."""
    groups = [Group(1, [1], [[1], [2]], [Edge(0, 1, "=", 4.0), Edge(0, 1, ">", 7.0)], 1.0)]
    width = tie_width_start(groups)
    assert 1 - 2 * logistic(-width) == pytest.approx(4 / 11)
    assert tie_width_start([Group(1, [1], [[1], [2]], [Edge(0, 1, ">", 1.0)], 1.0)]) > 0
    assert math.isfinite(float(softplus(torch.tensor(tie_width_start([])))))
