"""`python -m trainer preference`: a policy from K-way comparisons, without a reward model.

Each completion goes through the policy once; all that was said about a prompt counts in one mean, and a step is a mean
over its prompts (KTO: over its completions). What the reference says is computed once, before training.

The reference is the starting model, or the one that is named; nothing; or, with `held_to=sft`, a copy of the starting
model that learned the preferred completions, from which the policy then starts as well: as Rafailov et al. 2023 do it
where no supervised model wrote the completions (section 4).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from trainer.config import Options, PreferenceOptions
from trainer.data.batches import Batch, Feed
from trainer.data.groups import Exclusions, Group, groups_from
from trainer.goals import Goal, Said
from trainer.kto import Labels, Pairs, balance_say, labeled_from, pairs_make
from trainer.loop import distributed
from trainer.loop.material import Material, Setup, material_read, max_length_resolve, resolved_write, setup_make
from trainer.loop.optimization import optimizer_build
from trainer.loop.references import References, references_make
from trainer.loop.sharding import model_shard, turns
from trainer.loop.steps import Objective, Portion
from trainer.loop.training import Judged, Training, judged_breakdown, judged_report, rows_split, shares
from trainer.losses import EDGE_LOSSES, kto_baseline
from trainer.models.adapters import adapters_add
from trainer.models.networks import completion_logprobs, policy_load, prompts_share, token_logprobs
from trainer.records import MODEL, Request
from trainer.runs import InputError, RunFolder, say
from trainer.stages import PREFERRED_STAGE, preferred_learned


def run(request: Request, options: Options, folder: RunFolder) -> dict[str, Any]:
    """Train, or go on training, and write `model`; returns the report."""
    if not isinstance(options, PreferenceOptions):
        raise TypeError(f"preference needs PreferenceOptions, not {type(options).__name__}.")
    options_check(request, options)
    setup = setup_make(request, options, folder)
    start = preferred_learned(request, options, folder) if options.held_to == "sft" else request["model"]
    model = policy_load(start, torch.float32, setup.device)
    max_length = max_length_resolve(options, model)
    goal = Goal(options, Labels() if options.loss == "kto" else None)
    material = _material(setup, goal, max_length)
    resolved_write(request, options, folder, setup, max_length=max_length, split=material.split)
    adapters_add(model, options, folder)
    feed = setup.feed(options, shared=prompts_share(model, options.share_prompts))
    pairs = _pairs(goal, material, max_length)
    references = None
    if goal.has_reference:
        references = references_make(
            model,
            feed,
            [*material.train, *material.held_out, *pairs.values()],
            setup=setup,
            folder=folder,
            options=options,
            max_length=max_length,
            named=request.get("reference"),
        )
    model_shard(model, options, token_logprobs)
    policy = Policy(model, goal, references, pairs, setup, feed)
    training = Training(
        folder=folder,
        options=options,
        model=model,
        tokenizer=setup.tokenizer,
        optimizer=optimizer_build(model, options),
        groups=material.train,
        feed=feed,
        size=goal.size,
        evaluate=lambda: policy.measure(material.held_out)[0],
        held_out=bool(material.held_out),
    )
    for step in training.steps():
        z0 = policy.baseline(step.groups)

        def objective(portion: Portion, z0: Tensor = z0) -> Objective:
            said = policy.said(portion.groups, portion.batch)
            return goal.objective(said, portion.groups, portion.batch, z0)

        step.accumulate(objective)
        training.update(step)
    described = reference_described(request, goal, references)
    found = {"breakdown": policy.breakdown(material), "reference": described}
    return training.publish({"counts": material.counts} | found)


@dataclass(frozen=True)
class Policy:
    """A policy that learns: what it says beside its reference, of prompts to learn from and of others.

    `pairs` are the mismatched pairs of KTO, by the group whose prompt each has.
    """

    model: PreTrainedModel
    goal: Goal
    references: References | None
    pairs: Pairs
    setup: Setup
    feed: Feed

    def said(self, groups: Sequence[Group], batch: Batch) -> Said:
        """Log-probabilities of a batch's completions."""
        with self.setup.precision():
            sums, counts = completion_logprobs(self.model, batch.tokens)
        return Said(sums, counts, None if self.references is None else self.references.sums(groups, sums.device))

    @torch.no_grad()
    def baseline(self, groups: Sequence[Group]) -> Tensor:
        """KTO's z0 for the prompts of a step, a scalar: the mean log-ratio of their mismatched pairs, at least 0."""
        if self.references is None or not self.pairs:
            # Without a reference every log-ratio is a log-probability, and none of them is above 0.
            return torch.zeros(())
        mine = [pair for group in distributed.own(groups) if (pair := self.pairs.get((group.prompt, group.ids)))]
        ratios: list[float] = []
        for part, batch in turns(self.model, self.feed, mine):
            said = self.said(part, batch)
            ratios += (said.logps - self.references.sums(part, said.logps.device)).tolist()
        return kto_baseline(torch.tensor([ratio for of_one in distributed.exchange(ratios) for ratio in of_one]))

    @torch.no_grad()
    def measure(self, groups: Sequence[Group]) -> tuple[dict[str, float], Judged]:
        """Loss, accuracy beside the baselines, and what else a goal measures; and the implicit rewards of all
        completions. The same in every process.
        """
        z0 = self.baseline(groups)
        mine: Judged = []
        sums: dict[str, list[float]] = {}
        total = math.fsum(map(self.goal.size, groups))
        for part, batch in turns(self.model, self.feed, distributed.own(groups)):
            said = self.said(part, batch)
            found, size = self.goal.objective(said, part, batch, z0), math.fsum(map(self.goal.size, part))
            values = {name: float(value) * size / total for name, value in found.means.items()}
            for name, value in (values | {name: float(value) for name, value in found.sums.items()}).items():
                sums.setdefault(name, []).append(value)
            mine += rows_split(part, self.goal.rewards(said))
        told = distributed.exchange({name: math.fsum(values) for name, values in sums.items()})
        names = {name: None for of_one in told for name in of_one}
        measured = shares({name: math.fsum(of_one.get(name, 0.0) for of_one in told) for name in names})
        if {"chosen_reward", "rejected_reward"} <= measured.keys():
            measured["margin"] = measured["chosen_reward"] - measured["rejected_reward"]
        judged = distributed.gathered(mine, groups)
        return measured | judged_report(judged), judged

    def breakdown(self, material: Material) -> dict[str, Any]:
        """Where the accuracy on held-out comparisons comes from."""
        if material.split is None:
            return {}
        return judged_breakdown(self.measure(material.held_out)[1])


def options_check(request: Request, options: PreferenceOptions) -> None:
    """Raise InputError for options that contradict each other, or the reference that is named."""
    if options.ties != "drop" and options.loss not in EDGE_LOSSES:
        raise InputError(f"ties={options.ties} is about pairs; with loss={options.loss}, choose ties=drop.")
    if "reference" not in request:
        return
    if options.held_to != "start":
        raise InputError(
            f"held_to={options.held_to} leaves no room for the reference that is named, {request['reference']}. "
            "Choose held_to=start, or name none."
        )
    if not Goal(options).has_reference:
        say(f"The loss {options.loss} has no reference: {request['reference']} is not used.")


def reference_described(request: Request, goal: Goal, references: References | None) -> dict[str, str]:
    """What the policy was held to, for a report: `is` none, start, named or sft (which is where it starts, too)."""
    stage = f"{PREFERRED_STAGE}/{MODEL}"
    if references is None:
        return {"is": "none"} | ({"start": stage} if goal.options.held_to == "sft" else {})
    if goal.options.held_to == "sft":
        return {"is": "sft", "model": stage, "weights": references.weights}
    named = request.get("reference")
    return {"is": "named" if named else "start", "model": named or request["model"], "weights": references.weights}


def _material(setup: Setup, goal: Goal, max_length: int) -> Material:
    """The groups that the loss learns something from."""
    options, labels = goal.options, goal.labels

    def read(split: str) -> tuple[list[Group], Exclusions]:
        if labels is not None:
            return labeled_from(
                setup.snapshot, setup.tokenizer, options.labels, labels, split=split, max_length=max_length
            )
        return groups_from(setup.snapshot, setup.tokenizer, split=split, max_length=max_length)

    if options.loss in EDGE_LOSSES:
        return material_read(read, unit="comparisons", ties_policy=options.ties)
    rated = labels is not None and options.labels == "ratings"
    return material_read(read, unit="rated completions" if rated else "comparisons", size=goal.size)


def _pairs(goal: Goal, material: Material, max_length: int) -> Pairs:
    """KTO's mismatched pairs; none for other losses. Says how its labels are balanced."""
    if goal.labels is None:
        return {}
    balance_say(goal.labels, material.train, goal.options)
    parts = [
        pairs_make(groups, goal.labels, seed=goal.options.seed, max_length=max_length)
        for groups in (material.train, material.held_out)
    ]
    return parts[0] | parts[1]
