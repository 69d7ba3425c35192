"""What a training from preferences makes smaller, and what it measures: all of it from log-probabilities alone."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from trainer.config import PreferenceOptions, beta_of
from trainer.data.batches import Batch
from trainer.data.groups import Group
from trainer.data.labels import DESIRABLE, UNDESIRABLE
from trainer.kto import Labels
from trainer.loop.steps import Objective
from trainer.loop.training import agreement
from trainer.losses import LIST_LOSSES, REFERENCE_FREE, implicit_rewards, kto_loss, preference_loss

PRO_LIKELIHOOD = 0.05
"""PRO adds the likelihood of the best by this times (K − 1)² (Song et al. 2024, section 3.3)."""


class Said(NamedTuple):
    """Of the N completions of a batch, (N,) float32: summed log-probabilities under the policy, tokens, and summed
    log-probabilities under the reference, or None where there is none.
    """

    logps: Tensor
    counts: Tensor
    reference: Tensor | None


@dataclass(frozen=True)
class Goal:
    """A loss with its options; `labels` says what is desirable, for KTO alone."""

    options: PreferenceOptions
    labels: Labels | None = None

    @property
    def has_reference(self) -> bool:
        """Whether the policy is held to a reference."""
        return self.options.held_to != "none" and self.options.loss not in REFERENCE_FREE

    def size(self, group: Group) -> float:
        """What a prompt counts for in the mean of a step, 0 where the loss learns nothing from it: its weight, the
        weight of its rankings, or of its labels.
        """
        if self.labels is not None:
            return self.labels.size(group)
        return group.ranked_weight() if self.options.loss in LIST_LOSSES else group.counted_weight(self.options.ties)

    def objective(self, said: Said, groups: Sequence[Group], batch: Batch, z0: Tensor) -> Objective:
        """The loss of a batch, with the likelihood of what is ranked first where it has a weight, and measurements.

        A loss that has a likelihood of its own (ORPO, PRO) is logged with it; that of `nll_weight` apart, as `nll`.
        """
        loss = self._loss(said, groups, batch, z0)
        whole, means = loss, {"loss": loss}
        if self.options.nll_weight:
            means["nll"] = first_nll(said.logps / said.counts.clamp_min(1), batch, self._weight(groups, batch))
            whole = loss + self.options.nll_weight * means["nll"]
        return Objective(whole, means, self.measured(said, groups, batch))

    @torch.no_grad()
    def measured(self, said: Said, groups: Sequence[Group], batch: Batch) -> dict[str, Tensor]:
        """Sums to add up over batches, see `trainer.loop.training.shares`.

        chosen_reward, rejected_reward: implicit rewards (see `losses.implicit_rewards`) of what is preferred and of
        what it is preferred to, a mean over prompts by weight; margin: their difference. chosen_logp, rejected_logp,
        chosen_length, rejected_length: their log-probabilities and tokens. accuracy: of comparisons, by weight.
        kl: log π_ref − log π of a completion in nats, all alike, which estimates KL(π_ref‖π) without bias where the
        reference wrote them, and may be below 0. log_ratio_per_token, tokens.
        """
        rewards = self.rewards(said)
        chosen, rejected = self._sides(groups, batch)
        values = {"reward": rewards, "logp": said.logps, "length": said.counts}
        sums = {"chosen": chosen.sum(), "rejected": rejected.sum()}
        for name, value in values.items():
            sums[f"chosen_{name}/chosen"] = (chosen * value).sum()
            sums[f"rejected_{name}/rejected"] = (rejected * value).sum()
        if self.labels is None:
            # Both sides weigh the same, so that this is the difference of the two means.
            sums["margin/chosen"] = ((chosen - rejected) * rewards).sum()
        sums |= agreement(rewards, batch.edges) | {"tokens": said.counts.sum()}
        if said.reference is not None:
            ratios = said.logps - said.reference
            sums |= {"kl/completions": -ratios.sum(), "completions": torch.tensor(float(len(ratios)))}
            sums |= {"log_ratio_per_token/answer_tokens": ratios.sum(), "answer_tokens": said.counts.sum()}
        return sums

    def rewards(self, said: Said) -> Tensor:
        """(N,) implicit rewards."""
        loss, beta = self.options.loss, beta_of(self.options)
        return implicit_rewards(said.logps, said.reference, said.counts, loss=loss, beta=beta)

    def _loss(self, said: Said, groups: Sequence[Group], batch: Batch, z0: Tensor) -> Tensor:
        options, beta = self.options, beta_of(self.options)
        if self.labels is not None:
            return kto_loss(
                said.logps if said.reference is None else said.logps - said.reference,
                self.labels.tensor(groups, said.logps.device),
                z0.to(said.logps.device),
                batch.weight[batch.group],
                beta=beta,
                desirable_weight=options.desirable_weight,
                undesirable_weight=options.undesirable_weight,
            )
        loss = preference_loss(
            said.logps,
            said.reference,
            said.counts,
            batch.edges,
            batch.lists,
            batch.weight,
            loss=options.loss,
            beta=beta,
            ties=options.ties,
            label_smoothing=options.label_smoothing,
            gamma_ratio=options.gamma_ratio,
            length_penalty=options.length_penalty,
        )
        weight = self._weight(groups, batch)
        if options.loss == "orpo":
            # L_SFT + λ·L_OR, equation 6 of Hong et al. 2024.
            return first_nll(said.logps / said.counts.clamp_min(1), batch, weight) + options.odds_weight * loss
        if options.loss == "pro":
            others = torch.bincount(batch.group, minlength=len(groups)).to(said.logps.dtype)[batch.group] - 1
            return loss + PRO_LIKELIHOOD * first_nll(others**2 * said.logps, batch, weight)
        return loss

    def _weight(self, groups: Sequence[Group], batch: Batch) -> Tensor:
        """(G,) what groups count for."""
        return torch.tensor([self.size(group) for group in groups], device=batch.weight.device)

    def _sides(self, groups: Sequence[Group], batch: Batch) -> tuple[Tensor, Tensor]:
        """(N,) what each completion counts for as a preferred one, and as one that another is preferred to."""
        if self.labels is not None:
            labels, weight = self.labels.tensor(groups, batch.weight.device), batch.weight[batch.group]
            return weight * (labels == DESIRABLE), weight * (labels == UNDESIRABLE)
        edges = batch.edges
        strict = torch.where(edges.tied, 0.0, edges.weight)
        totals = torch.zeros_like(batch.weight).index_add(0, edges.group, strict)[edges.group]
        share = self._weight(groups, batch)[edges.group] * strict / torch.where(totals > 0, totals, 1.0)
        none = torch.zeros(len(batch.group), device=share.device)
        return none.index_add(0, edges.i, share), none.index_add(0, edges.j, share)


def first_nll(logps: Tensor, batch: Batch, weight: Tensor) -> Tensor:
    """−Σ_g weight_g · Σ_n first_n · logps_n / Σ_g weight_g over the completions ranked first; logps (N,), weight (G,).

    With logps divided by lengths, equation 1 of Pang et al. 2024. Completions that share the first place share its
    weight; a group in which nothing is preferred adds 0.
    """
    return -(weight[batch.group] * batch.first * logps).sum() / weight.sum()
