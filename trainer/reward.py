"""`python -m trainer reward`: a reward model from K-way comparisons, whole rankings, or ratings.

Each completion goes through the model once; all that was said about a prompt counts in one mean, and a step is a mean
over its prompts.
"""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
from torch.optim import AdamW
from transformers import PreTrainedModel

from trainer.aims import Aims, options_check, tie_width_start
from trainer.config import Options, RewardOptions
from trainer.data.batches import Feed
from trainer.data.groups import Exclusions, Group, answers_from, groups_from
from trainer.data.rated import questions_of, rated_groups_from
from trainer.data.snapshots import Snapshot
from trainer.loop import distributed
from trainer.loop.material import Material, Setup, material_read, max_length_resolve, resolved_write, setup_make
from trainer.loop.optimization import optimizer_build
from trainer.loop.sharding import model_shard, turns
from trainer.loop.steps import Objective, Portion
from trainer.loop.training import Judged, Training, agreement, judged_breakdown, judged_report, rows_split
from trainer.models.adapters import adapters_add, adapters_merge
from trainer.models.head_layers import head_modules, tie_width, tie_width_attach
from trainer.models.heads import Reading, heads_wanted, reading_of, reading_set
from trainer.models.networks import head_scores, prompts_share, reward_load
from trainer.records import SPLITS, Request
from trainer.runs import RunFolder, say

NO_HEAD = "no head is for the prompt's tags"
TIE_RATE = 0.01
"""Greatest learning rate of the width of ties: one number on the scale of scores, not a weight among millions."""


def run(request: Request, options: Options, folder: RunFolder) -> dict[str, Any]:
    """Train, or go on training, and write `model`; returns the report."""
    if not isinstance(options, RewardOptions):
        raise TypeError(f"reward needs RewardOptions, not {type(options).__name__}.")
    options_check(options)
    setup = setup_make(request, options, folder)
    if options.weights == "equal":
        setup = replace(setup, snapshot=_equal(setup.snapshot))
    heads = heads_wanted(options, questions_of(setup.snapshot, "train"))
    model = reward_load(
        request["model"], torch.float32, setup.device, seed=options.seed, heads=heads, pooling=options.pooling
    )
    max_length = max_length_resolve(options, model)
    aims = Aims(options, reading_of(model.config))
    material = _material(setup, aims, max_length)
    resolved_write(request, options, folder, setup, max_length=max_length, split=material.split)
    adapters_add(model, options, folder, whole=head_modules(model))
    feed = setup.feed(options, shared=prompts_share(model, options.share_prompts))
    model_shard(model, options, head_scores)
    judge = _Judge(model, aims, setup, feed)
    training = Training(
        folder=folder,
        options=options,
        model=model,
        tokenizer=setup.tokenizer,
        optimizer=_optimizer(model, options, material.train),
        groups=material.train,
        feed=feed,
        size=aims.size,
        evaluate=lambda: judge.measure(material.held_out)[0],
        held_out=bool(material.held_out),
    )
    for step in training.steps():
        totals = aims.totals(step.groups)

        def objective(portion: Portion, totals: dict[str, float] = totals) -> Objective:
            batch, width = portion.batch, tie_width(model)
            with setup.precision():
                values = head_scores(model, batch.tokens)
            shares = aims.shares(aims.parts(values, portion.groups, batch, width), totals)
            sums = {"tokens": torch.tensor(float(batch.tokens.input_ids.numel()))}
            if len(totals) > 1:
                sums |= {f"{name}_loss": share for name, share in shares.items()}
            # What the portion adds to the step is not always its share of it: prompts count otherwise in each part.
            loss = aims.combined(shares) / portion.share
            means = {"tie_width": width} if width is not None else {}
            return Objective(loss, means, sums | agreement(aims.reading.chosen(values, portion.groups), batch.edges))

        step.accumulate(objective)
        training.update(step)
    adapters_merge(model)
    _zero_set(judge, options, material, max_length)
    found = {"breakdown": judge.breakdown(material), "reading": asdict(reading_of(model.config))}
    return training.publish({"counts": material.counts} | found)


@dataclass(frozen=True)
class _Judge:
    """What a model says of prompts that it does not learn from."""

    model: PreTrainedModel
    aims: Aims
    setup: Setup
    feed: Feed

    @torch.no_grad()
    def measure(self, groups: Sequence[Group]) -> tuple[dict[str, float], Judged]:
        """Loss and accuracy beside the baselines, and the scores of all completions; the same in every process."""
        totals = self.aims.totals(groups)
        mine: Judged = []
        losses = dict.fromkeys(totals, 0.0)
        for part, batch in turns(self.model, self.feed, distributed.own(groups)):
            with self.setup.precision():
                values = head_scores(self.model, batch.tokens)
            for name, found in self.aims.parts(values, part, batch, tie_width(self.model)).items():
                losses[name] += float(found.loss) * found.size
            mine += rows_split(part, self.aims.reading.chosen(values, part))
        means = {name: distributed.summed(loss) / (totals[name] or 1.0) for name, loss in losses.items()}
        judged = distributed.gathered(mine, groups)
        measured = {"loss": math.fsum(self.aims.weights[name] * mean for name, mean in means.items())}
        if len(means) > 1:
            measured |= {f"{name}_loss": mean for name, mean in means.items()}
        return measured | judged_report(judged), judged

    def breakdown(self, material: Material) -> dict[str, Any]:
        """Where the accuracy on held-out comparisons comes from."""
        if material.split is None:
            return {}
        return judged_breakdown(self.measure(material.held_out)[1])

    @torch.no_grad()
    def mean(self, groups: Sequence[Group], head: int) -> float:
        """The mean of a head's raw values over all completions of groups."""
        total = 0.0
        for _, batch in turns(self.model, self.feed, distributed.own(groups)):
            with self.setup.precision():
                total += float(head_scores(self.model, batch.tokens)[:, head].double().sum())
        return distributed.summed(total) / sum(len(group.completions) for group in groups)


def _material(setup: Setup, aims: Aims, max_length: int) -> Material:
    """The groups that teach something under these options; what no head is for is counted among what is left out."""
    options, rated = aims.options, aims.options.loss == "likert"
    source = rated_groups_from if rated else groups_from
    served, others = _divided(setup.snapshot, aims.reading)

    def read(split: str) -> tuple[list[Group], Exclusions]:
        groups, excluded = source(served, setup.tokenizer, split=split, max_length=max_length)
        here = {id_ for id_, prompt in others.prompts.items() if prompt["split"] == split}
        completions = {row["completion"] for row in others.ratings if row["prompt"] in here}
        if number := len(completions) if rated else sum(row["prompt"] in here for row in others.comparisons):
            excluded.found += number
            excluded.add(NO_HEAD, number)
        return groups, excluded

    pairs = options.loss == "bradley_terry" and len(aims.weights) == 1
    unit = "rated completions" if rated else "comparisons"
    return material_read(read, unit=unit, ties_policy=options.ties if pairs else None, size=aims.size)


def _divided(snapshot: Snapshot, reading: Reading) -> tuple[Snapshot, Snapshot]:
    """What was said of prompts that a head is for, and the rest."""
    served = {id_ for id_, prompt in snapshot.prompts.items() if reading.head_for(prompt["tags"]) is not None}
    parts = [
        replace(
            snapshot,
            comparisons=[row for row in snapshot.comparisons if (row["prompt"] in served) == wanted],
            ratings=[row for row in snapshot.ratings if (row["prompt"] in served) == wanted],
        )
        for wanted in (True, False)
    ]
    return parts[0], parts[1]


def _optimizer(model: PreTrainedModel, options: RewardOptions, groups: Sequence[Group]) -> AdamW:
    """The optimizer of all that learns, the width of ties among it where it is to be learned."""
    optimizer = optimizer_build(model, options, head=head_modules(model), head_rate=options.head_rate)
    if options.ties == "rao_kupper":
        known = reading_of(model.config).tie_width
        raw = tie_width_attach(model, known if known is not None else tie_width_start(groups))
        scale = max(options.head_rate, TIE_RATE / options.learning_rate) if options.learning_rate else 1.0
        optimizer.add_param_group({"params": [raw], "weight_decay": 0.0, "rate_scale": scale})
    return optimizer


def _zero_set(judge: _Judge, options: RewardOptions, material: Material, max_length: int) -> None:
    """Write into the model's configuration what to take from each score, so that the mean is zero where it should be:
    over demonstrations, or over held-out completions where there are none, each head over the prompts that it is for.
    """
    reading, setup = reading_of(judge.model.config), judge.setup
    if options.zero_at == "none":
        return
    written = _demonstrations(setup, max_length) if options.zero_at == "demonstrations" else []
    shift = list(reading.shift)
    for number, head in enumerate(reading.scoring):
        for name, groups in (("demonstrations", written), ("held-out completions", material.held_out)):
            if served := [group for group in groups if reading.head_for(group.tags) == number]:
                shift[number] = judge.mean(served, number)
                say(f"{head.name}: {len(served)} prompts' {name} scored {shift[number]:.4g} and score 0 from now on.")
                break
        else:
            say(f"{head.name}: there is nothing whose mean could be made zero; scores stay as they are.")
    reading_set(judge.model.config, replace(reading, shift=tuple(shift)))


def _demonstrations(setup: Setup, max_length: int) -> list[Group]:
    """The demonstrations of all splits, as groups of one completion with their prompt's tags."""
    found = [
        group
        for split in SPLITS
        for group in answers_from(
            setup.snapshot, setup.tokenizer, split=split, max_length=max_length, answers="demonstrations"
        )[0]
    ]
    return [replace(group, tags=tuple(setup.snapshot.prompts[group.prompt]["tags"])) for group in found]


def _equal(snapshot: Snapshot) -> Snapshot:
    """A snapshot in which every comparison that counts weighs 1, and so does each of its edges."""
    rows = [row.copy() for row in snapshot.comparisons]
    for row in rows:
        row["weight"] = float(row["weight"] > 0)
        row["edges"] = [{**edge, "weight": float(edge["weight"] > 0)} for edge in row["edges"]]
    return replace(snapshot, comparisons=rows)
