"""Reward models on preferences that people gave: accuracy on prompts that are held out, beside the baselines.

    python benchmarks/reward_accuracy.py --data qa,hh,oasst,tulu --variants kway,pairs,small,large --folds 5

Every prompt is held out once: what is said of all folds together has one interval, clustered by what belongs together
(a question, a conversation tree). Variants: `kway` learns from all comparisons of a prompt at once, `pairs` from the
same pairs one by one and shuffled, each with its completions read again, `soft` and `rao_kupper` from ties too, `small`
and `large` with Llama 2's margins. The sets lie beside the repository; one that is absent is left out and named.
Prints one JSON line.
"""

import argparse
import json
import resource
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import torch

from benchmarks.rig.preferences import DATA, SETS, Judged, snapshot_of
from trainer.__main__ import main as train
from trainer.data.batches import Feed
from trainer.data.conversations import tokenizer_load
from trainer.data.groups import Group, groups_from
from trainer.data.snapshots import snapshot_read
from trainer.loop.training import rows_split
from trainer.models.networks import prompts_share, reward_load, scores
from trainer.reports.metrics import accuracy_report

STORIES = DATA.parent / "models" / "stories260K"
VARIANTS: dict[str, dict[str, str]] = {
    "kway": {},
    "pairs": {},
    "soft": {"ties": "soft"},
    "rao_kupper": {"ties": "rao_kupper"},
    "small": {"margin": "small"},
    "large": {"margin": "large"},
}


def base_model(folder: Path, positions: int) -> Path:
    """The tiny pretrained Llama, told that it may read further than it was trained to, which rotary positions bear."""
    shutil.copytree(STORIES, folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"max_position_embeddings": positions}))
    return folder


def trained(base: Path, snapshot: Path, output: Path, variant: str, options: argparse.Namespace, pairs: float) -> Path:
    """Train one reward model; returns its folder. With single pairs a step has as many comparisons as without."""
    prompts = round(options.prompts_per_step * (pairs if variant == "pairs" else 1))
    given = {
        "epochs": options.epochs,
        "learning_rate": options.learning_rate,
        "head_rate": 1,
        "max_length": options.max_length,
        "prompts_per_step": prompts,
        "zero_at": "none",
        "seed": options.seed,
        "checkpoint_every": 10**6,
    } | VARIANTS[variant]
    flags = [part for name, value in given.items() for part in (f"--{name.replace('_', '-')}", str(value))]
    command = ["reward", "--model", str(base), "--snapshot", str(snapshot), "--output", str(output), *flags]
    if train(command) != 0:
        raise SystemExit(f"Training failed: {' '.join(command)}")
    return output / "model"


def judged(model: Path, snapshot: Path, split: str, max_length: int) -> list[tuple[Group, list[float]]]:
    """What a reward model says of a split."""
    tokenizer, reward = tokenizer_load(str(model)), reward_load(str(model))
    groups, _ = groups_from(snapshot_read(snapshot), tokenizer, split=split, max_length=max_length)
    feed = Feed(int(tokenizer.pad_token_id), torch.device("cpu"), 16384, prompts_share(reward, "auto"))
    found = []
    with torch.no_grad():
        for part, batch in feed.batches(groups):
            found += rows_split(part, scores(reward, batch.tokens))
    return found


def report(found: list[tuple[Group, list[float]]], data: list[Judged]) -> dict[str, float]:
    """Accuracy with its interval, clustered by what belongs together."""
    clusters = {name: number for number, name in enumerate(dict.fromkeys(one.cluster for one in data))}
    return accuracy_report(
        prompts=[clusters[data[group.prompt].cluster] for group, _ in found],
        scores=[values for _, values in found],
        lengths=[[len(completion) for completion in group.completions] for group, _ in found],
        edges=[group.edges for group, _ in found],
    )


def measured(name: str, variants: list[str], options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """One row for each variant on one set."""
    data = SETS[name]()[: options.limit or None]
    pairs = sum(len(one.said) for one in data) / len(data)
    for variant in variants:
        held_out: list[tuple[Group, list[float]]] = []
        learned: list[tuple[Group, list[float]]] = []
        start = time.process_time()
        for fold in range(options.folds):
            with tempfile.TemporaryDirectory() as place:
                folder = Path(place)
                snapshot_of(folder / "train", data, fold=fold, folds=options.folds, pairs=variant == "pairs")
                snapshot_of(folder / "whole", data, fold=fold, folds=options.folds, pairs=False)
                base = base_model(folder / "base", options.max_length)
                model = trained(base, folder / "train", folder / "run", variant, options, pairs)
                held_out += judged(model, folder / "whole", "validation", options.max_length)
                learned += judged(model, folder / "whole", "train", options.max_length)
        yield row(name, variant, report(held_out, data), report(learned, data), time.process_time() - start)


def row(name: str, variant: str, held: dict[str, float], learned: dict[str, float], cpu: float) -> dict[str, Any]:
    """A row of the result, in percent."""
    kept = ("accuracy", "longer_wins", "over_longer_wins")
    percent = {key: round(100 * value, 1) for key, value in held.items() if key.startswith(kept)}
    numbers = {"prompts": int(held["prompts"]), "comparisons": int(held["comparisons"])}
    seen = {"train_accuracy": round(100 * learned["accuracy"], 1)}
    return {"data": name, "variant": variant} | percent | seen | numbers | {"cpu_s": round(cpu, 1)}


def arguments(given: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="qa,hh,oasst,tulu", help=f"of {', '.join(SETS)}")
    parser.add_argument("--variants", default="kway,pairs", help=f"of {', '.join(VARIANTS)}")
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--learning-rate", type=float, default=1e-3)
    parser.add_argument("--prompts-per-step", type=int, default=16)
    parser.add_argument("--max-length", type=int, default=1024)
    parser.add_argument("--limit", type=int, default=0, help="only so many prompts of a set")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--quick", action="store_true", help="two folds of the set that needs no data")
    options = parser.parse_args(given)
    if options.quick:
        options.data, options.folds, options.limit = "planted", 2, 60
    return options


def run(options: argparse.Namespace) -> dict[str, Any]:
    """The whole benchmark."""
    rows: list[dict[str, Any]] = []
    absent = []
    for name in options.data.split(","):
        try:
            rows += measured(name, options.variants.split(","), options)
        except FileNotFoundError as error:
            absent.append(f"{name}: there is no {error.filename}")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    return {"rows": rows, "absent": absent, "peak_rss_mb": peak}


if __name__ == "__main__":
    print(json.dumps(run(arguments())))
