"""Completions with ratings as groups, for a reward model that learns from ratings on their own."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from trainer.data.conversations import Tokenizer
from trainer.data.groups import Edge, Exclusions, Group, Writer
from trainer.data.ratings import ratings_of
from trainer.data.snapshots import Snapshot
from trainer.records import ComparisonRow

NO_RATING = "its ratings are on no scale"


def rated_groups_from(
    snapshot: Snapshot, tokenizer: Tokenizer, *, split: str, max_length: int
) -> tuple[list[Group], Exclusions]:
    """The completions of a split that were rated on a scale, one group of weight 1 for each prompt.

    They come with all that was said in comparing them with each other, so that it can be told how well ratings agree
    with it. A group whose longest completion does not fit is left out whole.
    """

    def on_a_scale(ids: Sequence[int]) -> list[int]:
        return [id_ for id_, mean in zip(ids, ratings_of(snapshot, ids)[0], strict=True) if mean is not None]

    groups, excluded = chosen_groups_from(
        snapshot, tokenizer, split=split, max_length=max_length, chosen=on_a_scale, cause=NO_RATING
    )
    said: dict[int, list[ComparisonRow]] = {}
    for row in snapshot.comparisons:
        said.setdefault(row["prompt"], []).append(row)
    return [replace(group, edges=list(_edges(group.ids, said.get(group.prompt, [])))) for group in groups], excluded


def chosen_groups_from(
    snapshot: Snapshot,
    tokenizer: Tokenizer,
    *,
    split: str,
    max_length: int,
    chosen: Callable[[Sequence[int]], list[int]],
    cause: str,
) -> tuple[list[Group], Exclusions]:
    """Of the completions of a split with any rating those that are `chosen` of each prompt's, compared or not.

    One group of weight 1 for each prompt, without edges. Those that are not chosen are counted under `cause`; a group
    whose longest completion does not fit is left out whole.
    """
    excluded = Exclusions(unit="rated completions")
    writer = Writer(snapshot, tokenizer, max_length, excluded)
    groups = []
    for prompt, found in _by_prompt(snapshot, split):
        ids = chosen(found)
        excluded.found += len(found)
        if len(ids) < len(found):
            excluded.add(cause, len(found) - len(ids))
        rows = [snapshot.completions[id_] for id_ in ids]
        if rows and (parts := writer.parts(prompt, rows, len(rows))) is not None:
            excluded.kept += len(rows)
            tags = tuple(snapshot.prompts[prompt]["tags"])
            groups.append(Group(prompt, *parts, [], 1.0, tuple(ids), (), (), *ratings_of(snapshot, ids), tags))
    return groups, excluded


def questions_of(snapshot: Snapshot, split: str) -> list[str]:
    """Keys of the questions that somebody answered with yes or no about a completion of a split."""
    there = [id_ for _, ids in _by_prompt(snapshot, split) for id_ in ids]
    return sorted({key for answers in ratings_of(snapshot, there)[1] for key in answers})


def _by_prompt(snapshot: Snapshot, split: str) -> list[tuple[int, list[int]]]:
    """Ids of the completions with any rating, by prompt."""
    found: dict[int, list[int]] = {}
    for completion in sorted(snapshot.ratings_by_completion):
        prompt = snapshot.completions[completion]["prompt"]
        if snapshot.prompts[prompt]["split"] == split:
            found.setdefault(prompt, []).append(completion)
    return sorted(found.items())


def _edges(ids: Sequence[int], rows: list[ComparisonRow]) -> Iterator[Edge]:
    """What comparisons said of pairs of these completions, numbered as in `ids`."""
    place = {id_: number for number, id_ in enumerate(ids)}
    for row in rows:
        for edge in row["edges"]:
            i, j = row["completions"][edge["i"]], row["completions"][edge["j"]]
            weight = row["weight"] * edge["weight"]
            if i in place and j in place and weight > 0:
                yield Edge(place[i], place[j], edge["outcome"], weight, edge["strength"], row["group"])
