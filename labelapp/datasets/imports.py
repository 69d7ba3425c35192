"""The job that imports a file: chunk by chunk, each saved together with how far it came.

Reading a file is pure, so rejected rows need no bookkeeping: where there are any, another reading writes them out.
"""

import json
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from django.db import transaction

from labelapp.artifacts.services import artifact_localise, artifact_write
from labelapp.datasets.fields import RowError
from labelapp.datasets.lines import Line, LineReader, UnreadableFileError
from labelapp.datasets.rows import Row, json_load, row_parse
from labelapp.datasets.services import rows_import
from labelapp.errors import DomainError
from labelapp.jobs.registry import JobFailedError, JobRun
from labelapp.jobs.services import job_progress
from labelapp.models import Artifact

CHUNK_ROWS = 500
CHUNK_BYTES = 4 * 1024 * 1024
SIGN_OF_LIFE = 5.0
"""Seconds between two signs of life while nothing is saved."""
EXAMPLES = 5


@dataclass
class Standing:
    """How far an import has come. It is the job's cursor; the counts are what its result shows."""

    line: int = 0
    rows: int = 0
    rejected: int = 0
    checked: bool = False
    new: Counter[str] = field(default_factory=Counter)
    examples: list[dict[str, object]] = field(default_factory=list)

    @property
    def cursor(self) -> dict[str, object]:
        """As JSON, for the next attempt."""
        return {**vars(self), "new": dict(self.new)}

    @property
    def message(self) -> str:
        """What people see while it runs."""
        rejected = f", {self.rejected:,} of them rejected" if self.rejected else ""
        return f"{self.rows:,} rows read{rejected}."

    @property
    def result(self) -> dict[str, object]:
        """What people see when it is done."""
        return {"rows": self.rows, "rejected": self.rejected, "new": dict(self.new), "examples": self.examples}

    def take(self, number: int, read: Row | RowError) -> None:
        """Count a row, good or bad."""
        self.line = number
        self.rows += 1
        if isinstance(read, RowError):
            self.rejected += 1
            if len(self.examples) < EXAMPLES:
                self.examples.append({"line": number, "field": read.field, "reason": read.reason})


def import_run(run: JobRun) -> dict[str, object]:
    """Import the job's file from where an earlier attempt came to; return the counts.

    Raises DomainError when this is no import file, and JobFailedError when all rows are bad, or some are and it was to
    be imported wholly or not at all.
    """
    artifact = Artifact.objects.get(pk=run.job.payload["artifact"])
    path = artifact_localise(artifact)
    standing = _standing(run)
    try:
        if run.job.payload["strict"] and not standing.checked:
            _check(run, artifact, path)
            standing.checked = True
        _import(run, path, standing)
    except UnreadableFileError as error:
        raise DomainError(str(error)) from None
    if not standing.rows:
        raise DomainError("This file is empty: it has no rows to import.")
    result = standing.result | _rejects(run, artifact, path, standing)
    if standing.rejected == standing.rows:
        raise JobFailedError("Nothing was imported: not a single row of this file is good.", result)
    return result


def _standing(run: JobRun) -> Standing:
    """As an earlier attempt saved it."""
    cursor = run.job.cursor
    return Standing(**{**cursor, "new": Counter(cursor["new"])}) if cursor else Standing()


def _check(run: JobRun, artifact: Artifact, path: Path) -> None:
    """Read the whole file before anything is imported."""
    standing = Standing()
    with LineReader(path) as reader:
        for line in _lines(run, reader, "Checking all rows before importing any."):
            standing.take(line.number, _read(line))
    if standing.rejected:
        result = standing.result | _rejects(run, artifact, path, standing)
        bad = f"{standing.rejected:,} of {standing.rows:,} rows {'is' if standing.rejected == 1 else 'are'} bad"
        raise JobFailedError(f"Nothing was imported: {bad}, and this import was to take all or none.", result)


def _import(run: JobRun, path: Path, standing: Standing) -> None:
    with LineReader(path) as reader:
        for rows in _chunks(run, reader, standing):
            with transaction.atomic():
                if rows:
                    standing.new += rows_import(project=run.job.project, rows=rows, job=run.job)
                done, total = reader.done, reader.size
                job_progress(run, done=done, total=total, message=standing.message, cursor=standing.cursor)


def _chunks(run: JobRun, reader: LineReader, standing: Standing) -> Iterator[list[Row]]:
    """The good rows behind the standing, a transaction's worth at a time; the standing moves along."""
    rows: list[Row] = []
    taken, size, reached = 0, 0, standing.line
    for line in _lines(run, reader):
        if line.number <= reached:
            continue
        read = _read(line)
        standing.take(line.number, read)
        if isinstance(read, Row):
            rows.append(read)
        taken, size = taken + 1, size + len(line.content)
        if taken == CHUNK_ROWS or size >= CHUNK_BYTES:
            yield rows
            rows, taken, size = [], 0, 0
    if taken:
        yield rows


def _lines(
    run: JobRun, reader: LineReader, message: str | None = None, *, every: float = SIGN_OF_LIFE
) -> Iterator[Line]:
    """The lines of the file, with a sign of life every so many seconds; without a message, what is shown stays."""
    spoken = time.monotonic()
    for line in reader:
        if time.monotonic() - spoken > every:
            job_progress(run, done=reader.done, total=reader.size, message=message)
            spoken = time.monotonic()
        yield line


def _read(line: Line) -> Row | RowError:
    if line.problem:
        return RowError("", line.problem)
    try:
        return row_parse(line.content)
    except RowError as error:
        return error


def _rejects(run: JobRun, artifact: Artifact, path: Path, standing: Standing) -> dict[str, object]:
    """Publish the rejected rows of the file with what is wrong with each, where there are any."""
    if not standing.rejected:
        return {}
    with LineReader(path) as reader:
        lines = _lines(run, reader, "Writing out the rejected rows.")
        rejects = artifact_write(
            chunks=_reject_lines(artifact.name, lines),
            project=run.job.project,
            kind=Artifact.Kind.REJECTS,
            name=f"{artifact.name}.rejects.jsonl",
        )
    job_progress(run, message=standing.message)
    return {"rejects": rejects.pk}


def _reject_lines(file: str, lines: Iterator[Line]) -> Iterator[bytes]:
    for line in lines:
        read = _read(line)
        if isinstance(read, RowError):
            entry = {"file": file, "line": line.number, "field": read.field, "reason": read.reason}
            yield _json_line(entry | {"row": _as_json(line.content)})


def _as_json(content: bytes) -> object:
    """The row as an object that can be mended and imported again; as text where it is no JSON."""
    with suppress(RowError, ValueError, RecursionError):
        row = json_load(content)
        json.dumps(row, allow_nan=False)
        return row
    return content.decode(errors="replace")


def _json_line(entry: dict[str, object]) -> bytes:
    try:
        return json.dumps(entry, ensure_ascii=False).encode() + b"\n"
    except UnicodeEncodeError:  # half a surrogate pair, which only an escape can hold
        return json.dumps(entry).encode() + b"\n"
