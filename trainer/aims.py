"""What a reward model learns from a prompt: one number to make smaller, made of the parts that options ask for.

Each part is a mean over the prompts that say something about it, whatever the other parts make of them; a step adds
up the parts, each times its weight.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from trainer.config import RewardOptions
from trainer.data.batches import Batch
from trainer.data.groups import Group
from trainer.losses import answer_loss, margins_of, plackett_luce_loss, prompt_mean, ranked_weights, rating_loss
from trainer.losses import reward_loss as bradley_terry_loss
from trainer.models.heads import LIKERT, QUESTION, QUESTION_MARK, Reading, answer_targets, likert_targets
from trainer.runs import InputError

MAIN, RATINGS, QUESTIONS = "comparisons", "likert", "questions"


class Part(NamedTuple):
    """The loss of a part, a mean over the prompts at hand, and what these prompts count for in it."""

    loss: Tensor
    size: float


@dataclass(frozen=True)
class Aims:
    """What options ask a model with these heads to learn."""

    options: RewardOptions
    reading: Reading

    @property
    def weights(self) -> dict[str, float]:
        """The parts, and what each is multiplied by."""
        further = {RATINGS: self.options.likert_weight, QUESTIONS: self.options.questions_weight}
        return {MAIN: 1.0} | {name: weight for name, weight in further.items() if weight and self._columns(name)}

    @property
    def questions(self) -> list[str]:
        """Keys of the questions that have a head."""
        return [self.reading.heads[column].name.removeprefix(QUESTION_MARK) for column in self._columns(QUESTIONS)]

    def sizes(self, group: Group) -> dict[str, float]:
        """What a prompt counts for in each part: 0 where it says nothing about it, and where no head is for it."""
        if self.reading.head_for(group.tags) is None:
            return dict.fromkeys(self.weights, 0.0)
        sizes = {MAIN: self._main_size(group), RATINGS: _rated_size(group)}
        asked = any(key in answers for answers in group.answers for key in self.questions)
        sizes[QUESTIONS] = group.weight if asked else 0.0
        return {name: sizes[name] for name in self.weights}

    def size(self, group: Group) -> float:
        """What a prompt counts for in all parts together; 0 for one that teaches nothing."""
        return math.fsum(self.sizes(group).values())

    def totals(self, groups: Sequence[Group]) -> dict[str, float]:
        """What prompts count for together, by part."""
        sizes = [self.sizes(group) for group in groups]
        return {name: math.fsum(size[name] for size in sizes) for name in self.weights}

    def parts(self, values: Tensor, groups: Sequence[Group], batch: Batch, width: Tensor | None) -> dict[str, Part]:
        """The parts of the loss on a batch of these groups, from what the heads say of its completions (N, heads).

        `width` is θ, the width of a tie, where it is learned.
        """
        totals = self.totals(groups)
        losses = {MAIN: self._main(self.reading.chosen(values, groups), groups, batch, width)}
        if RATINGS in totals:
            targets = likert_targets(groups).to(values.device)
            losses[RATINGS] = rating_loss(values[:, self._columns(RATINGS)[0]], targets, batch.group, batch.weight)
        if QUESTIONS in totals:
            answers = answer_targets(groups, self.questions).to(values.device)
            losses[QUESTIONS] = answer_loss(values[:, self._columns(QUESTIONS)], answers, batch.group, batch.weight)
        return {name: Part(loss, totals[name]) for name, loss in losses.items()}

    def shares(self, parts: Mapping[str, Part], totals: Mapping[str, float]) -> dict[str, Tensor]:
        """What these parts add to the losses of all prompts that together count for `totals`, part by part."""
        return {name: part.loss * (part.size / totals[name]) for name, part in parts.items() if part.size}

    def combined(self, shares: Mapping[str, Tensor]) -> Tensor:
        """The one number to make smaller: the parts, each times its weight."""
        return torch.stack([self.weights[name] * share for name, share in shares.items()]).sum()

    def _main_size(self, group: Group) -> float:
        if self.options.loss == "plackett_luce":
            return group.ranked_weight()
        if self.options.loss == "likert":
            return _rated_size(group)
        return group.counted_weight(self.options.ties)

    def _main(self, values: Tensor, groups: Sequence[Group], batch: Batch, width: Tensor | None) -> Tensor:
        """The loss of the scores (N,) that are to be learned in the first place."""
        options, edges = self.options, batch.edges
        if options.loss == "likert":
            return rating_loss(values, likert_targets(groups).to(values.device), batch.group, batch.weight)
        if options.loss == "plackett_luce":
            loss = plackett_luce_loss(values, batch.lists)
            pull = (values[edges.i] + values[edges.j]) ** 2
            counted = ranked_weights(batch.lists, len(groups))
            return loss + options.centering * prompt_mean(pull, edges.weight, edges.group, counted)
        return bradley_terry_loss(
            values,
            edges,
            batch.weight,
            ties=options.ties,
            margins=margins_of(edges.strength, options.margin),
            centering=options.centering,
            tie_width=width,
        )

    def _columns(self, part: str) -> list[int]:
        """Numbers of the heads of a part beside the scores."""
        kind = {RATINGS: LIKERT, QUESTIONS: QUESTION}[part]
        return [number for number, head in enumerate(self.reading.heads) if head.kind == kind]


def _rated_size(group: Group) -> float:
    return group.weight if any(value is not None for value in group.likert) else 0.0


def options_check(options: RewardOptions) -> None:
    """Raise InputError for options that contradict each other."""
    if options.loss != "bradley_terry" and options.margin != "none":
        raise InputError(f"margin={options.margin} is about pairs; with loss={options.loss}, choose margin=none.")
    if options.loss != "bradley_terry" and options.ties != "drop":
        raise InputError(f"ties={options.ties} is about pairs; with loss={options.loss}, choose ties=drop.")
    if options.loss == "likert" and options.centering:
        raise InputError("With loss=likert the ratings say where scores lie: choose centering=0.")
    if options.loss == "likert" and options.likert_weight:
        raise InputError("loss=likert learns the ratings by the score itself: choose likert_weight=0.")


def tie_width_start(groups: Sequence[Group]) -> float:
    """θ with which scores that are all equal explain the share of ties: P(tie) = tanh(θ/2) where d = 0."""
    edges = [edge for group in groups for edge in group.edges]
    tied = math.fsum(edge.weight for edge in edges if edge.outcome == "=")
    share = tied / max(math.fsum(edge.weight for edge in edges), 1e-12)
    return 2 * math.atanh(min(max(share, 0.01), 0.9))
