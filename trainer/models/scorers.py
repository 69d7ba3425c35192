"""What gives scores to completions: a reward model, or several that were combined into one.

A combination is a folder with the models in it and `scorer.json`, which says how their scores become one. All of them
read the same tokens.
"""

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor
from transformers import AutoConfig, PreTrainedModel

from trainer.data.batches import Batch, Feed
from trainer.data.conversations import Tokenizer, tokenizer_load
from trainer.data.groups import Group
from trainer.models.heads import DISAGREEMENT, QUESTION, Reading, reading_of
from trainer.models.networks import context_length, head_scores, prompts_share, reward_load
from trainer.records import SCORER, canonical
from trainer.runs import InputError

VERSION = 1
SCORE = "score"

How = Literal["mean", "linear", "gated"]


class Scorer(ABC):
    """Gives scores to completions. `context` is the most tokens that it reads, None where it does not say; `shared`
    whether it reads a prompt once for all its completions.
    """

    tokenizer: Tokenizer
    device: torch.device
    context: int | None
    shared: bool

    @abstractmethod
    def values(self, groups: Sequence[Group], batch: Batch) -> dict[str, Tensor]:
        """What it says of the completions of groups, whose batch this is, all (N,) float32: their `score` first, and
        more where there is more to say.
        """

    def feed(self, micro_tokens: int) -> Feed:
        """What makes batches for `values`, of so many tokens in memory at once."""
        return Feed(int(self.tokenizer.pad_token_id), self.device, micro_tokens, self.shared)

    @torch.no_grad()
    def measured(self, groups: Sequence[Group], micro_tokens: int) -> list[dict[str, Tensor]]:
        """`values` of each group, in their order, with so many tokens in memory at once."""
        found: dict[int, dict[str, Tensor]] = {}
        for part, batch in self.feed(micro_tokens).batches(groups):
            sizes = [len(group.completions) for group in part]
            columns = {name: row.split(sizes) for name, row in self.values(part, batch).items()}  # type: ignore[no-untyped-call]
            for number, group in enumerate(part):
                found[id(group)] = {name: rows[number] for name, rows in columns.items()}
        return [found[id(group)] for group in groups]


class ModelScorer(Scorer):
    """A reward model. With several heads, the score is that of the head for the prompt's tags, and all stand beside
    it by name; for yes/no questions, the probability of a yes.
    """

    def __init__(self, path: str, device: torch.device) -> None:
        _reward_check(path)
        self.tokenizer = tokenizer_load(path)
        self.model: PreTrainedModel = reward_load(path, torch.float32, device)
        self.reading: Reading = reading_of(self.model.config)
        self.device, self.context = device, context_length(self.model)
        self.shared = prompts_share(self.model, "auto")

    def values(self, groups: Sequence[Group], batch: Batch) -> dict[str, Tensor]:
        """See Scorer."""
        found = self.reading.shifted(head_scores(self.model, batch.tokens))
        values = {SCORE: self.reading.chosen(found, groups)}
        if len(self.reading.heads) > 1:
            columns = zip(found.unbind(1), self.reading.heads, strict=True)
            beside = {head.name: column.sigmoid() if head.kind == QUESTION else column for column, head in columns}
            # A head of such a name speaks for some prompts alone, and for no ensemble.
            values |= {name: column for name, column in beside.items() if name not in (SCORE, DISAGREEMENT)}
        return values


@dataclass(frozen=True)
class Member:
    """A model of a combination: its folder there, where it came from, and the SHA-256 of its files."""

    folder: str
    source: str
    digest: str


@dataclass(frozen=True)
class Scale:
    """Mean and standard deviation of scores on a fixed set of completions, that of a snapshot with this digest."""

    mean: float
    deviation: float

    def standardised(self, scores: Tensor) -> Tensor:
        """(N,) by how many deviations scores lie above the mean."""
        return (scores - self.mean) / self.deviation


@dataclass(frozen=True)
class Recipe:
    """How the scores r_1, r_2, … of members become one.

    mean: their mean. linear: Σ weight_m · z_m, where z_m is r_m on its own of the `scales`. gated (Touvron et al.
    2023, Llama 2): r_2 where the prompt has the `tag` or σ(r_2) < threshold, else r_1, on the only one of the
    `scales`; r is the logit of the σ(r) that the paper speaks of.
    """

    how: How
    weights: tuple[float, ...] = ()
    threshold: float = 0.0
    tag: str = ""
    scales: tuple[Scale, ...] = ()

    def combined(self, scores: Sequence[Tensor], tagged: Tensor) -> Tensor:
        """(N,) from the members' scores, each (N,); `tagged` (N,) says whether the prompt has the tag."""
        if self.how == "mean":
            return torch.stack(list(scores)).mean(0)
        if self.how == "gated":
            gated = self.gated(scores, tagged)
            return self.scales[0].standardised(gated)
        rows = zip(self.weights, self.scales, scores, strict=True)
        return torch.stack([weight * scale.standardised(row) for weight, scale, row in rows]).sum(0)

    def gated(self, scores: Sequence[Tensor], tagged: Tensor) -> Tensor:
        """(N,) the score that decides, as its model gives it."""
        helpful, safe = scores
        return torch.where(tagged | (safe.sigmoid() < self.threshold), safe, helpful)


class Combination(Scorer):
    """Several scorers as one. Each member's score stands beside that of all, and for their mean the disagreement: the
    standard deviation between members, √(Σ_m (r_m − r̄)² / M).
    """

    def __init__(self, members: Sequence[Scorer], recipe: Recipe) -> None:
        members_check(members)
        self.members, self.recipe = list(members), recipe
        self.tokenizer, self.device = members[0].tokenizer, members[0].device
        contexts = [member.context for member in members if member.context is not None]
        self.context = min(contexts, default=None)
        self.shared = all(member.shared for member in members)

    def values(self, groups: Sequence[Group], batch: Batch) -> dict[str, Tensor]:
        """See Scorer."""
        scores = self.member_scores(groups, batch)
        values = {SCORE: self.recipe.combined(scores, self.tagged(groups))}
        if self.recipe.how == "mean":
            values[DISAGREEMENT] = torch.stack(scores).std(0, correction=0)
        return values | {member_name(number): row for number, row in enumerate(scores, start=1)}

    def member_scores(self, groups: Sequence[Group], batch: Batch) -> list[Tensor]:
        """(N,) of each member."""
        return [member.values(groups, batch)[SCORE] for member in self.members]

    def tagged(self, groups: Sequence[Group]) -> Tensor:
        """(N,) whether the prompt of each completion has the tag of the recipe."""
        rows = [self.recipe.tag in group.tags for group in groups for _ in group.completions]
        return torch.tensor(rows, device=self.device)


def scorer_load(path: str, device: torch.device) -> Scorer:
    """The scorer of a model folder or hub id, or of a folder of a combination.

    Raises InputError when it is none of these, when a member is not what it was when it was combined, or when members
    do not read the same tokens.
    """
    folder = Path(path)
    if not (folder / SCORER).exists():
        return ModelScorer(path, device)
    members, recipe = recipe_read(folder)
    for member in members:
        if (found := folder_digest(folder / member.folder)) != member.digest:
            raise InputError(
                f"{folder / member.folder} is not the model that was combined: its SHA-256 is {found}, and {SCORER} "
                f"says {member.digest}. Combine again."
            )
    return Combination([scorer_load(str(folder / member.folder), device) for member in members], recipe)


def member_name(number: int) -> str:
    """What the scores of a member are called among the values of a combination; the first has number 1."""
    return f"member_{number}"


def recipe_json(members: Sequence[Member], recipe: Recipe, reference: str) -> dict[str, object]:
    """What `scorer.json` holds; `reference` is the digest of the snapshot that scales were measured on."""
    rows = [asdict(member) for member in members]
    return {"version": VERSION, "members": rows, "recipe": asdict(recipe), "reference": reference}


def recipe_read(folder: Path) -> tuple[list[Member], Recipe]:
    """Members and recipe of a combination. Raises InputError when its file cannot be read."""
    try:
        kept = json.loads((folder / SCORER).read_text())
        if kept["version"] != VERSION:
            raise ValueError(f"it is of version {kept['version']}, and this trainer reads {VERSION}")
        recipe = kept["recipe"]
        scales = tuple(Scale(**scale) for scale in recipe["scales"])
        return [Member(**member) for member in kept["members"]], Recipe(
            **recipe | {"weights": tuple(recipe["weights"]), "scales": scales}
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{folder / SCORER} cannot be read: {error}. Combine again.") from error


def folder_digest(folder: Path) -> str:
    """The SHA-256 of a folder's files with their names, in 64 hexadecimal digits."""
    sha256 = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
        sha256.update(canonical([path.relative_to(folder).as_posix(), found]))
    return sha256.hexdigest()


def members_check(members: Sequence[Scorer]) -> None:
    """Raise InputError when members do not read the same tokens for the same conversation."""
    first = members[0].tokenizer
    for number, member in enumerate(members[1:], start=2):
        where = f"({member.tokenizer.name_or_path})"
        if member.tokenizer.get_vocab() != first.get_vocab():
            raise InputError(
                f"Model {number} has another vocabulary than the first: only models of the same tokens combine {where}."
            )
        if member.tokenizer.chat_template != first.chat_template:
            raise InputError(
                f"Model {number} has another chat template than the first: they learned to read other texts {where}."
            )


def _reward_check(model: str) -> None:
    """A language model would be given a new head, whose scores mean nothing."""
    try:
        architectures = AutoConfig.from_pretrained(model, trust_remote_code=False).architectures or []
    except (OSError, ValueError) as error:
        raise InputError(f"{model} cannot be loaded: {error}") from error
    if not any("SequenceClassification" in name for name in architectures):
        raise InputError(f"{model} is no reward model ({', '.join(architectures)}). Train one by the command reward.")
