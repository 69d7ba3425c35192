"""Losses: pure functions from tensors to a number. True in a mask means: it counts.

Values are per completion, (N,); what was said about them is in `Edges` and `Lists` of `trainer.data.batches`.
"""

from trainer.losses.likelihood import nll
from trainer.losses.listwise import best_against_rest_loss, plackett_luce_loss, ranking_loss
from trainer.losses.means import TIES, counted_weights, prompt_mean, ranked_weights, rated_weights
from trainer.losses.preference import (
    EDGE_LOSSES,
    LIST_LOSSES,
    REFERENCE_FREE,
    implicit_rewards,
    kto_baseline,
    kto_loss,
    preference_loss,
)
from trainer.losses.reward import answer_loss, margins_of, rating_loss, reward_loss

__all__ = [
    "EDGE_LOSSES",
    "LIST_LOSSES",
    "REFERENCE_FREE",
    "TIES",
    "answer_loss",
    "best_against_rest_loss",
    "counted_weights",
    "implicit_rewards",
    "kto_baseline",
    "kto_loss",
    "margins_of",
    "nll",
    "plackett_luce_loss",
    "preference_loss",
    "prompt_mean",
    "ranked_weights",
    "ranking_loss",
    "rated_weights",
    "rating_loss",
    "reward_loss",
]
