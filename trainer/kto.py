"""Kahneman-Tversky optimization: a label for each completion, and the point from which gains and losses are counted.

z0 stands for the divergence between policy and reference. It is estimated from mismatched pairs, each prompt with a
completion of another one, as Ethayarajh et al. 2024 do it (section 4.1). Which belong together is drawn once, from the
seed, so that what the reference says about them is kept like everything else it says.
"""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from trainer.config import PreferenceOptions
from trainer.data.conversations import Tokenizer
from trainer.data.groups import PREFERRED, Edge, Exclusions, Group, groups_from
from trainer.data.labels import DESIRABLE, UNDESIRABLE, Label, desirability, rated_from
from trainer.data.snapshots import Snapshot
from trainer.loop.training import epoch_order
from trainer.runs import say

BALANCE = (1.0, 4 / 3)
"""What λ_D·n_D / (λ_U·n_U) should be (Ethayarajh et al. 2024, section 4.1)."""
Key = tuple[int, tuple[int, ...]]
Pairs = dict[Key, Group]
"""By group, its prompt with a completion that answers another one."""


@dataclass(frozen=True)
class Labels:
    """Which completions are desirable (1) and which are not (0), by group; None where nothing says so."""

    by_group: dict[Key, tuple[Label, ...]] = field(default_factory=dict)

    def of(self, group: Group) -> tuple[Label, ...]:
        """Labels of a group's completions."""
        return self.by_group[group.prompt, group.ids]

    def size(self, group: Group) -> float:
        """What a group counts for in a mean over completions: its weight for each that has a label."""
        return group.weight * sum(label is not None for label in self.of(group))

    def tensor(self, groups: Sequence[Group], device: torch.device) -> Tensor:
        """(N,) float32 labels of the groups' completions, NaN where there is none."""
        rows = [self.of(group) for group in groups]
        values = [float("nan") if label is None else label for row in rows for label in row]
        return torch.tensor(values, device=device)

    def weight(self, groups: Iterable[Group], label: float) -> float:
        """The weight of all completions of some groups that have this label."""
        return sum(group.weight * self.of(group).count(label) for group in groups)


def labeled_from(
    snapshot: Snapshot, tokenizer: Tokenizer, kind: str, labels: Labels, *, split: str, max_length: int
) -> tuple[list[Group], Exclusions]:
    """The groups of a split for labels of a kind, "ratings" or "ranking"; their labels are added to `labels`.

    Completions that ratings speak of need not have been compared. Those of a prompt that are desirable are then
    preferred to those that are not, by which a report says how well a policy tells them apart.
    """
    source = rated_from if kind == "ratings" else groups_from
    found, excluded = source(snapshot, tokenizer, split=split, max_length=max_length)
    for group in found:
        labels.by_group[group.prompt, group.ids] = desirability(snapshot, group, kind)
    return [_compared(group, labels.of(group)) for group in found], excluded


def balance_say(labels: Labels, groups: Sequence[Group], options: PreferenceOptions) -> None:
    """Say when desirable and undesirable completions weigh too unequally, and what would even it out."""
    wanted, unwanted = labels.weight(groups, DESIRABLE), labels.weight(groups, UNDESIRABLE)
    say(f"Labels: {wanted:g} desirable, {unwanted:g} undesirable, by weight.")
    if advice := balance_advice(wanted, unwanted, options.desirable_weight, options.undesirable_weight):
        say(advice)


def balance_advice(desirable: float, undesirable: float, lambda_d: float, lambda_u: float) -> str:
    """What to change so that λ_D·n_D / (λ_U·n_U) lies in BALANCE; nothing to say where it does."""
    gains, losses = lambda_d * desirable, lambda_u * undesirable
    low, high = BALANCE
    if not gains or not losses:
        kind = "desirable" if not gains else "undesirable"
        return f"Nothing {kind} counts: the policy sees one side alone. Check the labels, or choose labels=ranking."
    if low <= gains / losses <= high:
        return ""
    if gains < losses:
        name, least, most = "desirable_weight", low * losses / desirable, high * losses / desirable
    else:
        name, least, most = "undesirable_weight", gains / (high * undesirable), gains / (low * undesirable)
    return (
        f"Desirable completions weigh {gains / losses:.3g} times as much as undesirable ones; 1 to 1.33 is advised. "
        f"Set {name} between {least:.3g} and {most:.3g}."
    )


def pairs_make(groups: Sequence[Group], labels: Labels, *, seed: int, max_length: int) -> Pairs:
    """Mismatched pairs: of each group its prompt with a completion of the next group about another prompt, in an order
    drawn from the seed.

    The completion is cut where the two do not fit. Nothing when all groups are about one prompt.
    """
    order = [groups[index] for index in epoch_order(len(groups), seed, -1)]
    pairs: Pairs = {}
    for place, group in enumerate(order):
        following = (order[(place + ahead) % len(order)] for ahead in range(1, len(order)))
        other = next((one for one in following if one.prompt != group.prompt), None)
        if other is not None:
            number = _drawn(seed, group, other, labels)
            cut = other.completions[number][: max_length - len(group.prompt_ids)]
            pairs[group.prompt, group.ids] = Group(
                group.prompt, group.prompt_ids, [cut], [], group.weight, (other.ids[number],)
            )
    return pairs


def _compared(group: Group, labels: Sequence[Label]) -> Group:
    """The group with edges from its labels, where it has none."""
    if group.edges:
        return group
    wanted = [number for number, label in enumerate(labels) if label == DESIRABLE]
    unwanted = [number for number, label in enumerate(labels) if label == UNDESIRABLE]
    return replace(group, edges=[Edge(i, j, PREFERRED, group.weight) for i in wanted for j in unwanted])


def _drawn(seed: int, group: Group, other: Group, labels: Labels) -> int:
    """The number of one of the other group's completions that have a label."""
    numbers = [number for number, label in enumerate(labels.of(other)) if label is not None]
    digest = hashlib.sha256(f"{seed}:{group.prompt}:{group.ids}:{other.prompt}:{other.ids}".encode()).digest()
    return numbers[int.from_bytes(digest[:8], "big") % len(numbers)]
