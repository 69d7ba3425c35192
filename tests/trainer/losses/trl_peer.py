"""What TRL's own code makes of random numbers: its trainers' loss methods, run on tables instead of networks.

`python -m tests.trainer.losses.trl_peer` writes the values down, so that they hold where TRL is not installed.
"""

import json
import random
from collections import defaultdict
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor

VALUES = Path(__file__).with_name("trl_values.json")
SEED, PAIRS, TOKENS, VOCABULARY = 21, 6, 9, 50
BETAS = {"low": 0.1, "high": 2.5}
SMOOTHING, GAMMA, DESIRABLE, UNDESIRABLE = 0.15, 0.6, 1.1, 0.8

Numbers = dict[str, Any]


def drawn() -> Numbers:
    """Prompts of 2 tokens with completions of 1 to 9, what policy and reference say of each token, scores, margins."""
    dice = random.Random(SEED)

    def logprobs() -> list[float]:
        return [round(-dice.expovariate(0.7), 6) for _ in range(VOCABULARY)]

    return {
        "chosen": [[dice.randrange(VOCABULARY) for _ in range(dice.randint(1, TOKENS))] for _ in range(PAIRS)],
        "rejected": [[dice.randrange(VOCABULARY) for _ in range(dice.randint(1, TOKENS))] for _ in range(PAIRS)],
        "mismatched": [[dice.randrange(VOCABULARY) for _ in range(dice.randint(1, TOKENS))] for _ in range(2 * PAIRS)],
        "policy": logprobs(),
        "reference": logprobs(),
        "scores": [round(dice.gauss(0, 2), 6) for _ in range(2 * PAIRS)],
        "margins": [dice.choice([0.0, 1.0, 2.0, 3.0]) for _ in range(PAIRS)],
    }


def rows_of(completions: list[list[int]]) -> dict[str, Tensor]:
    """Completions behind a prompt of two tokens, filled up on the right, as TRL's collators do."""
    width = 2 + max(map(len, completions))
    ids = [([0, 0, *completion] + [0] * width)[:width] for completion in completions]
    seen = [([1] * (2 + len(completion)) + [0] * width)[:width] for completion in completions]
    mask = [([0, 0] + [1] * len(completion) + [0] * width)[:width] for completion in completions]
    names = ("input_ids", "attention_mask", "completion_mask")
    return {name: torch.tensor(value) for name, value in zip(names, (ids, seen, mask), strict=True)}


def sums_of(completions: list[list[int]], table: list[float]) -> Tensor:
    """(N,) the log-probability of each completion under a table of the tokens'."""
    return torch.tensor([sum(table[token] for token in one) for one in completions], dtype=torch.float64)


def values_from_trl(numbers: Numbers) -> dict[str, float]:
    """Losses by name, as the installed TRL computes them."""
    values = {}
    for name, beta in BETAS.items():
        for loss in ("sigmoid", "ipo", "hinge", "robust", "sigmoid_norm"):
            values[f"{loss} {name}"] = _dpo(numbers, loss, beta)
        values[f"kto {name}"] = _kto(numbers, beta)
        values[f"simpo {name}"] = _simpo(numbers, beta)
        values[f"orpo {name}"] = _orpo(numbers, beta)
    values["reward"] = _reward(numbers, margins=False, centering=None)
    values["reward margin"] = _reward(numbers, margins=True, centering=None)
    values["reward centering"] = _reward(numbers, margins=False, centering=0.01)
    return values


class _Table:
    """A network that says of each token what a table says, whatever came before it."""

    training = False

    def __init__(self, table: list[float]) -> None:
        self._table = torch.tensor(table, dtype=torch.float64)

    def __call__(self, input_ids: Tensor, labels: Tensor, **_: Any) -> SimpleNamespace:
        said = torch.where(labels[:, 1:] != -100, self._table[input_ids[:, 1:]], 0.0)
        other = torch.zeros_like(said)
        return SimpleNamespace(log_probs=said, entropy=other, mean_logits=other, is_top1=other.bool())


def _trainer(kind: type, **attributes: Any) -> Any:
    """One of TRL's trainers with no more than its loss looks at."""
    from accelerate import Accelerator

    trainer: Any = object.__new__(kind)
    common = {"accelerator": Accelerator(cpu=True), "_metrics": defaultdict(lambda: defaultdict(list))}
    common |= {"_total_train_tokens": 0, "aux_loss_enabled": False, "ref_model": None}
    for name, value in (common | attributes).items():
        setattr(trainer, name, value)
    return trainer


def _dpo(numbers: Numbers, loss: str, beta: float) -> float:
    from trl import DPOTrainer

    model = _Table(numbers["policy"])
    trainer = _trainer(
        DPOTrainer,
        model=model,
        beta=beta,
        label_smoothing=SMOOTHING,
        loss_types=[loss],
        loss_weights=[1.0],
        ld_alpha=None,
        f_divergence_type="reverse_kl",
        precompute_ref_logps=True,
        use_weighting=False,
    )
    inputs = rows_of(numbers["chosen"] + numbers["rejected"])
    references = {
        f"ref_{which}_logps": sums_of(numbers[which], numbers["reference"]) for which in ("chosen", "rejected")
    }
    return float(trainer._compute_loss(model, inputs | references, False))


def _kto(numbers: Numbers, beta: float) -> float:
    """The chosen are desirable, the rejected not; other completions stand for mismatched ones."""
    from trl import KTOTrainer

    model = _Table(numbers["policy"])
    trainer = _trainer(
        KTOTrainer,
        model=model,
        beta=beta,
        loss_type="kto",
        desirable_weight=DESIRABLE,
        undesirable_weight=UNDESIRABLE,
        calculate_KL=True,
        precompute_ref_logps=True,
    )
    completions = numbers["chosen"] + numbers["rejected"]
    inputs: dict[str, Any] = rows_of(completions)
    inputs |= {f"KL_{name}": value for name, value in rows_of(numbers["mismatched"]).items()}
    inputs["label"] = torch.tensor([True] * PAIRS + [False] * PAIRS)
    inputs["ref_logps"] = sums_of(completions, numbers["reference"])
    inputs["ref_KL_logps"] = sums_of(numbers["mismatched"], numbers["reference"])
    return float(trainer._compute_loss(model, inputs, False))


def _means(numbers: Numbers) -> tuple[Tensor, Tensor]:
    chosen, rejected = (
        sums_of(numbers[which], numbers["policy"]) / torch.tensor([len(one) for one in numbers[which]])
        for which in ("chosen", "rejected")
    )
    return chosen, rejected


def _simpo(numbers: Numbers, beta: float) -> float:
    """TRL has γ where ours is γ/β."""
    from trl.experimental.cpo import CPOTrainer

    trainer = _trainer(
        CPOTrainer, beta=beta, loss_type="simpo", simpo_gamma=GAMMA * beta, label_smoothing=0.0, alpha=0.0
    )
    return float(trainer.cpo_loss(*_means(numbers))[0].mean())


def _orpo(numbers: Numbers, beta: float) -> float:
    """TRL's β is the weight of this part, and it computes in float32."""
    from trl.experimental.orpo import ORPOTrainer

    return float(-_trainer(ORPOTrainer, beta=beta).odds_ratio_loss(*_means(numbers))[0].mean())


def _reward(numbers: Numbers, *, margins: bool, centering: float | None) -> float:
    from trl import RewardTrainer

    def model(**_: Any) -> SimpleNamespace:
        return SimpleNamespace(logits=torch.tensor(numbers["scores"], dtype=torch.float64).unsqueeze(1))

    trainer = _trainer(
        RewardTrainer,
        model=SimpleNamespace(training=False),
        args=SimpleNamespace(center_rewards_coefficient=centering),
    )
    inputs = {"margin": torch.tensor(numbers["margins"], dtype=torch.float64)} if margins else {}
    return float(trainer.compute_loss(model, inputs))


def write() -> None:
    """Write the numbers, TRL's values and where they come from."""
    import trl

    numbers = drawn()
    provenance = {
        "trl": trl.__version__,
        "torch": torch.__version__,
        "seed": SEED,
        "by": "tests.trainer.losses.trl_peer",
    }
    stored = {"provenance": provenance, "values": values_from_trl(numbers)} | numbers
    lines = (f" {json.dumps(name)}: {json.dumps(value)}" for name, value in stored.items())
    VALUES.write_text("{\n" + ",\n".join(lines) + "\n}\n")


if __name__ == "__main__":
    write()
