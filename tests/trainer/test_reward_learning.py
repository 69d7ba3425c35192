"""A planted reward is found again under the noise of labels, as well as the noise allows."""

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.trainer.models import tiny_llama
from tests.trainer.snapshot_samples import report
from trainer.__main__ import main
from trainer.data.batches import Feed
from trainer.data.conversations import tokenizer_load
from trainer.data.groups import groups_from
from trainer.data.snapshots import snapshot_read, snapshot_write
from trainer.models.networks import prompts_share, reward_load, scores

LETTERS = "abcdefghijklmnop"
LENGTH, K = 8, 4
TRAIN, HELD_OUT = 2500, 500


def planted(dice: np.random.Generator) -> np.ndarray:
    """(16,) what each letter of a completion adds to its reward."""
    return np.asarray(dice.normal(0.0, 0.55, len(LETTERS)))


def reward_of(text: str, worth: np.ndarray) -> float:
    return float(sum(worth[LETTERS.index(letter)] for letter in text))


def ranking(rewards: np.ndarray, dice: np.random.Generator) -> list[int]:
    """Drawn from the best down; of any two, i stands before j with probability σ(r_i − r_j)."""
    return [int(place) for place in np.argsort(-(rewards + dice.gumbel(size=len(rewards))))]


def rows(worth: np.ndarray, dice: np.random.Generator) -> Iterator[tuple[dict[str, Any], list[dict[str, Any]], Any]]:
    for number in range(1, TRAIN + HELD_OUT + 1):
        texts = ["".join(dice.choice(list(LETTERS), LENGTH)) for _ in range(K)]
        order = ranking(np.array([reward_of(text, worth) for text in texts]), dice)
        prompt = {"prompt": number, "messages": [{"role": "user", "content": "?"}], "source": "", "language": ""}
        prompt |= {"split": "train" if number <= TRAIN else "validation", "tags": []}
        completions = [
            {"completion": number * 10 + place, "prompt": number, "model": "", "text": text, "finish_reason": "stop"}
            for place, text in enumerate(texts)
        ]
        edges = [
            {"i": better, "j": worse, "outcome": ">", "strength": None, "weight": 1.0}
            for better, worse in itertools.combinations(order, 2)
        ]
        comparison = {"comparison": f"{number:05}", "task": number, "prompt": number, "annotator": "a", "group": ""}
        comparison |= {"completions": [row["completion"] for row in completions], "edges": edges, "protocol": 1}
        comparison |= {"ranking": [[place] for place in order], "weight": 1.0, "rationale": "", "shown": []}
        yield prompt, completions, comparison


def snapshot_make(folder: Path, worth: np.ndarray, dice: np.random.Generator) -> None:
    prompts, completions, comparisons = zip(*rows(worth, dice), strict=True)
    tables = {"prompts": prompts, "completions": list(itertools.chain(*completions)), "comparisons": comparisons}
    snapshot_write(folder, options={}, tables=tables, as_of="", counts={}, protocols={}, annotators={})


def expected_accuracy(differences: np.ndarray, truth: np.ndarray) -> float:
    """How often fresh labels, drawn from the planted reward, would agree with the signs of differences."""
    return float((1 / (1 + np.exp(-np.sign(differences) * truth))).mean())


@pytest.mark.learning
@pytest.mark.parametrize("loss", ["bradley_terry", "plackett_luce"])
def test_a_planted_reward_is_recovered_to_within_a_point_of_the_best_possible(loss: str, tmp_path: Path) -> None:
    dice = np.random.default_rng(0)
    worth = planted(dice)
    tiny_llama(tmp_path / "model")
    snapshot_make(tmp_path / "snapshot", worth, dice)
    given = ["--model", str(tmp_path / "model"), "--snapshot", str(tmp_path / "snapshot"), "--loss", loss]
    steps = ["--epochs", "2", "--prompts-per-step", "32", "--learning-rate", "0.01", "--final-rate", "0"]
    assert main(["reward", "--output", str(tmp_path / "run"), *given, *steps, "--pooling", "mean"]) == 0

    model, tokenizer = reward_load(str(tmp_path / "run" / "model")), tokenizer_load(str(tmp_path / "model"))
    snapshot = snapshot_read(tmp_path / "snapshot")
    groups, _ = groups_from(snapshot, tokenizer, split="validation", max_length=512)
    found: dict[int, float] = {}
    feed = Feed(int(tokenizer.pad_token_id), torch.device("cpu"), 20_000, prompts_share(model, "auto"))
    with torch.no_grad():
        for part, batch in feed.batches(groups):
            ids = [id_ for group in part for id_ in group.ids]
            found |= zip(ids, scores(model, batch.tokens).tolist(), strict=True)
    pairs = [pair for group in groups for pair in itertools.combinations(group.ids, 2)]
    rewards = {id_: reward_of(snapshot.completions[id_]["text"], worth) for group in groups for id_ in group.ids}
    truth = np.array([rewards[i] - rewards[j] for i, j in pairs])
    learned = expected_accuracy(np.array([found[i] - found[j] for i, j in pairs]), truth)
    best = expected_accuracy(truth, truth)
    assert 0.7 < best < 0.9
    assert best - 0.01 < learned <= best
    # The labels that were held out agree with the model as often as fresh ones would.
    metrics = report(tmp_path / "run")["metrics"]
    assert metrics["accuracy"] == pytest.approx(learned, abs=0.03)
    assert metrics["accuracy_low"] < best
    assert metrics["over_longer_wins_low"] > 0.1
