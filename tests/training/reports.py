"""A report as the trainer writes it."""

from typing import Any

METRICS: dict[str, Any] = {
    **{"accuracy": 0.712, "accuracy_low": 0.684, "accuracy_high": 0.738, "accuracy_ties_half": 0.69},
    **{"random": 0.5, "longer_wins": 0.55, "longer_wins_low": 0.52, "longer_wins_high": 0.58},
    **{"first_wins": 0.49, "first_wins_low": 0.46, "first_wins_high": 0.52, "prompts": 400, "comparisons": 2400},
    **{"over_longer_wins": 0.162, "over_longer_wins_low": 0.13, "over_longer_wins_high": 0.19},
    **{"best_of_k": 0.41, "best_of_k_low": 0.36, "best_of_k_high": 0.46, "best_of_k_random": 0.25},
    **{"kendall_tau": 0.424, "kendall_tau_low": 0.39, "kendall_tau_high": 0.46, "ece": 0.031, "log_loss": 0.57},
    **{"loss": 0.58, "loss_before": 0.6931, "train_loss": 0.44, "of_another_time": 3},
}
ROW = {"accuracy": 0.8, "low": 0.7, "high": 0.9, "comparisons": 1200, "prompts": 130}
BREAKDOWN = {
    "by_strength": [{"strength": 1, **ROW}, {"strength": 4, **ROW}],
    "by_group": [{"group": "held_out", **ROW}],
    "by_length": [{"least": 0, "most": 0, **ROW}, {"least": 1, "most": 7, **ROW}, {"least": 128, "most": None, **ROW}],
    "by_preferred_length": [],
    "calibration": [{"predicted": 0.62, "least": 0.1, "most": 0.4, **ROW}],
}
COUNTS = {
    "train": {
        **{"split": "train", "groups": 30, "completions": 120, "edges": 170, "ties": 10, "groups_all_tied": 2},
        "comparisons": {
            "found": 40,
            "kept": 32,
            "left out: too long": 6,
            "left out: fewer than two": 2,
            "shortened": 3,
        },
    },
    "held_out": {"split": "validation", "groups": 5, "comparisons": {"found": 5, "kept": 5}},
}


def report_make(**metrics: Any) -> dict[str, Any]:
    """A report of a reward model; figures may be given in place of the usual ones."""
    return {"command": "reward", "metrics": METRICS | metrics, "breakdown": BREAKDOWN, "counts": COUNTS, "steps": 20}
