"""`python -m trainer evaluate --measure critique`: how often the verdicts of a model that writes critiques are right.

Of each group of held-out completions it writes two critiques, greedily: with the completions in an order that is
drawn, and in the reverse, since a judge may like what stands first. The mean of both verdicts is measured as the
scores of a reward model are.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from trainer.config import EvaluateOptions, SampleOptions
from trainer.critiques.critique import TOO_MANY, critique_prompt, order_drawn
from trainer.critiques.verdicts import LETTERS, Tiers, agreement, verdict_read, verdict_scores
from trainer.data.conversations import ConversationError, Tokenizer, end_id, tokenizer_load
from trainer.data.groups import REFUSED, TOO_LONG, Exclusions, Group, groups_from
from trainer.data.snapshots import Snapshot, snapshot_read
from trainer.loop.material import HELD_OUT
from trainer.loop.optimization import device_resolve, dtype_resolve
from trainer.models.networks import context_length, policy_load
from trainer.records import CritiqueLine, EventLine, Request
from trainer.reports.metrics import accuracy_breakdown, accuracy_report
from trainer.runs import InputError, RunFolder, say
from trainer.sampling.engine import Sampled, SampleRequest
from trainer.sampling.transformers_engine import TransformersEngine, stop_ids_of

CRITIQUE_TOKENS = 256
"""The longest critique, in tokens; never more than half of what the model can read."""
PROBABILITIES = ("log_loss", "ece", "calibration")
"""Figures about σ of a difference of scores, which ranks say nothing about."""


@dataclass(frozen=True)
class Case:
    """A group of completions to judge, and both ways to show them: ids in the order of their letters, and prompts."""

    group: Group
    orders: tuple[tuple[int, ...], ...]
    prompts: tuple[list[int], ...]


@dataclass
class Cases:
    """What is judged of a split, and how many groups are not, by cause."""

    split: str
    exclusions: Exclusions
    cases: list[Case] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)
    shortened: int = 0


# Verdicts by prompt and order of the completions; places in that order. None where it cannot be read.
Verdicts = dict[tuple[int, tuple[int, ...]], Tiers | None]


def run(request: Request, options: EvaluateOptions, folder: RunFolder) -> dict[str, Any]:
    """Write a CritiqueLine for each critique to `folder.outputs`; returns the report.

    A run that was stopped and started again writes those that are not there yet. Raises InputError.
    """
    snapshot = _snapshot(request, folder)
    device = device_resolve()
    dtype = dtype_resolve(options.dtype, device)
    try:
        tokenizer = tokenizer_load(request["model"])
    except ConversationError as error:
        raise InputError(str(error)) from error
    model = policy_load(request["model"], dtype, device)
    ends = stop_ids_of(model, tokenizer) | {token for token in [end_id(tokenizer)] if token is not None}
    room = min(options.max_length, context_length(model) or options.max_length)
    most = min(CRITIQUE_TOKENS, room // 2)
    settings = SampleOptions(n=1, temperature=0.0, max_tokens=most, batch_size=options.batch_size, dtype=options.dtype)
    engine = TransformersEngine(model, tokenizer, settings, ends)
    resolved = {"dtype": str(dtype).removeprefix("torch."), "device": device.type, "torch": torch.__version__}
    folder.config_write(request, options, resolved=resolved | {"snapshot": snapshot.manifest["digest"]})
    splits = [cases_read(snapshot, tokenizer, split, room=room, most=most) for split in HELD_OUT]
    _critiques_write([case for of_one in splits for case in of_one.cases], engine, folder)
    folder.stop_check()
    verdicts, counts = _verdicts(folder)
    return {
        "counts": counts,
        "metrics": {},
        "held_out": {of_one.split: judged_report(of_one, verdicts) for of_one in splits},
    }


def cases_read(snapshot: Snapshot, tokenizer: Tokenizer, split: str, *, room: int, most: int) -> Cases:
    """The groups of a split that can be judged in `room` tokens, of which the critique may take `most`."""
    groups, exclusions = groups_from(snapshot, tokenizer, split=split, max_length=room)
    found = Cases(split, exclusions)
    for group in groups:
        case = _case(snapshot, tokenizer, group, room - most, found)
        if isinstance(case, str):
            found.left_out[case] += 1
        else:
            found.cases.append(case)
    left_out = "".join(f" {number} groups left out: {cause}." for cause, number in sorted(found.left_out.items()))
    say(f"{split}: {exclusions}{left_out}")
    return found


def judged_scores(case: Case, verdicts: Verdicts) -> tuple[list[list[float]], list[Tiers | None]]:
    """For each order of a case the scores that its verdict gives the completions of the group, and the verdict.

    Verdicts are as `verdict_read` has them, by places of their own order.
    """
    read = [verdicts[case.group.prompt, order] for order in case.orders]
    scores = []
    for order, tiers in zip(case.orders, read, strict=True):
        by_id = dict(zip(order, verdict_scores(tiers, len(order)), strict=True))
        scores.append([by_id[id_] for id_ in case.group.ids])
    return scores, read


def places_report(cases: Sequence[Case], verdicts: Verdicts) -> dict[str, float]:
    """What the verdicts owe to places.

    unreadable: share of the critiques without a verdict that can be read. consistency: where both verdicts of a group
    can be read, the share of its pairs about which both say the same, mean over groups. first_place: how often the
    completion with the letter A is ranked first, where completions that share the place share it; first_place_fair:
    what that is where letters do not matter.
    """
    said = [(case, order, verdicts[case.group.prompt, order]) for case in cases for order in case.orders]
    read = [(len(order), tiers) for _, order, tiers in said if tiers is not None]
    report = {"critiques": float(len(said)), "unreadable": (len(said) - len(read)) / len(said)} if said else {}
    if read:
        report["first_place"] = sum((0 in tiers[0]) / len(tiers[0]) for _, tiers in read) / len(read)
        report["first_place_fair"] = sum(1 / k for k, _ in read) / len(read)
    agreed = [found for case in cases if (found := _consistency(case, verdicts)) is not None]
    return report | ({"consistency": sum(agreed) / len(agreed)} if agreed else {})


def _snapshot(request: Request, folder: RunFolder) -> Snapshot:
    if "snapshot" not in request or "completions" in request or "reference" in request:
        raise InputError("measure=critique judges the held-out comparisons of a snapshot, and needs that alone.")
    snapshot = snapshot_read(Path(request["snapshot"]))
    began, now = folder.resolved.get("snapshot"), snapshot.manifest["digest"]
    if began not in (None, now):
        raise InputError(
            f"This run began with snapshot {began}, and {request['snapshot']} is {now} now. "
            "Put the old one back, or choose another --output."
        )
    return snapshot


def _case(snapshot: Snapshot, tokenizer: Tokenizer, group: Group, room: int, found: Cases) -> Case | str:
    """A group with its prompts, or the cause to leave it out."""
    if len(group.ids) > len(LETTERS):
        return TOO_MANY
    messages, drawn = snapshot.prompts[group.prompt]["messages"], order_drawn(group.prompt, group.ids)
    orders, prompts, cut = (tuple(drawn), tuple(reversed(drawn))), [], False
    for order in orders:
        try:
            fitted = critique_prompt(tokenizer, messages, [snapshot.completions[id_]["text"] for id_ in order], room)
        except ConversationError:
            return REFUSED
        if fitted is None:
            return TOO_LONG
        prompts.append(fitted[0])
        cut |= fitted[1]
    found.shortened += cut
    return Case(group, orders, tuple(prompts))


def _critiques_write(cases: Sequence[Case], engine: TransformersEngine, folder: RunFolder) -> None:
    """Write what is not written yet, as it is done."""
    written = {(line["prompt"], tuple(line["completions"])) for line in folder.outputs.lines()}
    total, asked = 2 * len(cases), []
    for number, case in enumerate(cases):
        for index, (order, prompt) in enumerate(zip(case.orders, case.prompts, strict=True)):
            if (case.group.prompt, order) not in written:
                asked.append(SampleRequest(number, index, tuple(prompt)))
    done = total - len(asked)
    say(f"{total} critiques of {len(cases)} groups; {done} are there already.")

    def take(sampled: Sampled) -> None:
        nonlocal done
        case = cases[sampled.request.prompt]
        order = case.orders[sampled.request.index]
        tiers = verdict_read(sampled.text, len(order))
        line = CritiqueLine(
            prompt=case.group.prompt,
            completions=list(order),
            text=sampled.text,
            finish_reason=sampled.finish_reason,
            tiers=None if tiers is None else [[order[place] for place in tier] for tier in tiers],
        )
        folder.outputs.append(line)
        done += 1
        values = {"tokens": float(len(sampled.ids))}
        folder.events.append(EventLine(kind="progress", step=done, total=total, values=values))

    engine.sample(asked, take, lambda: folder.stop_requested)


def _verdicts(folder: RunFolder) -> tuple[Verdicts, dict[str, int]]:
    """All verdicts that were written, and how many critiques there are, ended by themselves, and cannot be read."""
    verdicts: Verdicts = {}
    counts = {"critiques": 0, "finished": 0, "unreadable": 0}
    for line in folder.outputs.lines():
        order = tuple(line["completions"])
        tiers = line["tiers"]
        verdicts[line["prompt"], order] = tiers and [[order.index(id_) for id_ in tier] for tier in tiers]
        counts["critiques"] += 1
        counts["finished"] += line["finish_reason"] == "stop"
        counts["unreadable"] += tiers is None
    return verdicts, counts


def judged_report(found: Cases, verdicts: Verdicts) -> dict[str, Any]:
    """The figures of a split: of both verdicts together, of each order alone, and of what places do."""
    groups = [case.group for case in found.cases]
    prompts, edges = [group.prompt for group in groups], [group.edges for group in groups]
    lengths = [[len(ids) for ids in group.completions] for group in groups]
    both = [judged_scores(case, verdicts)[0] for case in found.cases]
    together = [[sum(values) / len(values) for values in zip(*scores, strict=True)] for scores in both]
    report: dict[str, Any] = dict(accuracy_report(prompts, together, lengths, edges))
    for name, order in (("accuracy_drawn_order", 0), ("accuracy_reversed_order", 1)):
        alone = accuracy_report(prompts, [scores[order] for scores in both], lengths, edges)
        report |= {name: alone["accuracy"]} if "accuracy" in alone else {}
    report |= places_report(found.cases, verdicts) | accuracy_breakdown(prompts, together, lengths, edges)
    report = {name: value for name, value in report.items() if name not in PROBABILITIES}
    causes = {f"groups left out: {cause}": number for cause, number in sorted(found.left_out.items())}
    return report | found.exclusions.counts() | causes | {"conversations_shortened": found.shortened}


def _consistency(case: Case, verdicts: Verdicts) -> float | None:
    """The share of a group's pairs about which both verdicts say the same; None where one cannot be read."""
    (first, second), (one, other) = case.orders, [verdicts[case.group.prompt, order] for order in case.orders]
    if one is None or other is None:
        return None
    turned = [[first.index(second[place]) for place in tier] for tier in other]
    return agreement(one, turned, len(first))
