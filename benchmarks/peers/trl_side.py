"""TRL's side: RewardTrainer or DPOTrainer over all pairs of the rankings, as its users have to write them.

Runs in TRL's own environment: python benchmarks/peers/trl_side.py JSON. Prints one JSON line.
"""

import json
import sys
import time
from itertools import combinations
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))

import torch
from datasets import Dataset
from transformers import AutoTokenizer, TrainerCallback
from trl import DPOConfig, DPOTrainer, RewardConfig, RewardTrainer

from benchmarks.peers.measuring import Meter, sequences_digest

SPECIAL = 3
"""Ids below this are no words; each completion ends with one, which TRL adds by itself."""


class Watch(TrainerCallback):
    """Counts from the first step to the last, without what comes before and after them."""

    def __init__(self, meter: Meter) -> None:
        self.meter = meter

    def on_train_begin(self, *_: object, **__: object) -> None:
        self.meter.begin()

    def on_step_end(self, *_: object, **__: object) -> None:
        self.meter.mark()


class TimedDPOTrainer(DPOTrainer):
    """Knows what computing the reference took."""

    reference_cpu_s = 0.0

    def _precompute_ref_logps(self, *given: Any, **named: Any) -> Any:
        begun = time.process_time()
        done = super()._precompute_ref_logps(*given, **named)
        self.reference_cpu_s += time.process_time() - begun
        return done


def pairs_of(rankings: list[dict[str, Any]]) -> list[dict[str, str]]:
    """Every completion against every worse one of its prompt, as text."""

    def text(ids: list[int]) -> str:
        return " ".join(str(number) for number in ids if number >= SPECIAL)

    return [
        {"prompt": text(ranking["prompt"]), "chosen": f" {text(better)}", "rejected": f" {text(worse)}"}
        for ranking in rankings
        for better, worse in combinations(ranking["completions"], 2)
    ]


def arguments(given: dict[str, Any], pairs: int, scratch: str) -> dict[str, Any]:
    """What both trainers are told: one pass, nothing beside it, the same optimizer and precision as the other side."""
    per_prompt = pairs // given["prompts"]
    batch = min(given["batch_size"], per_prompt * given["prompts_per_step"])
    return {
        "output_dir": scratch,
        "num_train_epochs": 1,
        "per_device_train_batch_size": batch,
        "gradient_accumulation_steps": per_prompt * given["prompts_per_step"] // batch,
        "max_length": 1024,
        "bf16": given["dtype"] == "bfloat16",
        "use_cpu": True,
        "activation_checkpointing": False,
        "disable_dropout": True,
        "optim": "adamw_torch_fused",
        "learning_rate": 1e-6,
        "weight_decay": 0.0,
        "max_grad_norm": 1.0,
        "logging_strategy": "no",
        "save_strategy": "no",
        "eval_strategy": "no",
        "report_to": "none",
        "disable_tqdm": True,
    }


def train(given: dict[str, Any], scratch: str) -> dict[str, Any]:
    """One pass over the rankings of a folder; the figures of the pass alone, and what came before it."""
    tokenizer = AutoTokenizer.from_pretrained(given["model"])
    rankings = json.loads((Path(given["folder"]) / "rankings.json").read_text())
    pairs = pairs_of(rankings)
    meter = Meter()
    own = {"model": given["model"], "train_dataset": Dataset.from_list(pairs), "processing_class": tokenizer}
    own["callbacks"] = [Watch(meter)]
    told = arguments(given | {"prompts": len(rankings)}, len(pairs), scratch)
    trainer: Any
    if given["method"] == "reward":
        trainer = RewardTrainer(args=RewardConfig(**told), **own)
    else:
        trainer = TimedDPOTrainer(args=DPOConfig(beta=0.1, precompute_ref_log_probs=True, **told), **own)
    read = list(trainer.train_dataset)
    trainer.train()
    return meter.figures() | {
        "steps": trainer.state.global_step,
        "loss": trainer.state.log_history[-1]["train_loss"],
        "reference_cpu_s": getattr(trainer, "reference_cpu_s", 0.0),
        "before_cpu_s": time.process_time() - meter.cpu_s,
        "digest": sequences_digest(
            row.get("prompt_ids", []) + row[name] for row in read for name in ("chosen_ids", "rejected_ids")
        ),
    }


if __name__ == "__main__":
    torch.set_num_threads(1)
    print(json.dumps(train(json.loads(sys.argv[1]), sys.argv[2])))
