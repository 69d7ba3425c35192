"""`python -m trainer combine`: several reward models as one, in a folder that `evaluate` takes for a model.

What puts scores on a common scale is measured once, on all completions of a snapshot, so that the score of a
completion never depends on what else is scored.
"""

import math
import os
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from trainer.config import CombineOptions, Options
from trainer.data.completions import completions_of, item_of, together
from trainer.data.conversations import ConversationError
from trainer.data.groups import Group
from trainer.data.snapshots import Snapshot, snapshot_read
from trainer.durable import folder_aside, json_write
from trainer.loop.optimization import device_resolve, dtype_resolve, precision
from trainer.models.scorers import SCORER, Combination, Member, Recipe, Scale, folder_digest, recipe_json, scorer_load
from trainer.records import MODEL, Request
from trainer.runs import InputError, RunFolder, say

HUB_FILES = ("*.json", "*.safetensors", "*.jinja", "*.txt", "*.model")


def run(request: Request, options: Options, folder: RunFolder) -> dict[str, Any]:
    """Write `model`, the folder of the combination; returns the report."""
    if not isinstance(options, CombineOptions):
        raise TypeError(f"combine needs CombineOptions, not {type(options).__name__}.")
    recipe = recipe_asked(options, len(request["models"]))
    if recipe.how != "mean" and "snapshot" not in request:
        raise InputError(f"how={recipe.how} needs a snapshot, on whose completions the scale of scores is measured.")
    snapshot = snapshot_read(Path(request["snapshot"])) if "snapshot" in request and recipe.how != "mean" else None
    device = device_resolve()
    sources = [_local(model) for model in request["models"]]
    try:
        combination = Combination([scorer_load(str(source), device) for source in sources], recipe)
    except ConversationError as error:
        raise InputError(str(error)) from error
    reference = snapshot.manifest["digest"] if snapshot else ""
    folder.config_write(request, options, resolved={"device": device.type, "snapshot": reference})
    counts: dict[str, int] = {}
    if snapshot is not None:
        groups, counts = _reference_set(snapshot, combination, options)
        recipe = replace(recipe, scales=_scales(combination, groups, options, folder))
    members = _write(folder.path / MODEL, sources, recipe, reference)
    metrics = {f"{name}_{n}": v for n, scale in enumerate(recipe.scales, start=1) for name, v in vars(scale).items()}
    return {"counts": counts, "metrics": metrics, "members": [vars(member) for member in members]}


def recipe_asked(options: CombineOptions, models: int) -> Recipe:
    """What options ask for, without scales. Raises InputError when it does not fit so many models."""
    if models < 2:
        raise InputError("combine needs two models or more: give --model for each.")
    if options.how == "gated" and models != 2:
        raise InputError(f"how=gated takes two models, for helpfulness and for safety, not {models}.")
    if options.weights and options.how != "linear":
        raise InputError(f"weights are for how=linear, not for how={options.how}.")
    if options.how == "mean":
        return Recipe("mean")
    if options.how == "gated":
        return Recipe("gated", threshold=options.threshold, tag=options.tag)
    try:
        weights = tuple(map(float, options.weights)) or (1.0,) * models
    except ValueError as error:
        raise InputError(f"weights must be numbers, one for each model: {error}") from error
    if len(weights) != models or not all(map(math.isfinite, weights)):
        raise InputError(f"weights must be {models} numbers, one for each model, not {', '.join(options.weights)}.")
    return Recipe("linear", weights)


def _local(model: str) -> Path:
    """The folder of a model; one of the hub is fetched."""
    if Path(model).is_dir():
        return Path(model)
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(model, allow_patterns=list(HUB_FILES)))
    except (OSError, HfHubHTTPError, HFValidationError, LocalEntryNotFoundError) as error:
        raise InputError(f"No model can be loaded from {model}: {error}") from error


def _reference_set(
    snapshot: Snapshot, combination: Combination, options: CombineOptions
) -> tuple[list[Group], dict[str, int]]:
    """All completions of a snapshot that fit, and how many there are."""
    room = min(options.max_length, combination.context or options.max_length)
    items = [item_of(line, combination.tokenizer, room) for line in completions_of(snapshot)]
    groups = [item.group for item in items if item.group is not None]
    counts = {"completions": len(items), "measured": len(groups), "excluded": len(items) - len(groups)}
    say(f"The scale is measured on {len(groups)} of {len(items)} completions of the snapshot.")
    if len(groups) < 2:
        raise InputError("The scale of scores cannot be measured: fewer than two completions of the snapshot fit.")
    return together(groups, options.batch_size), counts


@torch.inference_mode()
def _scales(
    combination: Combination, groups: Sequence[Group], options: CombineOptions, folder: RunFolder
) -> tuple[Scale, ...]:
    """The scale of each member's scores, or of what the gate lets through."""
    room = min(options.max_length, combination.context or options.max_length)
    dtype, recipe = dtype_resolve(options.dtype, combination.device), combination.recipe
    found: list[list[Tensor]] = []
    for part, batch in combination.feed(options.batch_size * room).batches(groups):
        folder.stop_check()
        with precision(combination.device, dtype):
            scores = combination.member_scores(part, batch)
        gated = recipe.how == "gated"
        found.append([recipe.gated(scores, combination.tagged(part))] if gated else scores)
    return tuple(_scale(torch.cat(rows)) for rows in zip(*found, strict=True))


def _scale(scores: Tensor) -> Scale:
    values = scores.double()
    scale = Scale(float(values.mean()), float(values.std(correction=0)))
    if not (math.isfinite(scale.deviation) and scale.deviation > 0):
        raise InputError(f"The scale of scores cannot be measured: their standard deviation is {scale.deviation}.")
    return scale


def _write(path: Path, sources: Sequence[Path], recipe: Recipe, reference: str) -> list[Member]:
    """The folder of the combination, whole or not at all."""
    members = []
    if path.exists():
        # A process was killed between this and the report.
        shutil.rmtree(path)
    with folder_aside(path) as aside:
        for number, source in enumerate(sources, start=1):
            place = aside / "members" / str(number)
            _linked(source, place)
            members.append(Member(place.relative_to(aside).as_posix(), str(source), folder_digest(place)))
        json_write(aside / SCORER, recipe_json(members, recipe, reference))
    return members


def _linked(source: Path, target: Path) -> None:
    """Copy a folder: by hard links where the file system has them, since nobody writes into a published model."""
    for path in sorted(path for path in source.rglob("*") if path.is_file()):
        copy = target / path.relative_to(source)
        copy.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.link(path.resolve(), copy)
        except OSError:
            shutil.copyfile(path, copy)
