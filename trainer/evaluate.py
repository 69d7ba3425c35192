"""`python -m trainer evaluate`: what a reward model thinks of completions, or how far a policy is from its reference.

Which completions share a batch follows from the file alone, so that a run that was stopped and started again writes
the same numbers to the last bit.
"""

import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import NormalDist
from typing import Any

import numpy as np
import torch
from transformers import AutoConfig

from trainer.batches import EMPTY, TOO_LONG, Batch, Group, collate, groups_from
from trainer.config import EvaluateOptions, Options
from trainer.conversations import ConversationError, Tokenizer, completion_ids, prompt_fit, prompt_ids, tokenizer_load
from trainer.inputs import completions_read, file_digest, unchanged_check
from trainer.material import HELD_OUT
from trainer.metrics import accuracy_report
from trainer.networks import completion_logprobs, context_length, policy_load, reward_load, scores
from trainer.optimization import device_resolve, dtype_resolve, precision
from trainer.records import CompletionLine, EventLine, Request, ScoreLine, canonical
from trainer.runs import CommandError, InputError, RunFolder, say
from trainer.snapshots import snapshot_read

# What one pass over a batch says about each of its rows.
Measure = Callable[[Batch], list[dict[str, float]]]


def run(request: Request, options: Options, folder: RunFolder) -> dict[str, Any]:
    """Write a ScoreLine for each completion to `folder.outputs`; returns the report."""
    if not isinstance(options, EvaluateOptions):
        raise TypeError(f"evaluate needs EvaluateOptions, not {type(options).__name__}.")
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
        tokenizer = tokenizer_load(request["model"])
        measure, context = _measure(request, options, device)
        resolved = {"dtype": str(dtype).removeprefix("torch."), "device": device.type, "torch": torch.__version__}
        folder.config_write(request, options, resolved=resolved | {"input_sha256": digest})
        room = min(options.max_length, context) if context is not None else options.max_length
        # 2. Completions as tokens; those that cannot be used are written first
        evaluation = _Evaluation(folder, options, tokenizer, measure, device, dtype, total=len(lines))
        items = [_item(line, tokenizer, room) for line in lines]
    except ConversationError as error:
        raise InputError(str(error)) from error
    evaluation.write([ScoreLine(completion=i.completion, values={}, excluded=i.excluded) for i in items if i.excluded])
    # 3. Batches, shortest first
    evaluation.measure_all([item.group for item in items if item.group is not None])
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


@dataclass(frozen=True)
class _Item:
    """A completion as a group of its own, or why it is left out."""

    completion: int
    group: Group | None
    excluded: str = ""
    shortened: bool = False


@dataclass
class _Evaluation:
    """Measures groups batch by batch, and writes what it found to the run folder."""

    folder: RunFolder
    options: EvaluateOptions
    tokenizer: Tokenizer
    measure: Measure
    device: torch.device
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
        """Measure groups of one completion each, but for batches that are written already."""
        for batch in self._batches(groups):
            ids = [group.ids[0] for group in batch]
            if self.written.issuperset(ids):
                continue
            self.folder.stop_check()
            found = self._measured(batch)
            self.write([ScoreLine(completion=id_, values=each) for id_, each in zip(ids, found, strict=True)])

    def held_out(self, path: Path, room: int) -> dict[str, Any]:
        """How many of a snapshot's held-out comparisons the scores get right, beside the baselines."""
        snapshot = snapshot_read(path)
        report: dict[str, Any] = {}
        for split in HELD_OUT:
            groups, exclusions = groups_from(snapshot, self.tokenizer, split=split, max_length=room)
            say(f"{split}: {exclusions}")
            given: list[list[float]] = []
            for group in groups:
                self.folder.stop_check()
                given.append([each["score"] for each in self._measured([group])])
            lengths = [[len(ids) for ids in group.completions] for group in groups]
            edges = [group.edges for group in groups]
            report[split] = accuracy_report([group.prompt for group in groups], given, lengths, edges)
            report[split] |= exclusions.counts()
        return {"held_out": report}

    def _batches(self, groups: Sequence[Group]) -> Iterator[list[Group]]:
        ordered = sorted(groups, key=lambda group: (len(group.prompt_ids) + len(group.completions[0]), group.ids))
        for start in range(0, len(ordered), self.options.batch_size):
            yield ordered[start : start + self.options.batch_size]

    @torch.inference_mode()
    def _measured(self, groups: Sequence[Group]) -> list[dict[str, float]]:
        batch = collate(groups, int(self.tokenizer.pad_token_id), self.device)
        with precision(self.device, self.dtype):
            found = self.measure(batch)
        if not all(math.isfinite(value) for each in found for value in each.values()):
            raise CommandError(
                "The model's output is no number (NaN or infinite): its weights are damaged or overflow."
            )
        return found


def _request_check(request: Request, options: EvaluateOptions) -> None:
    if options.measure == "kl" and "reference" not in request:
        raise InputError("measure=kl needs a reference: the model that the policy is compared with.")
    if options.measure == "kl" and "snapshot" in request:
        raise InputError("Only a reward model is measured on a snapshot: choose measure=reward, or leave it out.")
    if "completions" not in request and "snapshot" not in request:
        raise InputError("evaluate needs a file of completions, a snapshot, or both.")


def _measure(request: Request, options: EvaluateOptions, device: torch.device) -> tuple[Measure, int | None]:
    """What measures a batch, and how many tokens it can read."""
    if options.measure == "reward":
        _reward_check(request["model"])
        reward = reward_load(request["model"], torch.float32, device)
        return lambda batch: [{"score": score} for score in scores(reward, batch).tolist()], context_length(reward)
    policy = policy_load(request["model"], torch.float32, device)
    reference = policy_load(request["reference"], torch.float32, device)
    if policy.config.vocab_size != reference.config.vocab_size:
        raise InputError(
            f"{request['model']} has {policy.config.vocab_size} tokens and {request['reference']} has "
            f"{reference.config.vocab_size}: only models with the same tokens can be compared."
        )

    def measure(batch: Batch) -> list[dict[str, float]]:
        sums, tokens = (values.tolist() for values in completion_logprobs(policy, batch))
        references = completion_logprobs(reference, batch)[0].tolist()
        rows = zip(sums, references, tokens, strict=True)
        return [{"logp": logp, "reference_logp": other, "tokens": count} for logp, other, count in rows]

    contexts = [length for model in (policy, reference) if (length := context_length(model)) is not None]
    return measure, min(contexts, default=None)


def _reward_check(model: str) -> None:
    """A language model would be given a new head, whose scores mean nothing."""
    try:
        architectures = AutoConfig.from_pretrained(model, trust_remote_code=False).architectures or []
    except (OSError, ValueError) as error:
        raise InputError(f"{model} cannot be loaded: {error}") from error
    if not any("SequenceClassification" in name for name in architectures):
        raise InputError(f"{model} is no reward model ({', '.join(architectures)}). Train one by the command reward.")


def _item(line: CompletionLine, tokenizer: Tokenizer, room: int) -> _Item:
    ids = completion_ids(tokenizer, line["text"], line.get("finish_reason") != "length")
    if not ids:
        return _Item(line["completion"], None, EMPTY)
    whole = prompt_ids(tokenizer, line["messages"])
    left = room - len(ids)
    fitted = whole if len(whole) <= left else prompt_fit(tokenizer, line["messages"], left)
    if fitted is None:
        return _Item(line["completion"], None, TOO_LONG)
    group = Group(line["completion"], fitted, [ids], [], 1.0, (line["completion"],))
    return _Item(line["completion"], group, shortened=len(fitted) < len(whole))


def _report(
    folder: RunFolder, options: EvaluateOptions, lines: Sequence[CompletionLine], items: Sequence[_Item]
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
        return _named("mean_score", ratio_interval([each["score"] for each in values], ones, clusters))
    # log π − log π_ref, whose mean is the KL divergence when the completions were drawn from π at temperature 1.
    ratios = [each["logp"] - each["reference_logp"] for each in values]
    per_token = ratio_interval(ratios, [each["tokens"] for each in values], clusters)
    return _named("kl", ratio_interval(ratios, ones, clusters)) | _named("kl_per_token", per_token)


def _named(name: str, interval: Mapping[str, float]) -> dict[str, float]:
    return {name if key == "value" else f"{name}_{key}": value for key, value in interval.items()}
