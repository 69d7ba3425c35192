"""Snapshot folders: what a training learns from, frozen. Written whole or not at all, and verified when read.

A folder holds one parquet file for each table, `manifest.json` with what every file must be, and
`manifest.json.sha256`, which `sha256sum -c` can check too.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any, cast

import pyarrow as pa
import pyarrow.parquet as pq

from trainer.durable import folder_aside, json_text
from trainer.records import (
    MANIFEST,
    READABLE_VERSIONS,
    SCHEMA_VERSION,
    SPLITS,
    TABLES,
    ComparisonRow,
    CompletionRow,
    DemonstrationRow,
    Digest,
    FileFacts,
    Manifest,
    PromptRow,
    RatingRow,
    canonical,
    comparison_problem,
)
from trainer.runs import InputError

SEAL = MANIFEST + ".sha256"
ROWS_AT_ONCE = 2000

# Rows of a table come in rising order of these columns, texts by code point; no two rows are equal in them.
ORDER = {
    "prompts": ("prompt",),
    "completions": ("completion",),
    "comparisons": ("task", "comparison"),
    "ratings": ("comparison", "completion"),
    "demonstrations": ("demonstration",),
}

_NUMBER, _TEXT, _WEIGHT = pa.int64(), pa.string(), pa.float64()
_MESSAGE = {"role": _TEXT, "content": _TEXT}
_EDGE = {"i": _NUMBER, "j": _NUMBER, "outcome": _TEXT, "strength": _NUMBER, "weight": _WEIGHT}
_NULLABLE = {("comparisons", "ranking"), ("ratings", "likert")}
_COLUMNS: dict[str, dict[str, Any]] = {
    "prompts": {
        "prompt": _NUMBER,
        "messages": pa.list_(pa.struct(list(_MESSAGE.items()))),
        "split": _TEXT,
        "source": _TEXT,
        "language": _TEXT,
        "tags": pa.list_(_TEXT),
    },
    "completions": {
        "completion": _NUMBER,
        "prompt": _NUMBER,
        "model": _TEXT,
        "text": _TEXT,
        "finish_reason": _TEXT,
    },
    "comparisons": {
        "comparison": _TEXT,
        "task": _NUMBER,
        "prompt": _NUMBER,
        "annotator": _TEXT,
        "group": _TEXT,
        "protocol": _NUMBER,
        "completions": pa.list_(_NUMBER),
        "edges": pa.list_(pa.struct(list(_EDGE.items()))),
        "ranking": pa.list_(pa.list_(_NUMBER)),
        "weight": _WEIGHT,
        "rationale": _TEXT,
        "shown": pa.list_(_NUMBER),
    },
    "ratings": {
        "comparison": _TEXT,
        "prompt": _NUMBER,
        "completion": _NUMBER,
        "annotator": _TEXT,
        "likert": _NUMBER,
        "likert_points": _NUMBER,
        "answers": _TEXT,
        "protocol": _NUMBER,
    },
    "demonstrations": {
        "demonstration": _NUMBER,
        "prompt": _NUMBER,
        "annotator": _TEXT,
        "group": _TEXT,
        "text": _TEXT,
    },
}
SCHEMAS = {name: pa.schema(list(columns.items())) for name, columns in _COLUMNS.items()}
# What each version of the schema added: columns of a table, and what they hold in rows from before.
_ADDED: dict[int, dict[str, dict[str, Any]]] = {
    2: {"comparisons": {"rationale": "", "shown": []}, "ratings": {"protocol": 0}}
}


class SnapshotError(InputError):
    """A snapshot that cannot be written or read; the message names the file and what is wrong with it."""


@dataclass(frozen=True)
class Snapshot:
    """A snapshot in memory. Prompts and completions are found by their ids."""

    manifest: Manifest
    prompts: dict[int, PromptRow]
    completions: dict[int, CompletionRow]
    comparisons: list[ComparisonRow]
    ratings: list[RatingRow]
    demonstrations: list[DemonstrationRow]

    @cached_property
    def ratings_by_completion(self) -> dict[int, list[RatingRow]]:
        """All ratings of each completion that has any."""
        found: dict[int, list[RatingRow]] = {}
        for row in self.ratings:
            found.setdefault(row["completion"], []).append(row)
        return found


def snapshot_write(
    folder: Path,
    *,
    options: Mapping[str, Any],
    tables: Mapping[str, Iterable[Mapping[str, Any]]],
    as_of: str,
    counts: Mapping[str, Any],
    protocols: Mapping[str, Any],
    annotators: Mapping[str, Any],
) -> Manifest:
    """Write a snapshot folder; it appears complete or not at all. A table that is not given has no rows.

    Rows come in the order that ORDER says, and prompts and completions before what points at them is checked: the
    tables are taken in the order of TABLES, one after the other. What an earlier version of the schema did not have may
    be left out of them. Options must be JSON. The counts of rows are added to `counts` where it has none of that name.
    Raises SnapshotError, and leaves nothing behind, when a row does not
    fit its table, points at nothing, or comes out of order, and when the folder exists.
    """
    unknown = set(tables) - set(TABLES)
    if unknown:
        raise SnapshotError(f"A snapshot has no table {', '.join(sorted(unknown))}; it has {', '.join(TABLES)}.")
    if folder.exists():
        raise SnapshotError(f"{folder} is there already; a snapshot is never written over.")
    given = _json(options)
    with folder_aside(folder) as aside:
        digest, checker = Digest(given), _Checker()
        files: dict[str, FileFacts] = {}
        for table in TABLES:
            path = aside / f"{table}.parquet"
            rows = _table_write(path, table, tables.get(table, ()), digest, checker)
            files[path.name] = {"sha256": _sha256(path), "size": path.stat().st_size, "rows": rows}
        manifest: Manifest = {
            "schema_version": SCHEMA_VERSION,
            "digest": digest.hexdigest(),
            "as_of": as_of,
            "options": given,
            "counts": {table: files[f"{table}.parquet"]["rows"] for table in TABLES} | dict(counts),
            "protocols": dict(protocols),
            "annotators": dict(annotators),
            "files": files,
        }
        _manifest_write(aside, manifest)
    return manifest


def manifest_read(folder: Path) -> Manifest:
    """The manifest of a snapshot folder, checked against its seal. Raises SnapshotError."""
    content, seal = _bytes(folder, MANIFEST), _bytes(folder, SEAL)
    if seal != _seal(content):
        raise SnapshotError(
            f"{folder / MANIFEST} is damaged: its SHA-256 is not what {SEAL} says. Fetch the snapshot again."
        )
    manifest = cast(Manifest, json.loads(content))
    if manifest["schema_version"] not in READABLE_VERSIONS:
        raise SnapshotError(
            f"{folder / MANIFEST} is of schema version {manifest['schema_version']}; this trainer reads versions "
            f"{' and '.join(map(str, READABLE_VERSIONS))}. Freeze the snapshot again."
        )
    return manifest


def snapshot_read(folder: Path, *, verify: bool = True) -> Snapshot:
    """Read a snapshot folder. `verify` compares every file, and what the rows add up to, with the manifest.

    Columns that the folder's version of the schema does not have are empty in every row.
    Raises SnapshotError that names the file that is missing, damaged, or of another schema version.
    """
    manifest = manifest_read(folder)
    rows = {table: _table_read(folder, table, manifest, verify) for table in TABLES}
    if verify:
        digest = Digest(manifest["options"], manifest["schema_version"])
        for table in TABLES:
            digest.add(table, rows[table])
        if digest.hexdigest() != manifest["digest"]:
            raise SnapshotError(f"{folder / MANIFEST} does not belong to these rows: they have another digest.")
    for table in TABLES:
        rows[table] = list(_complete(table, rows[table]))
    return Snapshot(
        manifest=manifest,
        prompts={row["prompt"]: cast(PromptRow, row) for row in rows["prompts"]},
        completions={row["completion"]: cast(CompletionRow, row) for row in rows["completions"]},
        comparisons=cast(list[ComparisonRow], rows["comparisons"]),
        ratings=cast(list[RatingRow], rows["ratings"]),
        demonstrations=cast(list[DemonstrationRow], rows["demonstrations"]),
    )


class _Checker:
    """Refuses rows that do not fit their table, come out of order, or point at what is not there."""

    def __init__(self) -> None:
        self._prompts: set[int] = set()
        self._completions: dict[int, int] = {}
        self._last: dict[str, tuple[Any, ...]] = {}

    def check(self, table: str, number: int, row: Mapping[str, Any]) -> None:
        """Take in a row. Raises SnapshotError."""
        problem = self._shape(table, row) or self._order(table, row) or self._links(table, row)
        if problem:
            raise SnapshotError(f"Row {number} of {table}: {problem}.")

    def _shape(self, table: str, row: Mapping[str, Any]) -> str | None:
        if set(row) != set(_COLUMNS[table]):
            wrong = ", ".join(sorted(set(row) ^ set(_COLUMNS[table])))
            return f"its columns are not those of the table: {wrong}"
        for name, value in row.items():
            if value is None and (table, name) not in _NULLABLE:
                return f"{name} is missing"
        for name, keys in (("messages", _MESSAGE), ("edges", _EDGE)):
            for part in row.get(name, ()):
                if set(part) != set(keys) or any(part[key] is None for key in part if key != "strength"):
                    return f"one of its {name} is not made of {', '.join(keys)}"
        return None

    def _order(self, table: str, row: Mapping[str, Any]) -> str | None:
        key = tuple(row[name] for name in ORDER[table])
        last, self._last[table] = self._last.get(table), key
        if last is not None and not last < key:
            return f"{', '.join(ORDER[table])} must rise from row to row, but {key} comes after {last}"
        return None

    def _links(self, table: str, row: Mapping[str, Any]) -> str | None:
        if table == "prompts":
            self._prompts.add(row["prompt"])
            return None if row["split"] in SPLITS else f"its split is {row['split']!r}, none of {', '.join(SPLITS)}"
        if row["prompt"] not in self._prompts:
            return f"it points at prompt {row['prompt']}, which is not in the snapshot"
        if table == "completions":
            self._completions[row["completion"]] = row["prompt"]
        named = row["completions"] if table == "comparisons" else [row["completion"]] if table == "ratings" else []
        for completion in named:
            if self._completions.get(completion) != row["prompt"]:
                return f"completion {completion} is none of prompt {row['prompt']} in the snapshot"
        return comparison_problem(cast(ComparisonRow, row)) if table == "comparisons" else None


def _table_write(path: Path, table: str, rows: Iterable[Mapping[str, Any]], digest: Digest, checker: _Checker) -> int:
    source, total = _complete(table, rows), 0
    with pq.ParquetWriter(path, SCHEMAS[table], compression="zstd") as writer:
        while chunk := list(islice(source, ROWS_AT_ONCE)):
            for number, row in enumerate(chunk, start=total + 1):
                checker.check(table, number, row)
            try:
                columns = pa.Table.from_pylist(chunk, schema=SCHEMAS[table])
                # As they will be read: 1 and 1.0 must not make two snapshots.
                digest.add(table, columns.to_pylist())
            except (pa.ArrowException, TypeError, ValueError, OverflowError) as error:
                raise SnapshotError(f"Rows {total + 1} to {total + len(chunk)} of {table}: {error}") from error
            writer.write_table(columns)
            total += len(chunk)
    return total


def _table_read(folder: Path, table: str, manifest: Manifest, verify: bool) -> list[dict[str, Any]]:
    path = folder / f"{table}.parquet"
    facts = manifest["files"].get(path.name)
    if facts is None or not path.is_file():
        raise SnapshotError(f"{path} is missing. Fetch the snapshot again.")
    if verify and (path.stat().st_size != facts["size"] or _sha256(path) != facts["sha256"]):
        raise SnapshotError(f"{path} is damaged: it is not the file that {MANIFEST} describes. Fetch it again.")
    try:
        columns = pq.ParquetFile(path).read()
    except (pa.ArrowException, OSError) as error:
        raise SnapshotError(f"{path} is damaged: {error}") from error
    if not columns.schema.equals(_schema_of(table, manifest["schema_version"])) or columns.num_rows != facts["rows"]:
        raise SnapshotError(f"{path} has other columns or rows than {MANIFEST} describes.")
    return cast(list[dict[str, Any]], columns.to_pylist())


def _added(table: str, since: int = 1) -> dict[str, Any]:
    """The columns that a table got after a version of the schema, and what they hold in rows from before."""
    later = [tables.get(table, {}) for version, tables in _ADDED.items() if version > since]
    return deepcopy({name: value for columns in later for name, value in columns.items()})


def _complete(table: str, rows: Iterable[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    """Rows of any version of the schema with all columns."""
    added = _added(table)
    for row in rows:
        yield deepcopy(added) | dict(row)


def _schema_of(table: str, version: int) -> pa.Schema:
    later = _added(table, version)
    return pa.schema([(name, kind) for name, kind in _COLUMNS[table].items() if name not in later])


def _manifest_write(folder: Path, manifest: Manifest) -> None:
    try:
        text = json_text(manifest)
    except (TypeError, ValueError) as error:
        raise SnapshotError(f"The manifest cannot be written as JSON: {error}") from error
    for name, content in ((MANIFEST, text.encode()), (SEAL, _seal(text.encode()))):
        (folder / name).write_bytes(content)


def _json(options: Mapping[str, Any]) -> dict[str, Any]:
    """Options as they will be read, so that their digest is the same before and after."""
    try:
        return cast(dict[str, Any], json.loads(canonical(options)))
    except (TypeError, ValueError) as error:
        raise SnapshotError(f"The options of a snapshot must be JSON: {error}") from error


def _seal(content: bytes) -> bytes:
    return f"{hashlib.sha256(content).hexdigest()}  {MANIFEST}\n".encode()


def _bytes(folder: Path, name: str) -> bytes:
    try:
        return (folder / name).read_bytes()
    except FileNotFoundError:
        raise SnapshotError(f"{folder / name} is missing. Is {folder} a snapshot folder?") from None


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
