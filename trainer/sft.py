"""`python -m trainer sft`: supervised training of a policy on answers that people wrote or ranked first.

The loss of a step is the mean negative log-likelihood of its answers' tokens, each token alike.
"""

from collections.abc import Sequence
from typing import Any

import torch
from transformers import PreTrainedModel

from trainer.batches import Group, answers_from, collate
from trainer.config import Options, SftOptions
from trainer.losses import nll
from trainer.material import Setup, material_read, max_length_resolve, portions, resolved_write, setup_make
from trainer.networks import completion_logprobs, policy_load
from trainer.optimization import optimizer_build, precision
from trainer.records import Request
from trainer.runs import RunFolder
from trainer.training import Training


def run(request: Request, options: Options, folder: RunFolder) -> dict[str, Any]:
    """Train, or go on training, and write `model`; returns the report."""
    if not isinstance(options, SftOptions):
        raise TypeError(f"sft needs SftOptions, not {type(options).__name__}.")
    setup = setup_make(request, options, folder)
    model = policy_load(request["model"], torch.float32, setup.device)
    max_length = max_length_resolve(options, model)
    material = material_read(
        lambda split: answers_from(
            setup.snapshot, setup.tokenizer, split=split, max_length=max_length, answers=options.answers
        ),
        unit="answers",
    )
    resolved_write(request, options, folder, setup, max_length=max_length, split=material.split)
    training = Training(
        folder=folder,
        options=options,
        model=model,
        tokenizer=setup.tokenizer,
        optimizer=optimizer_build(model, options),
        groups=material.train,
        device=setup.device,
        size=_tokens,
        evaluate=lambda: {"loss": _held_out_nll(model, material.held_out, setup, options)},
        held_out=bool(material.held_out),
    )
    for step in training.steps():
        for portion in step.portions():
            with precision(setup.device, setup.dtype):
                sums, counts = completion_logprobs(model, portion.batch)
            loss = nll(sums, counts, portion.batch.weight) * portion.share
            loss.backward()  # type: ignore[no-untyped-call]
            step.add(loss=loss, tokens=counts.sum())
        training.update(step)
    training.model_publish()
    return {"counts": material.counts, "metrics": training.measured(), "steps": training.total}


def _tokens(group: Group) -> float:
    return group.weight * sum(map(len, group.completions))


@torch.no_grad()
def _held_out_nll(model: PreTrainedModel, groups: Sequence[Group], setup: Setup, options: SftOptions) -> float:
    total = 0.0
    for part in portions(groups, options.micro_batch):
        batch = collate(part, setup.pad_id, setup.device)
        with precision(setup.device, setup.dtype):
            sums, counts = completion_logprobs(model, batch)
        total += float(nll(sums, counts, batch.weight)) * sum(map(_tokens, part))
    return total / sum(map(_tokens, groups))
