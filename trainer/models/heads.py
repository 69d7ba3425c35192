"""The heads of a reward model: which there are, what each learns from, and how its scores are read.

All of it stands in the configuration of the model under `reward_model`, so that a saved folder is read the way it was
trained: the heads by name, where in a text the score is read, by how much scores are shifted, and how wide a tie is.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Literal

import torch
from torch import Tensor
from transformers import PretrainedConfig

from trainer.config import RewardOptions
from trainer.data.groups import Group
from trainer.runs import InputError

KEY = "reward_model"
COMPARISONS, LIKERT, QUESTION = "comparisons", "likert", "question"
DEFAULT_NAME = "score"
DISAGREEMENT = "disagreement"
"""What stands beside the score of an ensemble, and so is no head's name."""
QUESTION_MARK = "question:"
"""Before the key of a question in the name of its head."""

Pooling = Literal["last", "mean"]


@dataclass(frozen=True)
class RewardHead:
    """One number that a model gives to a completion: a score (kind "comparisons"), the rating that annotators would
    give ("likert", 0 to 1), or the logit of a yes to a question ("question"). A score with a `tag` is for prompts
    that have it.
    """

    name: str
    kind: str = COMPARISONS
    tag: str = ""


@dataclass(frozen=True)
class Reading:
    """How a model is read: its heads, where ("last" token or "mean" of the completion), what is taken from the number
    of each head (`shift`), and the width θ of a tie, where it learned one.
    """

    heads: tuple[RewardHead, ...] = (RewardHead(DEFAULT_NAME),)
    pooling: Pooling = "last"
    shift: tuple[float, ...] = (0.0,)
    tie_width: float | None = None

    @property
    def scoring(self) -> tuple[RewardHead, ...]:
        """The heads that give scores; they come first."""
        return tuple(head for head in self.heads if head.kind == COMPARISONS)

    def head_for(self, tags: Iterable[str]) -> int | None:
        """Which head is for a prompt: the first whose tag it has, else the first without one, None without any."""
        there = set(tags)
        tagged = [number for number, head in enumerate(self.scoring) if head.tag and head.tag in there]
        plain = [number for number, head in enumerate(self.scoring) if not head.tag]
        return next(iter(tagged + plain), None)

    def chosen(self, values: Tensor, groups: Sequence[Group]) -> Tensor:
        """(N,) of the values (N, heads) of the groups' completions those of the head that is for each."""
        if len(self.scoring) == 1:
            return values[:, 0]
        numbers = [(self.head_for(group.tags) or 0, len(group.completions)) for group in groups]
        columns = torch.tensor([number for number, size in numbers for _ in range(size)], device=values.device)
        return values.gather(1, columns.unsqueeze(1)).squeeze(1)

    def shifted(self, values: Tensor) -> Tensor:
        """Values (N, heads) of the heads less what is taken from each."""
        return values - torch.tensor(self.shift, device=values.device, dtype=values.dtype)

    def with_heads(self, heads: tuple[RewardHead, ...]) -> "Reading":
        """With other heads; those that it had keep their shift, as the only one it had does in the first's place."""
        if heads == self.heads:
            return self
        old = {head.name: shift for head, shift in zip(self.heads, self.shift, strict=True)}
        if len(old) == 1:
            old.setdefault(heads[0].name, self.shift[0])
        return replace(self, heads=heads, shift=tuple(old.get(head.name, 0.0) for head in heads))


def reading_of(config: PretrainedConfig) -> Reading:
    """How a model is to be read; a model from elsewhere with one label by its last token."""
    kept = getattr(config, KEY, None)
    if not kept:
        return Reading()
    heads = tuple(RewardHead(**head) for head in kept["heads"])
    return Reading(heads, kept["pooling"], tuple(map(float, kept["shift"])), kept["tie_width"])


def reading_set(config: PretrainedConfig, reading: Reading) -> None:
    """Write down how a model is to be read, where it is saved and loaded with it."""
    setattr(config, KEY, json.loads(json.dumps(asdict(reading))))
    # Setting these sets num_labels too.
    config.id2label = {number: head.name for number, head in enumerate(reading.heads)}
    config.label2id = {head.name: number for number, head in enumerate(reading.heads)}


def heads_wanted(options: RewardOptions, questions: Sequence[str]) -> tuple[RewardHead, ...]:
    """The heads that options ask for, with one for each question that was answered, where that is to be learned.

    Raises InputError for names that cannot be told apart, and for heads that would learn nothing.
    """
    heads = [_head(line) for line in options.heads] or [RewardHead(DEFAULT_NAME)]
    if len([head for head in heads if not head.tag]) > 1:
        raise InputError("heads: one head can be without a tag; a second would learn nothing. Write name=tag.")
    if len({head.tag for head in heads}) < len(heads):
        raise InputError("heads: two heads have the same tag, so that the second would learn nothing.")
    if options.likert_weight:
        heads.append(RewardHead("likert", LIKERT))
    if options.questions_weight:
        heads += [RewardHead(QUESTION_MARK + key, QUESTION) for key in questions]
    if len({head.name for head in heads}) < len(heads):
        raise InputError(f"heads: {', '.join(head.name for head in heads)} are not all different names.")
    return tuple(heads)


def likert_targets(groups: Sequence[Group]) -> Tensor:
    """(N,) float32 ratings of the groups' completions, NaN where there is none."""
    rows = [group.likert or (None,) * len(group.completions) for group in groups]
    return torch.tensor([float("nan") if value is None else value for row in rows for value in row])


def answer_targets(groups: Sequence[Group], questions: Sequence[str]) -> Tensor:
    """(N, Q) float32 shares of yes to questions about the groups' completions, NaN where nobody answered."""
    rows = [answers for group in groups for answers in group.answers or ({},) * len(group.completions)]
    return torch.tensor([[answers.get(key, float("nan")) for key in questions] for answers in rows])


def _head(line: str) -> RewardHead:
    name, _, tag = (part.strip() for part in line.partition("="))
    if not name or ("=" in line and not tag):
        raise InputError(f"heads: {line!r} is no head. Write name, or name=tag.")
    if name == DISAGREEMENT:
        raise InputError(f"heads: {name!r} is how far the models of an ensemble are apart. Choose another name.")
    return RewardHead(name, tag=tag)
