"""What the reference policy says about completions: computed once and kept, for those who resume and for other runs.

Sums and counts of tokens are kept, from which every loss makes what it needs. The run folder keeps those of the run.
Where the environment variable PREFLOOP_REFERENCE_CACHE names a folder, all runs share what is there, by a hash of
the reference's weights, the type they compute in, and the longest text: a run computes only the completions that no
earlier one did. Nothing there is needed to go on; all of it may be removed at any time.
"""

import hashlib
import json
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor
from transformers import PreTrainedModel

from trainer.config import PreferenceOptions
from trainer.data.batches import Feed
from trainer.data.conversations import ConversationError, tokenizer_load
from trainer.data.groups import Group
from trainer.durable import aside_of, synced
from trainer.loop import distributed
from trainer.loop.material import Setup
from trainer.models.adapters import adapters_off, weights_digest
from trainer.models.networks import completion_logprobs, policy_load, prompts_share
from trainer.records import canonical
from trainer.runs import InputError, RunFolder, leading, say

REFERENCE = "reference.safetensors"
CACHE = "PREFLOOP_REFERENCE_CACHE"
SAY_EVERY = 10.0
KEY_BYTES = 16

Key = tuple[int, tuple[int, ...]]
Said = dict[bytes, tuple[Tensor, Tensor]]
"""By hash of a group's tokens, sums and counts of its completions."""


@dataclass(frozen=True)
class References:
    """Summed log-probabilities of completions under the reference, and how many tokens each has, by group.

    `weights` is the hash of the reference.
    """

    by_group: dict[Key, tuple[Tensor, Tensor]]
    weights: str

    def sums(self, groups: Sequence[Group], device: torch.device) -> Tensor:
        """(N,) log-probabilities of the groups' completions, in the order of a batch's completions."""
        return torch.cat([self.by_group[_key(group)][0] for group in groups]).to(device)


class _File(NamedTuple):
    """What a file of references is about. `data` is the hash of the tokens, `weights` that of the reference."""

    weights: str
    data: str
    dtype: str
    max_length: str


def references_make(
    start: PreTrainedModel,
    feed: Feed,
    groups: Sequence[Group],
    *,
    setup: Setup,
    folder: RunFolder,
    options: PreferenceOptions,
    max_length: int,
    named: str | None = None,
) -> References:
    """Compute them under the model that is named, or else the starting model without its adapters; read what is kept.

    `start` must not have learned anything yet, but for its adapters. Raises InputError when the reference has another
    vocabulary.
    """
    own = folder.path / REFERENCE
    about = {
        "data": tokens_digest(groups),
        "dtype": str(setup.dtype).removeprefix("torch."),
        "max_length": str(max_length),
    }
    kept = _read(own)
    fits = kept is not None and kept[0]._asdict().items() >= about.items()
    if all(distributed.exchange(fits)) and kept is not None:
        return _references(groups, kept[1], kept[0].weights)
    reference = start
    if named is not None:
        reference = _reference_load(named, setup)
        feed = setup.feed(options, shared=prompts_share(reference, options.share_prompts))
    file = _File(weights=weights_digest(reference), **about)
    said = _cached(file)
    missing = [group for group in groups if _hash(group) not in said]
    if found := len(groups) - len(missing):
        say(f"What the reference says about {found} of {len(groups)} prompts was computed before.")
    with torch.no_grad(), adapters_off(reference):
        said |= _computed(reference, missing, feed, setup, folder)
    mine = {_hash(group): said[_hash(group)] for group in groups}
    if leading():
        _write(own, file, mine)
        _cache(file, mine if missing else {})
    return _references(groups, mine, file.weights)


def tokens_digest(groups: Sequence[Group]) -> str:
    """What a reference reads, whatever people said about it, in 64 hexadecimal digits."""
    sha256 = hashlib.sha256()
    for group in groups:
        sha256.update(_hash(group))
    return sha256.hexdigest()


def _computed(reference: PreTrainedModel, groups: Sequence[Group], feed: Feed, setup: Setup, folder: RunFolder) -> Said:
    """What the reference says about groups, each process about its own of them."""
    mine = distributed.own(groups)
    total, done, told = sum(len(group.completions) for group in mine), 0, time.monotonic()
    if groups:
        say(f"Computing what the reference says about {sum(len(group.completions) for group in groups)} completions.")
    said: dict[str, tuple[list[float], list[float]]] = {}
    for part, batch in feed.batches(mine) if mine else ():
        folder.stop_check()
        with setup.precision():
            sums, counts = (tensor.cpu() for tensor in completion_logprobs(reference, batch.tokens))
        for group, (sums_of, counts_of) in zip(part, _parts(sums, counts, list(map(_size, part))), strict=True):
            said[_hash(group).hex()] = (sums_of.tolist(), counts_of.tolist())
        done += len(sums)
        if time.monotonic() - told > SAY_EVERY:
            told = time.monotonic()
            say(f"The reference: {done} of {total} completions.")
    return {
        bytes.fromhex(name): (torch.tensor(sums), torch.tensor(counts))
        for of_one in distributed.exchange(said)
        for name, (sums, counts) in of_one.items()
    }


def _reference_load(model: str, setup: Setup) -> PreTrainedModel:
    try:
        vocabulary = tokenizer_load(model).get_vocab()
    except ConversationError as error:
        raise InputError(str(error)) from error
    if vocabulary != setup.tokenizer.get_vocab():
        raise InputError(f"The reference {model} has another vocabulary than the model to be trained.")
    return policy_load(model, torch.float32, setup.device).requires_grad_(False)


def _cached(file: _File) -> Said:
    """What earlier runs with this reference computed, from the files of the cache that can be read."""
    said: Said = {}
    if (place := _cache_path(file)) is not None:
        for path in sorted(place.parent.glob("*.safetensors")):
            kept = _read(path)
            if kept is not None and kept[0]._replace(data=file.data) == file:
                said |= kept[1]
    return said


def _cache_path(file: _File) -> Path | None:
    """Where the cache keeps a file: in a folder for each reference. None where there is no cache."""
    if not (folder := os.environ.get(CACHE, "")):
        return None
    reference = hashlib.sha256(canonical([file.weights, file.dtype, file.max_length])).hexdigest()
    return Path(folder) / reference / f"{file.data}.safetensors"


def _cache(file: _File, said: Said) -> None:
    """Put what was computed where other runs find it. A run is not lost because there is no room for it."""
    if not said or (place := _cache_path(file)) is None:
        return
    try:
        _write(place, file, said)
    except (OSError, SafetensorError) as error:
        say(f"What the reference says could not be kept in {place.parent} for other runs: {error}")


def _write(path: Path, file: _File, said: Said) -> None:
    """Put a file in its place, whole or not at all."""
    values = list(said.values())
    tensors = {
        "groups": torch.frombuffer(bytearray(b"".join(said)), dtype=torch.uint8).view(-1, KEY_BYTES),
        "sizes": torch.tensor([len(sums) for sums, _ in values]),
        "sums": torch.cat([sums for sums, _ in values]),
        "counts": torch.cat([counts for _, counts in values]),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = aside_of(path)
    try:
        # One entry: several would come out in an order of their own each time.
        about = canonical(file._asdict() | {"content": _content(tensors)}).decode()
        save_file(tensors, aside, metadata={"about": about})
        synced(aside)
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)
    synced(path.parent)


def _read(path: Path) -> tuple[_File, Said] | None:
    """What a file holds; None when there is none, or when it is not what was written."""
    if not path.exists():
        return None
    try:
        with safe_open(path, framework="pt") as opened:
            about = json.loads(opened.metadata()["about"])
            tensors = {name: opened.get_tensor(name).clone() for name in ("groups", "sizes", "sums", "counts")}
        whole = about.pop("content") == _content(tensors)
        file = _File(**about)
    except (OSError, SafetensorError, ValueError, KeyError, TypeError):
        whole = False
    if not whole:
        say(f"{path} is damaged; what it held is computed again.")
        return None
    hashes = [bytes(row) for row in tensors["groups"].numpy()]
    return file, dict(zip(hashes, _parts(tensors["sums"], tensors["counts"], tensors["sizes"].tolist()), strict=True))


def _content(tensors: Mapping[str, Tensor]) -> str:
    sha256 = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        sha256.update(canonical([name, list(tensor.shape)]))
        sha256.update(tensor.contiguous().numpy().data)
    return sha256.hexdigest()


def _parts(sums: Tensor, counts: Tensor, sizes: list[int]) -> Iterator[tuple[Tensor, Tensor]]:
    return zip(torch.split(sums, sizes), torch.split(counts, sizes), strict=True)


def _references(groups: Sequence[Group], said: Said, weights: str) -> References:
    return References({_key(group): said[_hash(group)] for group in groups}, weights)


def _hash(group: Group) -> bytes:
    """What the reference reads of a group."""
    return hashlib.sha256(canonical([group.prompt_ids, group.completions])).digest()[:KEY_BYTES]


def _size(group: Group) -> int:
    return len(group.completions)


def _key(group: Group) -> Key:
    return group.prompt, group.ids
