"""What a training learns from and is tested on: groups of a snapshot, with what was left out and why."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedModel

from trainer.config import Options, TrainingOptions
from trainer.data.batches import Feed
from trainer.data.conversations import ConversationError, Tokenizer, tokenizer_load
from trainer.data.groups import PREFERRED, TIED, Exclusions, Group
from trainer.data.snapshots import Snapshot, snapshot_read
from trainer.loop import distributed
from trainer.loop.optimization import device_resolve, dtype_resolve, precision
from trainer.models.networks import context_length
from trainer.records import Request, canonical
from trainer.runs import InputError, RunFolder, say

HELD_OUT = ("validation", "test")
Reader = Callable[[str], tuple[list[Group], Exclusions]]
Size = Callable[[Group], float]


@dataclass(frozen=True)
class Material:
    """Groups to learn from, and groups of a split that is held out; none where the snapshot has none."""

    train: list[Group]
    held_out: list[Group]
    split: str | None
    counts: dict[str, Any]


@dataclass(frozen=True)
class Setup:
    """What all trainings need before they load a model."""

    device: torch.device
    dtype: torch.dtype
    tokenizer: Tokenizer
    snapshot: Snapshot

    def feed(self, options: TrainingOptions, *, shared: bool) -> Feed:
        """How groups become batches."""
        return Feed(int(self.tokenizer.pad_token_id), self.device, options.micro_tokens, shared)

    def precision(self) -> AbstractContextManager[object]:
        """Computes forward passes in this run's type."""
        return precision(self.device, self.dtype)


def setup_make(request: Request, options: TrainingOptions, folder: RunFolder) -> Setup:
    """Read the snapshot, verified, and the tokenizer. Raises InputError for what cannot be used."""
    snapshot = snapshot_read(Path(request["snapshot"]))
    began, now = folder.resolved.get("snapshot"), snapshot.manifest["digest"]
    if began not in (None, now):
        raise InputError(
            f"This run began with snapshot {began}, and {request['snapshot']} is {now} now. "
            "Put the old one back, or choose another --output."
        )
    device = device_resolve()
    try:
        tokenizer = tokenizer_load(request["model"])
    except ConversationError as error:
        raise InputError(str(error)) from error
    return Setup(device, dtype_resolve(options.dtype, device), tokenizer, snapshot)


def max_length_resolve(options: TrainingOptions, model: PreTrainedModel) -> int:
    """Tokens of prompt and completion together: what was asked for, or what the model can read where that is less."""
    length = min(options.max_length, context_length(model) or options.max_length)
    if length < options.max_length:
        say(f"The model reads {length} tokens, fewer than the {options.max_length} that were asked for.")
    return length


def resolved_write(
    request: Request, options: Options, folder: RunFolder, setup: Setup, *, max_length: int, split: str | None
) -> None:
    """Write down what the request came to here."""
    resolved = {
        "device": setup.device.type,
        "dtype": str(setup.dtype).removeprefix("torch."),
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "processes": distributed.count(),
        "max_length": max_length,
        "held_out": split,
        "snapshot": setup.snapshot.manifest["digest"],
    }
    before = {name: folder.resolved.get(name, value) for name, value in resolved.items()}
    changed = [
        f"{name} was {before[name]} and is {resolved[name]}" for name in resolved if before[name] != resolved[name]
    ]
    if changed:
        say(f"Another machine than this run began on: {', '.join(changed)}. The last digits will differ.")
    folder.config_write(request, options, resolved=resolved)


def material_read(read: Reader, *, unit: str, ties_policy: str | None = None, size: Size | None = None) -> Material:
    """Groups of the train split and of the first held-out split that has any; says on stderr what remained.

    With a policy for ties, groups in which nothing counts under it are left out and counted; with a `size`, groups
    that count for nothing by it. Where nothing that is held out can be used, the counts say so of the first split that
    has any.
    """
    train, counts = _split_read(read, "train", unit, ties_policy, size)
    if not train:
        raise InputError(_nothing_left(counts, unit))
    unusable = None
    for split in HELD_OUT:
        held_out, held_out_counts = _split_read(read, split, unit, ties_policy, size)
        if held_out:
            return Material(train, held_out, split, {"train": counts, "held_out": held_out_counts})
        if unusable is None and held_out_counts[unit]["found"]:
            unusable = held_out_counts
    say("Nothing is held out: neither the validation nor the test split has anything to measure on.")
    return Material(train, [], None, {"train": counts, "held_out": unusable})


def groups_digest(groups: Sequence[Group]) -> str:
    """What a training learns from, as tokens, in 64 hexadecimal digits."""
    sha256 = hashlib.sha256()
    for group in groups:
        edges = [[edge.i, edge.j, edge.outcome, edge.weight] for edge in group.edges]
        sha256.update(canonical([group.prompt, group.prompt_ids, group.completions, edges, group.weight]))
    return sha256.hexdigest()


def _split_read(
    read: Reader, split: str, unit: str, ties_policy: str | None, size: Size | None
) -> tuple[list[Group], dict[str, Any]]:
    found, exclusions = read(split)
    counted = [group for group in found if ties_policy is None or group.counted_weight(ties_policy) > 0]
    groups = [group for group in counted if size is None or size(group) > 0]
    outcomes = [edge.outcome for group in groups for edge in group.edges]
    counts: dict[str, Any] = {"split": split, "groups": len(groups)}
    counts["completions"] = sum(len(group.completions) for group in groups)
    if ties_policy is not None:
        counts |= {"edges": outcomes.count(PREFERRED), "ties": outcomes.count(TIED)}
        counts["groups_all_tied"] = len(found) - len(counted)
    if size is not None:
        counts["groups_left_out"] = len(counted) - len(groups)
    counts[unit] = exclusions.counts()
    _say_split(split, counts, exclusions)
    return groups, counts


def _nothing_left(counts: Mapping[str, Any], unit: str) -> str:
    causes = [f"{number} {name}" for name, number in counts[unit].items() if name.startswith("left out")]
    if tied := counts.get("groups_all_tied"):
        causes.append(f"{tied} groups are all ties")
    if without := counts.get("groups_left_out"):
        causes.append(f"{without} groups have nothing that this loss learns from")
    return (
        f"Nothing is left to learn from in the train split: {'; '.join(causes) or f'it has no {unit}'}. "
        "Freeze more, raise max_length, or choose a model that reads more tokens."
    )


def _say_split(split: str, counts: dict[str, Any], exclusions: Exclusions) -> None:
    numbers = ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in counts.items() if isinstance(value, int))
    say(f"Split {split}: {numbers}. {exclusions}")
