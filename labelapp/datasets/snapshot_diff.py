"""What two snapshots do not share, row by row and by cause, in memory that does not grow with them."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from labelapp.datasets.diff_causes import Difference, Side, causes_of, side_of
from labelapp.datasets.snapshots import snapshot_localise
from labelapp.models import Snapshot
from trainer.data.snapshots import ORDER

EXAMPLES = 5
ROWS_AT_ONCE = 1000
KINDS = ("added", "removed", "changed")
Row = Mapping[str, Any]


@dataclass
class Change:
    """How many rows of a table were added, removed or changed for one cause, and the first few of them."""

    table: str
    kind: str
    cause: str
    count: int = 0
    examples: list[str] = field(default_factory=list)


@dataclass
class SnapshotDiff:
    """From the first snapshot to the second: options that differ (name, first, second), rows that are the same by
    table, and changes by table, kind and cause.
    """

    first: Snapshot
    second: Snapshot
    options: list[tuple[str, Any, Any]]
    same: dict[str, int] = field(default_factory=dict)
    changes: list[Change] = field(default_factory=list)

    @property
    def is_empty(self) -> bool:
        """Whether all rows are the same."""
        return not self.changes


def snapshot_diff(first: Snapshot, second: Snapshot) -> SnapshotDiff:
    """Compare two snapshots of a project. Raises DomainError when one of them cannot be read."""
    folders = [snapshot_localise(snapshot) for snapshot in (first, second)]
    sides = side_of(first), side_of(second)
    names = sorted(first.options.keys() | second.options.keys())
    options = [(name, first.options.get(name), second.options.get(name)) for name in names]
    diff = SnapshotDiff(first, second, [option for option in options if option[1] != option[2]])
    for table in ("comparisons", "ratings", "demonstrations", "prompts", "completions"):
        _table(diff, table, folders, sides)
    return diff


def _table(diff: SnapshotDiff, table: str, folders: Sequence[Path], sides: tuple[Side, Side]) -> None:
    changes: dict[tuple[str, str], Change] = {}
    diff.same[table] = 0
    waiting: list[Difference] = []
    # A snapshot from before a column was there says nothing that could differ in it.
    columns = set.intersection(*(_columns(folder, table) for folder in folders))
    for first, second in _pairs(table, *(_rows(folder, table, columns) for folder in folders)):
        if first == second:
            diff.same[table] += 1
            continue
        kind = "added" if first is None else "removed" if second is None else "changed"
        waiting.append(Difference(kind, first, second))
        if len(waiting) == ROWS_AT_ONCE:
            _count(changes, table, waiting, sides)
            waiting = []
    _count(changes, table, waiting, sides)
    diff.changes += sorted(changes.values(), key=lambda change: (KINDS.index(change.kind), -change.count, change.cause))


def _count(
    changes: dict[tuple[str, str], Change], table: str, found: Sequence[Difference], sides: tuple[Side, Side]
) -> None:
    for one, cause in zip(found, causes_of(table, found, *sides) if found else (), strict=True):
        change = changes.setdefault((one.kind, cause), Change(table, one.kind, cause))
        change.count += 1
        if len(change.examples) < EXAMPLES:
            change.examples.append(_shown(table, one))


def _pairs(table: str, first: Iterator[Row], second: Iterator[Row]) -> Iterator[tuple[Row | None, Row | None]]:
    """Rows with the same key side by side; both tables are sorted by it."""
    ones, others = next(first, None), next(second, None)
    while ones is not None or others is not None:
        one_key = [ones[name] for name in ORDER[table]] if ones else None
        other_key = [others[name] for name in ORDER[table]] if others else None
        takes_one = other_key is None or (one_key is not None and one_key <= other_key)
        takes_other = one_key is None or (other_key is not None and other_key <= one_key)
        yield (ones if takes_one else None), (others if takes_other else None)
        if takes_one:
            ones = next(first, None)
        if takes_other:
            others = next(second, None)


def _columns(folder: Path, table: str) -> set[str]:
    return set(pq.read_schema(folder / f"{table}.parquet").names)


def _rows(folder: Path, table: str, columns: set[str]) -> Iterator[Row]:
    with pq.ParquetFile(folder / f"{table}.parquet") as file:
        for batch in file.iter_batches(ROWS_AT_ONCE, columns=sorted(columns)):
            yield from batch.to_pylist()


def _shown(table: str, one: Difference) -> str:
    """A row in a few words."""
    row = one.row
    if table == "comparisons":
        if one.first and one.second:
            return f"task {row['task']}: {_said(one.first)} became {_said(one.second)}"
        return f"task {row['task']}: {_said(row)}"
    if table == "ratings":
        return f"completion {row['completion']}: {row['likert'] or 'no points'} {row['answers']}"
    name = table.removesuffix("s")
    return f"{name} {row[name]}"


def _said(row: Row) -> str:
    """The order of a comparison, or its pairs where it has none; completions by id."""
    names = row["completions"]
    if row["ranking"] is not None:
        order = " > ".join(" = ".join(str(names[place]) for place in tier) for tier in row["ranking"])
    else:
        pairs = [f"{names[edge['i']]} {edge['outcome']} {names[edge['j']]}" for edge in row["edges"]]
        order = ", ".join(pairs[:3]) + (" …" if len(pairs) > 3 else "")
    return f"{order} ({row['weight']:.2g})" if row["weight"] != 1 else order
