"""What the reference policy says about completions: computed once, kept in the run folder for those who resume."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor
from transformers import PreTrainedModel

from trainer.batches import Group, collate
from trainer.config import PreferenceOptions
from trainer.conversations import ConversationError, tokenizer_load
from trainer.durable import aside_of, synced
from trainer.material import Setup, groups_digest, portions
from trainer.networks import completion_logprobs, policy_load
from trainer.optimization import precision
from trainer.records import Request
from trainer.runs import InputError, RunFolder, say

REFERENCE = "reference.safetensors"
ByGroup = dict[tuple[int, tuple[int, ...]], tuple[Tensor, Tensor]]


@dataclass(frozen=True)
class References:
    """Summed log-probabilities of completions under the reference, and how many tokens each has, by group."""

    by_group: ByGroup

    def sums(self, groups: Sequence[Group], device: torch.device) -> Tensor:
        """(N,) log-probabilities of the groups' completions, in the order of a batch's rows."""
        return torch.cat([self.by_group[_key(group)][0] for group in groups]).to(device)


def references_make(
    request: Request,
    options: PreferenceOptions,
    folder: RunFolder,
    setup: Setup,
    start: PreTrainedModel,
    groups: Sequence[Group],
) -> References:
    """Compute them under the reference, or the starting model where none is named; read them where they are kept."""
    path, digest = folder.path / REFERENCE, groups_digest(groups)
    if path.exists() and (kept := _read(path, digest, groups)) is not None:
        return kept
    other = request.get("reference", request["model"])
    reference = start if other == request["model"] else _reference_load(other, setup)
    say(f"Computing what the reference says about {sum(len(group.completions) for group in groups)} completions.")
    by_group: ByGroup = {}
    for part in portions(groups, options.micro_batch):
        folder.stop_check()
        by_group |= _measured(reference, part, setup)
    _write(path, digest, groups, by_group)
    return References(by_group)


@torch.no_grad()
def _measured(reference: PreTrainedModel, part: Sequence[Group], setup: Setup) -> ByGroup:
    batch = collate(part, setup.pad_id, setup.device)
    with precision(setup.device, setup.dtype):
        sums, counts = (tensor.cpu() for tensor in completion_logprobs(reference, batch))
    return _by_group(part, sums, counts)


def _reference_load(model: str, setup: Setup) -> PreTrainedModel:
    try:
        vocabulary = tokenizer_load(model).get_vocab()
    except ConversationError as error:
        raise InputError(str(error)) from error
    if vocabulary != setup.tokenizer.get_vocab():
        raise InputError(f"The reference {model} has another vocabulary than the model to be trained.")
    return policy_load(model, torch.float32, setup.device)


def _write(
    path: Path,
    digest: str,
    groups: Sequence[Group],
    by_group: ByGroup,
) -> None:
    values = [by_group[_key(group)] for group in groups]
    tensors = {"sums": torch.cat([sums for sums, _ in values]), "counts": torch.cat([counts for _, counts in values])}
    aside = aside_of(path)
    save_file(tensors, aside, metadata={"data": digest})
    synced(aside)
    aside.replace(path)


def _read(path: Path, digest: str, groups: Sequence[Group]) -> References | None:
    """What is kept; None when it is about other completions."""
    with safe_open(path, framework="pt") as file:
        if file.metadata().get("data") != digest:
            return None
        sums, counts = file.get_tensor("sums"), file.get_tensor("counts")
    return References(_by_group(groups, sums, counts))


def _by_group(groups: Sequence[Group], sums: Tensor, counts: Tensor) -> ByGroup:
    sizes = [len(group.completions) for group in groups]
    values = zip(_split(sums, sizes), _split(counts, sizes), strict=True)
    return dict(zip(map(_key, groups), values, strict=True))


def _split(values: Tensor, sizes: list[int]) -> tuple[Tensor, ...]:
    return cast(tuple[Tensor, ...], values.split(sizes))  # type: ignore[no-untyped-call]


def _key(group: Group) -> tuple[int, tuple[int, ...]]:
    return group.prompt, group.ids
