"""`python -m trainer evaluate`: what a reward model thinks of completions, or how far a policy is from its reference.

Which completions share a batch follows from the file alone, so that a run that was stopped and started again writes
the same numbers to the last bit.
"""

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import NormalDist
from typing import Any

import numpy as np
import torch
from torch import Tensor

from trainer.config import EvaluateOptions, Options
from trainer.critiques import judging
from trainer.data.batches import Batch, Feed
from trainer.data.completions import Item, item_of, together
from trainer.data.conversations import ConversationError, Tokenizer, tokenizer_load
from trainer.data.groups import Group, groups_from
from trainer.data.inputs import completions_read, file_digest, unchanged_check
from trainer.data.snapshots import snapshot_read
from trainer.loop.material import HELD_OUT
from trainer.loop.optimization import device_resolve, dtype_resolve, precision
from trainer.models.heads import DISAGREEMENT
from trainer.models.networks import completion_logprobs, context_length, policy_load, prompts_share
from trainer.models.scorers import SCORE, scorer_load
from trainer.records import CompletionLine, EventLine, Request, ScoreLine, canonical
from trainer.reports.metrics import accuracy_breakdown, accuracy_report
from trainer.runs import CommandError, InputError, RunFolder, say


@dataclass(frozen=True)
class Measure:
    """What measures completions: `values` of groups and their batch, each (N,), by name.

    `context` is the most tokens that it reads, None where it does not say; `shared` whether it reads a prompt once for
    all its completions.
    """

    values: Callable[[Sequence[Group], Batch], dict[str, Tensor]]
    tokenizer: Tokenizer
    context: int | None
    shared: bool


def run(request: Request, options: Options, folder: RunFolder) -> dict[str, Any]:
    """Write a ScoreLine for each completion to `folder.outputs`; returns the report."""
    if not isinstance(options, EvaluateOptions):
        raise TypeError(f"evaluate needs EvaluateOptions, not {type(options).__name__}.")
    if options.measure == "critique":
        return judging.run(request, options, folder)
    # 1. What to measure, and by what
    _request_check(request, options)
    path = Path(request["completions"]) if "completions" in request else None
    lines = completions_read(path) if path else []
    digest = file_digest(path) if path else ""
    if path:
        unchanged_check(folder, digest, path)
    device = device_resolve()
    dtype = dtype_resolve(options.dtype, device)
    try:
        measure = _measure(request, options, device)
        resolved = {"dtype": str(dtype).removeprefix("torch."), "device": device.type, "torch": torch.__version__}
        folder.config_write(request, options, resolved=resolved | {"input_sha256": digest})
        room = min(options.max_length, measure.context) if measure.context is not None else options.max_length
        # 2. Completions as tokens; those that cannot be used are written first
        items = [item_of(line, measure.tokenizer, room) for line in lines]
    except ConversationError as error:
        raise InputError(str(error)) from error
    feed = Feed(int(measure.tokenizer.pad_token_id), device, options.batch_size * room, measure.shared)
    evaluation = _Evaluation(folder, measure, feed, dtype, total=len(lines))
    evaluation.write([ScoreLine(completion=i.completion, values={}, excluded=i.excluded) for i in items if i.excluded])
    # 3. Batches, shortest first
    groups = [item.group for item in items if item.group is not None]
    evaluation.measure_all(together(groups, options.batch_size))
    # 4. Held-out comparisons
    held_out = evaluation.held_out(Path(request["snapshot"]), room) if "snapshot" in request else {}
    return _report(folder, options, lines, items) | held_out


def ratio_interval(
    sums: Sequence[float], counts: Sequence[float], clusters: Sequence[object], *, confidence: float = 0.95
) -> dict[str, float]:
    """Σ sums / Σ counts with a normal interval, for rows of which those of one cluster are not independent.

    The variance is that of a ratio of sums over clusters (Cochran 1977, equation 6.13, without the correction for
    finite populations). No interval with fewer than two clusters, nothing at all without rows.
    """
    if not sums:
        return {}
    numbers = {cluster: number for number, cluster in enumerate(dict.fromkeys(clusters))}
    place = [numbers[cluster] for cluster in clusters]
    above = np.bincount(place, np.asarray(sums, dtype=np.float64))
    below = np.bincount(place, np.asarray(counts, dtype=np.float64))
    value = float(above.sum() / below.sum())
    if len(numbers) < 2:
        return {"value": value}
    spread = len(numbers) / (len(numbers) - 1) * float(((above - value * below) ** 2).sum())
    half = NormalDist().inv_cdf((1 + confidence) / 2) * math.sqrt(spread) / float(below.sum())
    return {"value": value, "low": value - half, "high": value + half}


@dataclass
class _Evaluation:
    """Measures groups batch by batch, and writes what it found to the run folder."""

    folder: RunFolder
    measure: Measure
    feed: Feed
    dtype: torch.dtype
    total: int

    def __post_init__(self) -> None:
        self.written = {line["completion"] for line in self.folder.outputs.lines()}

    def write(self, lines: Sequence[ScoreLine]) -> None:
        """Append the lines that are not there yet, and then how far the run is."""
        new = [line for line in lines if line["completion"] not in self.written]
        for line in new:
            self.folder.outputs.append(line)
        if new:
            self.folder.outputs.sync()
            self.written |= {line["completion"] for line in new}
            self.folder.events.append(EventLine(kind="progress", step=len(self.written), total=self.total, values={}))

    def measure_all(self, groups: Sequence[Group]) -> None:
        """Measure groups of completions, but for batches that are written already."""
        for part, batch in self.feed.batches(groups):
            ids = [id_ for group in part for id_ in group.ids]
            if self.written.issuperset(ids):
                continue
            self.folder.stop_check()
            found = [values for of_group in self._measured(part, batch) for values in of_group]
            self.write([ScoreLine(completion=id_, values=each) for id_, each in zip(ids, found, strict=True)])

    def held_out(self, path: Path, room: int) -> dict[str, Any]:
        """How many of a snapshot's held-out comparisons the scores get right, beside the baselines, and where."""
        snapshot = snapshot_read(path)
        report: dict[str, Any] = {}
        for split in HELD_OUT:
            groups, exclusions = groups_from(snapshot, self.measure.tokenizer, split=split, max_length=room)
            say(f"{split}: {exclusions}")
            judged: list[tuple[Group, list[dict[str, float]]]] = []
            for part, batch in self.feed.batches(groups):
                self.folder.stop_check()
                judged += zip(part, self._measured(part, batch), strict=True)
            judged.sort(key=lambda pair: (pair[0].prompt, pair[0].ids))
            said = _said(judged)
            report[split] = {**accuracy_report(*said), **accuracy_breakdown(*said), **exclusions.counts()}
            spread = [each[DISAGREEMENT] for _, values in judged for each in values if DISAGREEMENT in each]
            if spread:
                report[split]["mean_disagreement"] = math.fsum(spread) / len(spread)
        return {"held_out": report}

    @torch.inference_mode()
    def _measured(self, groups: Sequence[Group], batch: Batch) -> list[list[dict[str, float]]]:
        """The values of each completion of each group."""
        with precision(self.feed.device, self.dtype):
            columns = {name: values.tolist() for name, values in self.measure.values(groups, batch).items()}
        found = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
        if not all(math.isfinite(value) for each in found for value in each.values()):
            raise CommandError(
                "The model's output is no number (NaN or infinite): its weights are damaged or overflow."
            )
        rows = iter(found)
        return [[next(rows) for _ in group.completions] for group in groups]


def _said(
    judged: Sequence[tuple[Group, list[dict[str, float]]]],
) -> tuple[list[int], list[list[float]], list[list[int]], list[list[Any]]]:
    """Prompts, scores, lengths and what was said, by group, as reports take them."""
    groups = [group for group, _ in judged]
    return (
        [group.prompt for group in groups],
        [[each[SCORE] for each in values] for _, values in judged],
        [[len(ids) for ids in group.completions] for group in groups],
        [list(group.edges) for group in groups],
    )


def _request_check(request: Request, options: EvaluateOptions) -> None:
    if options.measure == "kl" and "reference" not in request:
        raise InputError("measure=kl needs a reference: the model that the policy is compared with.")
    if options.measure == "kl" and "snapshot" in request:
        raise InputError("Only a reward model is measured on a snapshot: choose measure=reward, or leave it out.")
    if "completions" not in request and "snapshot" not in request:
        raise InputError("evaluate needs a file of completions, a snapshot, or both.")


def _measure(request: Request, options: EvaluateOptions, device: torch.device) -> Measure:
    """What measures completions as asked."""
    if options.measure == "reward":
        scorer = scorer_load(request["model"], device)
        return Measure(scorer.values, scorer.tokenizer, scorer.context, scorer.shared)
    policy = policy_load(request["model"], torch.float32, device)
    reference = policy_load(request["reference"], torch.float32, device)
    if policy.config.vocab_size != reference.config.vocab_size:
        raise InputError(
            f"{request['model']} has {policy.config.vocab_size} tokens and {request['reference']} has "
            f"{reference.config.vocab_size}: only models with the same tokens can be compared."
        )

    def values(groups: Sequence[Group], batch: Batch) -> dict[str, Tensor]:
        sums, counts = completion_logprobs(policy, batch.tokens)
        return {"logp": sums, "reference_logp": completion_logprobs(reference, batch.tokens)[0], "tokens": counts}

    contexts = [length for model in (policy, reference) if (length := context_length(model)) is not None]
    shared = all(prompts_share(model, "auto") for model in (policy, reference))
    return Measure(values, tokenizer_load(request["model"]), min(contexts, default=None), shared)


def _report(
    folder: RunFolder, options: EvaluateOptions, lines: Sequence[CompletionLine], items: Sequence[Item]
) -> dict[str, Any]:
    causes = Counter(item.excluded for item in items if item.excluded)
    counts = {"completions": len(lines), "measured": len(lines) - causes.total(), "excluded": causes.total()}
    counts["prompts_cut"] = sum(item.shortened for item in items)
    counts |= {f"left out: {cause}": number for cause, number in sorted(causes.items())}
    for cause, number in sorted(causes.items()):
        say(f"{number} of {len(lines)} completions left out: {cause}.")
    prompt_of = {line["completion"]: canonical(line["messages"]) for line in lines}
    found = [line for line in folder.outputs.lines() if "excluded" not in line]
    clusters = [prompt_of[line["completion"]] for line in found]
    metrics = _metrics([line["values"] for line in found], clusters, options)
    return {"counts": counts, "metrics": metrics}


def _metrics(
    values: Sequence[Mapping[str, float]], clusters: Sequence[bytes], options: EvaluateOptions
) -> dict[str, float]:
    ones = [1.0] * len(values)
    if options.measure == "reward":
        metrics = _named("mean_score", ratio_interval([each[SCORE] for each in values], ones, clusters))
        if values and DISAGREEMENT in values[0]:
            spread = [each[DISAGREEMENT] for each in values]
            metrics |= _named("mean_disagreement", ratio_interval(spread, ones, clusters))
        return metrics
    # log π − log π_ref, whose mean is the KL divergence when the completions were drawn from π at temperature 1.
    ratios = [each["logp"] - each["reference_logp"] for each in values]
    per_token = ratio_interval(ratios, [each["tokens"] for each in values], clusters)
    return _named("kl", ratio_interval(ratios, ones, clusters)) | _named("kl_per_token", per_token)


def _named(name: str, interval: Mapping[str, float]) -> dict[str, float]:
    return {name if key == "value" else f"{name}_{key}": value for key, value in interval.items()}
