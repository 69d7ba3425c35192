"""Losses of policies on cases, with options that all of them have a use for."""

from typing import Any

import torch
from torch import Tensor

from tests.trainer.losses.cases import Case, edges_of, lists_of, ones, random_case
from trainer.data.batches import Edges
from trainer.losses import EDGE_LOSSES, LIST_LOSSES, preference_loss

LOSSES = (*EDGE_LOSSES, *LIST_LOSSES)
OPTIONS: dict[str, Any] = {"label_smoothing": 0.2, "gamma_ratio": 0.5, "length_penalty": 0.05}
BETA = 0.3
WON = edges_of((0, 1, ">", 1.0, 0))
EVEN = edges_of((0, 1, "=", 1.0, 0))
PAIR = lists_of(([0, 1], [0, 1], 1.0, 0))
ONE_TOKEN = torch.ones(2, dtype=torch.long)


def policy_case(seed: int, **sizes: int) -> tuple[Case, Tensor]:
    """A case whose values are log-probabilities, and what a reference says."""
    case = random_case(seed, **sizes)
    dice = torch.Generator().manual_seed(seed)
    reference = -5 * torch.rand(len(case.values), generator=dice, dtype=torch.float64)
    return case._replace(values=-case.values.abs() - 0.1), reference


def loss_of(case: Case, reference: Tensor | None, loss: str, ties: str = "drop", **options: Any) -> Tensor:
    given: dict[str, Any] = {"beta": BETA, **OPTIONS, **options}
    return preference_loss(
        case.values, reference, case.counts, case.edges, case.lists, case.weight, loss=loss, ties=ties, **given
    )


def pair_loss(logps: Tensor, loss: str, *, edges: Edges = WON, counts: Tensor = ONE_TOKEN, **options: Any) -> Tensor:
    """Of two completions, the first preferred, without a reference."""
    return preference_loss(logps, None, counts, edges, PAIR, ones(1), loss=loss, **options)
