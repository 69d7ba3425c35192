"""`python -m trainer sft`: supervised training of a policy on answers that people wrote or ranked first.

The loss of a step is the mean negative log-likelihood of its answers' tokens, each token alike.
"""

from collections.abc import Sequence
from typing import Any

import torch
from transformers import PreTrainedModel

from trainer.config import Options, SftOptions
from trainer.critiques.critique import critiques_from
from trainer.data.batches import Feed
from trainer.data.groups import Exclusions, Group, answers_from
from trainer.loop import distributed
from trainer.loop.material import Setup, material_read, max_length_resolve, resolved_write, setup_make
from trainer.loop.optimization import optimizer_build
from trainer.loop.sharding import model_shard, turns
from trainer.loop.steps import Objective, Portion
from trainer.loop.training import Training
from trainer.losses import nll
from trainer.models.adapters import adapters_add
from trainer.models.networks import completion_logprobs, policy_load, prompts_share, token_logprobs
from trainer.records import Request
from trainer.runs import RunFolder


def run(request: Request, options: Options, folder: RunFolder) -> dict[str, Any]:
    """Train, or go on training, and write `model`; returns the report."""
    if not isinstance(options, SftOptions):
        raise TypeError(f"sft needs SftOptions, not {type(options).__name__}.")
    setup = setup_make(request, options, folder)
    model = policy_load(request["model"], torch.float32, setup.device)
    max_length = max_length_resolve(options, model)
    material = material_read(lambda split: _answers(setup, options, split, max_length), unit="answers")
    resolved_write(request, options, folder, setup, max_length=max_length, split=material.split)
    adapters_add(model, options, folder)
    feed = setup.feed(options, shared=prompts_share(model, options.share_prompts))
    model_shard(model, options, token_logprobs)
    training = Training(
        folder=folder,
        options=options,
        model=model,
        tokenizer=setup.tokenizer,
        optimizer=optimizer_build(model, options),
        groups=material.train,
        feed=feed,
        size=_tokens,
        evaluate=lambda: {"loss": _held_out_nll(model, material.held_out, setup, feed)},
        held_out=bool(material.held_out),
    )

    def objective(portion: Portion) -> Objective:
        with setup.precision():
            sums, counts = completion_logprobs(model, portion.batch.tokens)
        return Objective(nll(sums, counts, portion.batch.weight), {}, {"tokens": counts.sum()})

    for step in training.steps():
        step.accumulate(objective)
        training.update(step)
    return training.publish({"counts": material.counts})


def _answers(setup: Setup, options: SftOptions, split: str, max_length: int) -> tuple[list[Group], Exclusions]:
    if options.answers == "rationales":
        return critiques_from(setup.snapshot, setup.tokenizer, split=split, max_length=max_length)
    return answers_from(setup.snapshot, setup.tokenizer, split=split, max_length=max_length, answers=options.answers)


def _tokens(group: Group) -> float:
    return group.weight * sum(map(len, group.completions))


@torch.no_grad()
def _held_out_nll(model: PreTrainedModel, groups: Sequence[Group], setup: Setup, feed: Feed) -> float:
    total = 0.0
    for part, batch in turns(model, feed, distributed.own(groups)):
        with setup.precision():
            sums, counts = completion_logprobs(model, batch.tokens)
        total += float(nll(sums, counts, batch.weight)) * sum(map(_tokens, part))
    return distributed.summed(total) / sum(map(_tokens, groups))
