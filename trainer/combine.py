"""`python -m trainer combine`: several reward models as one, in a folder that `evaluate` takes for a model.

What puts scores on a common scale is measured once, on all completions of a snapshot, so that the score of a
completion never depends on what else is scored. Where a snapshot is given, the combination and each of its models are
measured on its held-out comparisons too.
"""

import math
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from trainer.config import CombineOptions, Options, combine_problems
from trainer.data.batches import Batch
from trainer.data.completions import completions_of, item_of, together
from trainer.data.conversations import ConversationError
from trainer.data.groups import Group, groups_from
from trainer.data.snapshots import Snapshot, snapshot_read
from trainer.durable import folder_aside, json_write
from trainer.loop.material import HELD_OUT
from trainer.loop.optimization import device_resolve, dtype_resolve, precision
from trainer.loop.training import Judged, judged_breakdown, judged_report, rows_split
from trainer.models.heads import DISAGREEMENT
from trainer.models.scorers import (
    SCORE,
    Combination,
    Member,
    Recipe,
    Scale,
    folder_digest,
    member_name,
    recipe_json,
    scorer_load,
)
from trainer.records import MEMBERS, MODEL, SCORER, EventLine, Request
from trainer.reports.card import card_write, versions_here
from trainer.runs import InputError, RunFolder, say

HUB_FILES = ("*.json", "*.safetensors", "*.jinja", "*.txt", "*.model")


@dataclass(frozen=True)
class Material:
    """What a combination is measured on: all completions of a snapshot that fit, for the scale of scores, and
    comparisons of the first held-out split that has any. `counts` are for the report.
    """

    scaling: list[Group]
    held_out: list[Group]
    split: str | None
    counts: dict[str, Any]


def run(request: Request, options: Options, folder: RunFolder) -> dict[str, Any]:
    """Write `model`, the folder of the combination; returns the report."""
    if not isinstance(options, CombineOptions):
        raise TypeError(f"combine needs CombineOptions, not {type(options).__name__}.")
    if problems := combine_problems(options, len(request["models"]), has_snapshot="snapshot" in request):
        raise InputError(" ".join(problems.values()))
    # 1. The models, and what they are measured on
    snapshot = snapshot_read(Path(request["snapshot"])) if "snapshot" in request else None
    device = device_resolve()
    sources = [_local(model) for model in request["models"]]
    try:
        members = [scorer_load(str(source), device) for source in sources]
        combination = Combination(members, recipe_asked(options, len(sources)))
        room = min(options.max_length, combination.context or options.max_length)
        material = _material(snapshot, combination, options, room)
    except ConversationError as error:
        raise InputError(str(error)) from error
    dtype = dtype_resolve(options.dtype, device)
    digest = snapshot.manifest["digest"] if snapshot else ""
    resolved: dict[str, Any] = {"device": device.type, "torch": torch.__version__, "max_length": room}
    resolved |= {"dtype": str(dtype).removeprefix("torch."), "held_out": material.split, "snapshot": digest}
    folder.config_write(request, options, resolved=resolved)
    # 2. The scale of scores, and how often they are right
    folder.events.truncate(0)
    reading = _Reading(combination, folder, dtype, options.batch_size * room, _completions(material))
    scales = _scales(reading, material.scaling) if combination.recipe.how != "mean" else ()
    combination.recipe = replace(combination.recipe, scales=scales)
    metrics, breakdown = _judged(reading, material.held_out) if material.held_out else ({}, {})
    metrics |= {f"{name}_{n}": v for n, scale in enumerate(scales, start=1) for name, v in vars(scale).items()}
    # 3. The folder
    report: dict[str, Any] = {"counts": material.counts, "metrics": metrics, "breakdown": breakdown}

    def describe(path: Path, members: Sequence[Member]) -> None:
        report["members"] = [vars(member) for member in members]
        card_write(
            path,
            command=options.command,
            request=request,
            options=options,
            resolved=resolved,
            report=report,
            versions=versions_here(),
        )

    _write(folder.path / MODEL, sources, combination.recipe, digest if scales else "", describe)
    return report


def recipe_asked(options: CombineOptions, models: int) -> Recipe:
    """What options ask for that suit so many models (see `combine_problems`), without scales."""
    if options.how == "linear":
        return Recipe("linear", tuple(map(float, options.weights)) or (1.0,) * models)
    if options.how == "gated":
        return Recipe("gated", threshold=options.threshold, tag=options.tag)
    return Recipe("mean")


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


def _material(snapshot: Snapshot | None, combination: Combination, options: CombineOptions, room: int) -> Material:
    """What a snapshot has to measure on, in `room` tokens. Raises InputError where a scale cannot be measured."""
    if snapshot is None:
        return Material([], [], None, {})
    scaling: list[Group] = []
    counts: dict[str, Any] = {}
    if combination.recipe.how != "mean":
        scaling, counts["scale"] = _scaling(snapshot, combination, options.batch_size, room)
    for split in HELD_OUT:
        groups, exclusions = groups_from(snapshot, combination.tokenizer, split=split, max_length=room)
        say(f"{split}: {exclusions}")
        if groups:
            counts["held_out"] = {"split": split, "groups": len(groups), exclusions.unit: exclusions.counts()}
            return Material(scaling, groups, split, counts)
    return Material(scaling, [], None, counts)


def _scaling(snapshot: Snapshot, combination: Combination, most: int, room: int) -> tuple[list[Group], dict[str, int]]:
    """All completions of a snapshot that fit, up to `most` in a group, and how many there are."""
    items = [item_of(line, combination.tokenizer, room) for line in completions_of(snapshot)]
    groups = [item.group for item in items if item.group is not None]
    counts = {"completions": len(items), "measured": len(groups), "excluded": len(items) - len(groups)}
    say(f"The scale is measured on {len(groups)} of {len(items)} completions of the snapshot.")
    if len(groups) < 2:
        raise InputError("The scale of scores cannot be measured: fewer than two completions of the snapshot fit.")
    return together(groups, most), counts


def _completions(material: Material) -> int:
    return sum(len(group.completions) for group in [*material.scaling, *material.held_out])


@dataclass
class _Reading:
    """Has a combination read completions, batch by batch; says how many of `total` it has read, and stops if asked."""

    combination: Combination
    folder: RunFolder
    dtype: torch.dtype
    micro_tokens: int
    total: int
    done: int = 0

    @torch.inference_mode()
    def each(
        self, groups: Sequence[Group], read: Callable[[Sequence[Group], Batch], Mapping[str, Tensor]]
    ) -> list[tuple[Sequence[Group], Mapping[str, Tensor]]]:
        """What `read` makes of each batch, all (N,), with the groups that are in it."""
        found: list[tuple[Sequence[Group], Mapping[str, Tensor]]] = []
        for part, batch in self.combination.feed(self.micro_tokens).batches(groups):
            self.folder.stop_check()
            with precision(self.combination.device, self.dtype):
                found.append((part, read(part, batch)))
            self.done += sum(len(group.completions) for group in part)
            self.folder.events.append(EventLine(kind="progress", step=self.done, total=self.total, values={}))
        return found


def _scales(reading: _Reading, groups: Sequence[Group]) -> tuple[Scale, ...]:
    """The scale of each member's scores, or of what the gate lets through."""
    combination, recipe = reading.combination, reading.combination.recipe

    def read(part: Sequence[Group], batch: Batch) -> dict[str, Tensor]:
        scores = combination.member_scores(part, batch)
        rows = [recipe.gated(scores, combination.tagged(part))] if recipe.how == "gated" else scores
        return {member_name(number): row for number, row in enumerate(rows, start=1)}

    found = [rows for _, rows in reading.each(groups, read)]
    return tuple(_scale(torch.cat([rows[name] for rows in found])) for name in found[0])


def _judged(reading: _Reading, groups: Sequence[Group]) -> tuple[dict[str, float], dict[str, Any]]:
    """How often scores are right about held-out comparisons, and where; and how often those of each member are."""
    found = reading.each(groups, reading.combination.values)

    def column(name: str) -> Judged:
        return [row for part, values in found for row in rows_split(part, values[name])]

    judged = column(SCORE)
    metrics = judged_report(judged)
    spread = [value for part, values in found for value in values.get(DISAGREEMENT, torch.zeros(0)).tolist()]
    if spread:
        metrics["mean_disagreement"] = math.fsum(spread) / len(spread)
    numbers = range(1, len(reading.combination.members) + 1)
    rows = [_member_row(number, judged_report(column(member_name(number)))) for number in numbers]
    return metrics, judged_breakdown(judged) | {"by_member": [row for row in rows if row["accuracy"] is not None]}


def _member_row(number: int, metrics: Mapping[str, float]) -> dict[str, Any]:
    """How often a member is right by itself, as rows of a breakdown are."""
    ends = {"accuracy": "accuracy", "low": "accuracy_low", "high": "accuracy_high"}
    figures = {name: metrics.get(source) for name, source in ends.items()}
    return {"member": number, **figures, "comparisons": metrics["comparisons"], "prompts": metrics["prompts"]}


def _scale(scores: Tensor) -> Scale:
    values = scores.double()
    scale = Scale(float(values.mean()), float(values.std(correction=0)))
    if not (math.isfinite(scale.deviation) and scale.deviation > 0):
        raise InputError(f"The scale of scores cannot be measured: their standard deviation is {scale.deviation}.")
    return scale


def _write(
    path: Path,
    sources: Sequence[Path],
    recipe: Recipe,
    reference: str,
    describe: Callable[[Path, Sequence[Member]], object],
) -> None:
    """The folder of the combination, whole or not at all, with what `describe` writes beside the models."""
    members = []
    if path.exists():
        # A process was killed between this and the report.
        shutil.rmtree(path)
    with folder_aside(path) as aside:
        for number, source in enumerate(sources, start=1):
            place = aside / MEMBERS / str(number)
            _linked(source, place)
            members.append(Member(place.relative_to(aside).as_posix(), str(source), folder_digest(place)))
        describe(aside, members)
        json_write(aside / SCORER, recipe_json(members, recipe, reference))


def _linked(source: Path, target: Path) -> None:
    """Copy a folder: by hard links where the file system has them, since nobody writes into a published model."""
    for path in sorted(path for path in source.rglob("*") if path.is_file()):
        copy = target / path.relative_to(source)
        copy.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.link(path.resolve(), copy)
        except OSError:
            shutil.copyfile(path, copy)
