"""`python -m trainer preference`: a policy from K-way comparisons, without a reward model (DPO).

What the reference says about each completion is computed once, before training, and kept in the run folder.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from trainer.batches import Batch, Group, collate, groups_from, ranked_first
from trainer.config import Options, PreferenceOptions
from trainer.losses import dpo_loss
from trainer.material import Setup, material_read, max_length_resolve, portions, resolved_write, setup_make
from trainer.networks import completion_logprobs, policy_load
from trainer.optimization import optimizer_build, precision
from trainer.records import Request
from trainer.references import References, references_make
from trainer.runs import RunFolder
from trainer.training import Training, agreement, judged_report, rows_split


def run(request: Request, options: Options, folder: RunFolder) -> dict[str, Any]:
    """Train, or go on training, and write `model`; returns the report."""
    if not isinstance(options, PreferenceOptions):
        raise TypeError(f"preference needs PreferenceOptions, not {type(options).__name__}.")
    setup = setup_make(request, options, folder)
    model = policy_load(request["model"], torch.float32, setup.device)
    max_length = max_length_resolve(options, model)
    material = material_read(
        lambda split: groups_from(setup.snapshot, setup.tokenizer, split=split, max_length=max_length),
        unit="comparisons",
        ties_policy=options.ties,
    )
    resolved_write(request, options, folder, setup, max_length=max_length, split=material.split)
    references = references_make(request, options, folder, setup, model, [*material.train, *material.held_out])
    training = Training(
        folder=folder,
        options=options,
        model=model,
        tokenizer=setup.tokenizer,
        optimizer=optimizer_build(model, options),
        groups=material.train,
        device=setup.device,
        size=lambda group: group.counted_weight(options.ties),
        evaluate=lambda: _measure(model, material.held_out, references, setup, options),
        held_out=bool(material.held_out),
    )
    for step in training.steps():
        for portion in step.portions():
            batch = portion.batch
            with precision(setup.device, setup.dtype):
                sums, counts = completion_logprobs(model, batch)
            ratios = batch.per_group(sums - references.sums(portion.groups, setup.device))
            loss = portion.share * _loss(ratios, batch, options)
            objective = loss
            if options.nll_weight:
                likelihood = portion.share * first_nll(sums, counts, batch)
                objective = loss + options.nll_weight * likelihood
                step.add(nll=likelihood)
            objective.backward()  # type: ignore[no-untyped-call]
            right, compared = agreement(ratios, batch)
            margin = portion.share * options.beta * mean_margin(ratios, batch)
            # The loss without the likelihood, so that it compares with the one on held-out prompts.
            step.add(loss=loss, right=right, compared=compared, margin=margin, tokens=counts.sum())
        training.update(step)
    training.model_publish()
    return {"counts": material.counts, "metrics": training.measured(), "steps": training.total}


def mean_margin(values: Tensor, batch: Batch) -> Tensor:
    """How much greater the values (G, K) of preferred completions are: a mean over prompts of means over wins."""
    differences = values.unsqueeze(2) - values.unsqueeze(1)
    total = batch.wins.sum((1, 2))
    means = (batch.wins * differences).sum((1, 2)) / torch.where(total > 0, total, 1.0)
    return (batch.weight * means).sum() / batch.weight.sum()


def first_nll(sums: Tensor, counts: Tensor, batch: Batch) -> Tensor:
    """−Σ_g weight_g · log π(y|x) / |y| / Σ_g weight_g over the completions y ranked first (Pang et al. 2024, eq. 1)."""
    likelihoods = batch.per_group(sums / counts.clamp_min(1))
    per_prompt = (ranked_first(batch.wins) * likelihoods).sum(-1)
    return -(batch.weight * per_prompt).sum() / batch.weight.sum()


def _loss(ratios: Tensor, batch: Batch, options: PreferenceOptions) -> Tensor:
    return dpo_loss(
        ratios, batch.wins, batch.ties, batch.present, batch.weight, beta=options.beta, ties_policy=options.ties
    )


@torch.no_grad()
def _measure(
    model: PreTrainedModel,
    groups: Sequence[Group],
    references: References,
    setup: Setup,
    options: PreferenceOptions,
) -> dict[str, float]:
    """Loss, accuracy and margin of the implicit reward β·log(π/π_ref), and log-ratios per token, when held out."""
    loss = margin = ratio_sum = tokens = 0.0
    judged: list[tuple[Group, list[float]]] = []
    for part in portions(groups, options.micro_batch):
        batch = collate(part, setup.pad_id, setup.device)
        with precision(setup.device, setup.dtype):
            sums, counts = completion_logprobs(model, batch)
        ratios = sums - references.sums(part, setup.device)
        weight = sum(group.counted_weight(options.ties) for group in part)
        loss += weight * float(_loss(batch.per_group(ratios), batch, options))
        margin += weight * options.beta * float(mean_margin(batch.per_group(ratios), batch))
        ratio_sum, tokens = ratio_sum + float(ratios.sum()), tokens + float(counts.sum())
        judged += rows_split(part, options.beta * ratios)
    weights = sum(group.counted_weight(options.ties) for group in groups)
    measured = {"loss": loss / weights, "margin": margin / weights, "log_ratio_per_token": ratio_sum / tokens}
    return measured | judged_report(judged)
