"""Completions to measure one by one, as groups of those that share a prompt, so that a prompt is read once."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from trainer.data.conversations import Tokenizer, completion_ids, prompt_fit, prompt_ids
from trainer.data.groups import EMPTY, TOO_LONG, Group
from trainer.data.snapshots import Snapshot
from trainer.records import CompletionLine


@dataclass(frozen=True)
class Item:
    """A completion as a group of its own, or why it is left out."""

    completion: int
    group: Group | None
    excluded: str = ""
    shortened: bool = False


def item_of(line: CompletionLine, tokenizer: Tokenizer, room: int) -> Item:
    """A completion with as much of its prompt as fits into `room` tokens. Raises ConversationError."""
    ids = completion_ids(tokenizer, line["text"], line.get("finish_reason") != "length")
    if not ids:
        return Item(line["completion"], None, EMPTY)
    whole = prompt_ids(tokenizer, line["messages"])
    left = room - len(ids)
    fitted = whole if len(whole) <= left else prompt_fit(tokenizer, line["messages"], left)
    if fitted is None:
        return Item(line["completion"], None, TOO_LONG)
    id_, tags = line["completion"], tuple(line.get("tags", ()))
    return Item(id_, Group(id_, fitted, [ids], [], 1.0, (id_,), tags=tags), shortened=len(fitted) < len(whole))


def together(groups: Iterable[Group], most: int) -> list[Group]:
    """Groups of up to `most` completions from groups of one: those with the same prompt, in the order they come in."""
    found: dict[tuple[tuple[int, ...], tuple[str, ...]], list[Group]] = {}
    for group in groups:
        found.setdefault((tuple(group.prompt_ids), group.tags), []).append(group)
    return [_joined(alike[at : at + most]) for alike in found.values() for at in range(0, len(alike), most)]


def completions_of(snapshot: Snapshot) -> Iterator[CompletionLine]:
    """All completions of a snapshot, of all splits, in the order of their ids."""
    for id_, row in sorted(snapshot.completions.items()):
        prompt = snapshot.prompts[row["prompt"]]
        yield CompletionLine(
            completion=id_,
            messages=prompt["messages"],
            text=row["text"],
            finish_reason=row["finish_reason"],
            tags=prompt["tags"],
        )


def _joined(groups: Sequence[Group]) -> Group:
    first = groups[0]
    completions = [group.completions[0] for group in groups]
    ids = tuple(group.ids[0] for group in groups)
    return Group(first.prompt, first.prompt_ids, completions, [], 1.0, ids, tags=first.tags)
