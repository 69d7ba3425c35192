"""`python -m trainer reward`: a reward model from K-way comparisons.

Each completion goes through the model once; all comparisons of a prompt count in one mean, and a step is a mean over
its prompts.
"""

from collections.abc import Sequence
from typing import Any

import torch
from transformers import PreTrainedModel

from trainer.batches import Batch, Group, collate, groups_from
from trainer.config import Options, RewardOptions
from trainer.losses import reward_loss
from trainer.material import (
    Setup,
    material_read,
    max_length_resolve,
    portions,
    resolved_write,
    setup_make,
)
from trainer.networks import HEAD, reward_load, scores
from trainer.optimization import optimizer_build, precision
from trainer.records import Request
from trainer.runs import RunFolder
from trainer.training import Training, agreement, judged_report, rows_split


def run(request: Request, options: Options, folder: RunFolder) -> dict[str, Any]:
    """Train, or go on training, and write `model`; returns the report."""
    if not isinstance(options, RewardOptions):
        raise TypeError(f"reward needs RewardOptions, not {type(options).__name__}.")
    setup = setup_make(request, options, folder)
    model = reward_load(request["model"], torch.float32, setup.device, seed=options.seed)
    max_length = max_length_resolve(options, model)
    material = material_read(
        lambda split: groups_from(setup.snapshot, setup.tokenizer, split=split, max_length=max_length),
        unit="comparisons",
        ties_policy=options.ties,
    )
    resolved_write(request, options, folder, setup, max_length=max_length, split=material.split)
    training = Training(
        folder=folder,
        options=options,
        model=model,
        tokenizer=setup.tokenizer,
        optimizer=optimizer_build(model, options, head=HEAD, head_rate=options.head_rate),
        groups=material.train,
        device=setup.device,
        size=lambda group: group.counted_weight(options.ties),
        evaluate=lambda: _measure(model, material.held_out, setup, options),
        held_out=bool(material.held_out),
    )
    for step in training.steps():
        for portion in step.portions():
            batch = portion.batch
            with precision(setup.device, setup.dtype):
                values = batch.per_group(scores(model, batch))
            loss = portion.share * _loss(values, batch, options)
            loss.backward()  # type: ignore[no-untyped-call]
            right, compared = agreement(values, batch)
            step.add(loss=loss, right=right, compared=compared, tokens=batch.attention_mask.sum())
        training.update(step)
    training.model_publish()
    return {"counts": material.counts, "metrics": training.measured(), "steps": training.total}


def _loss(values: torch.Tensor, batch: Batch, options: RewardOptions) -> torch.Tensor:
    return reward_loss(
        values,
        batch.wins,
        batch.ties,
        batch.present,
        batch.weight,
        ties_policy=options.ties,
        centering=options.centering,
    )


@torch.no_grad()
def _measure(model: PreTrainedModel, groups: Sequence[Group], setup: Setup, options: RewardOptions) -> dict[str, float]:
    """Loss and accuracy on held-out prompts, beside the baselines."""
    total = 0.0
    judged: list[tuple[Group, list[float]]] = []
    for part in portions(groups, options.micro_batch):
        batch = collate(part, setup.pad_id, setup.device)
        with precision(setup.device, setup.dtype):
            values = scores(model, batch)
        weight = sum(group.counted_weight(options.ties) for group in part)
        total += float(_loss(batch.per_group(values), batch, options)) * weight
        judged += rows_split(part, values)
    loss = total / sum(group.counted_weight(options.ties) for group in groups)
    return {"loss": loss} | judged_report(judged)
