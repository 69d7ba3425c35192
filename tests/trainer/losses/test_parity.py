"""Losses against TRL's: values that its own code gave on random numbers, and what an installed TRL gives now."""

import json
from importlib.util import find_spec
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.trainer.losses import trl_peer
from tests.trainer.losses.cases import NO_LISTS, edges_of, ones
from tests.trainer.losses.trl_peer import BETAS, DESIRABLE, GAMMA, PAIRS, SMOOTHING, UNDESIRABLE, sums_of
from trainer.losses import kto_baseline, kto_loss, preference_loss, reward_loss

STORED = json.loads(trl_peer.VALUES.read_text())
NUMBERS = {name: value for name, value in STORED.items() if name not in ("provenance", "values")}
# Each pair is a prompt of its own: the chosen come first, as in TRL's batches.
EDGES = edges_of(*((pair, PAIRS + pair, ">", 1.0, pair) for pair in range(PAIRS)))
OURS = {"sigmoid": "dpo", "ipo": "ipo_mean", "hinge": "hinge", "robust": "robust", "sigmoid_norm": "dpo_norm"}


def preference(loss: str, beta: float, **options: Any) -> Tensor:
    completions = NUMBERS["chosen"] + NUMBERS["rejected"]
    return preference_loss(
        sums_of(completions, NUMBERS["policy"]),
        sums_of(completions, NUMBERS["reference"]),
        torch.tensor([len(one) for one in completions]),
        EDGES,
        NO_LISTS,
        ones(PAIRS),
        loss=loss,
        beta=beta,
        **options,
    )


def ours(name: str) -> float:
    """Our value of what has a name among the stored."""
    kind, _, which = name.partition(" ")
    if kind == "reward":
        scores = torch.tensor(NUMBERS["scores"], dtype=torch.float64)
        margins = torch.tensor(NUMBERS["margins"]) if which == "margin" else None
        centering = 0.01 if which == "centering" else 0.0
        return reward_loss(scores, EDGES, ones(PAIRS), margins=margins, centering=centering).item()
    beta = BETAS[which]
    if kind == "kto":
        return kto(beta)
    if kind == "orpo":
        return beta * preference("orpo", 1.0).item()
    options = {"simpo": {"gamma_ratio": GAMMA}, "robust": {"label_smoothing": SMOOTHING}}
    return preference(OURS.get(kind, kind), beta, **options.get(kind, {})).item()


def kto(beta: float) -> float:
    completions = NUMBERS["chosen"] + NUMBERS["rejected"]
    ratios, mismatched = (
        sums_of(rows, NUMBERS["policy"]) - sums_of(rows, NUMBERS["reference"])
        for rows in (completions, NUMBERS["mismatched"])
    )
    desirable = torch.tensor([1.0] * PAIRS + [0.0] * PAIRS)
    return kto_loss(
        ratios,
        desirable,
        kto_baseline(mismatched),
        ones(2 * PAIRS),
        beta=beta,
        desirable_weight=DESIRABLE,
        undesirable_weight=UNDESIRABLE,
    ).item()


def test_the_stored_values_say_where_they_come_from() -> None:
    assert STORED["provenance"]["trl"].startswith("1.16")
    assert STORED["provenance"]["seed"] == trl_peer.SEED
    assert trl_peer.drawn() == NUMBERS


@pytest.mark.parametrize("name", STORED["values"])
def test_our_value_is_that_of_trl(name: str) -> None:
    assert ours(name) == pytest.approx(STORED["values"][name], rel=1e-6 if name.startswith("orpo") else 1e-12)


def test_the_numbers_tell_losses_apart() -> None:
    values = list(STORED["values"].values())
    assert len({round(value, 9) for value in values}) == len(values)


def test_mismatched_completions_move_the_baseline() -> None:
    """A baseline of 0 would not tell whether it is used."""
    mismatched = NUMBERS["mismatched"]
    assert kto_baseline(sums_of(mismatched, NUMBERS["policy"]) - sums_of(mismatched, NUMBERS["reference"])) > 0.1


@pytest.mark.skipif(find_spec("trl") is None, reason="TRL is not installed")
def test_an_installed_trl_gives_the_stored_values() -> None:
    pytest.importorskip("trl")
    assert trl_peer.values_from_trl(NUMBERS) == pytest.approx(STORED["values"], rel=1e-9)
