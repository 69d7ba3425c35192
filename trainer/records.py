"""What the application and the trainer hand each other: rows of a snapshot, a request, lines of a run's logs.

Standard library alone. Field names are column names of the parquet files and keys of the JSON lines.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NotRequired, TypedDict

SCHEMA_VERSION = 2
"""What is written. Version 1, which can still be read, had no reasons, no orders shown and no protocols of ratings."""
READABLE_VERSIONS = (1, 2)

# --- A snapshot folder --------------------------------------------------------------------------------------------
MANIFEST = "manifest.json"
TABLES = ("prompts", "completions", "comparisons", "ratings", "demonstrations")
SPLITS = ("train", "validation", "test")


class Message(TypedDict):
    """One turn of a conversation."""

    role: str
    content: str


class PromptRow(TypedDict):
    """A conversation that waits for the next assistant turn."""

    prompt: int
    messages: list[Message]
    split: str
    source: str
    language: str
    tags: list[str]


class CompletionRow(TypedDict):
    """An answer to a prompt. `finish_reason` is stop, length, or empty where it is not known."""

    completion: int
    prompt: int
    model: str
    text: str
    finish_reason: str


class EdgeRow(TypedDict):
    """Of a comparison's completions, number `i` is preferred to number `j` (">"), or both are about equal ("=").

    `strength` is 1 (negligibly better or unsure) to 4 (significantly better), or None where it was not asked.
    """

    i: int
    j: int
    outcome: str
    strength: int | None
    weight: float


class ComparisonRow(TypedDict):
    """What one annotator said about one prompt's completions, or what several said, combined.

    `edges` are the truth; `ranking` is the list of tiers, best first, that they came from, or None where they are no
    weak order. `annotator` is a pseudonym, empty where several are combined. `weight` multiplies the whole row.
    `rationale` is what the annotator wrote as the reason, and `shown` are ids of the completions in the order of the
    letters that the annotator saw and may have written of; both are empty where they are not known, and where several
    are combined.
    """

    comparison: str
    task: int
    prompt: int
    annotator: str
    group: str
    protocol: int
    completions: list[int]
    edges: list[EdgeRow]
    ranking: list[list[int]] | None
    weight: float
    rationale: str
    shown: list[int]


class RatingRow(TypedDict):
    """What one annotator said about one completion on its own. `answers` is a JSON object: yes, no, na or null.

    `protocol` is the id of the manifest's protocol that was followed, which says what a yes means; 0 where it is not
    known.
    """

    comparison: str
    prompt: int
    completion: int
    annotator: str
    likert: int | None
    likert_points: int
    answers: str
    protocol: int


class DemonstrationRow(TypedDict):
    """The answer a person would want the model to give."""

    demonstration: int
    prompt: int
    annotator: str
    group: str
    text: str


class FileFacts(TypedDict):
    """What a file of a snapshot must be, to show damage."""

    sha256: str
    size: int
    rows: int


class Manifest(TypedDict):
    """What a snapshot is. `digest` identifies it; `annotators` describe the pseudonyms."""

    schema_version: int
    digest: str
    as_of: str
    options: dict[str, Any]
    counts: dict[str, Any]
    protocols: dict[str, Any]
    annotators: dict[str, Any]
    files: dict[str, FileFacts]


def canonical(value: object) -> bytes:
    """The one way to write a value, whatever library wrote the file it came from."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


class Digest:
    """The identity of a snapshot: SHA-256 of its schema version, its options and of all rows as that version has them,
    table by table in the order of TABLES.
    """

    def __init__(self, options: Mapping[str, Any], version: int = SCHEMA_VERSION) -> None:
        self._sha256 = hashlib.sha256(canonical([version, options]))

    def add(self, table: str, rows: Iterable[Mapping[str, Any]]) -> None:
        """Take in rows of a table, in their order."""
        for row in rows:
            self._sha256.update(b"\n" + table.encode() + b" " + canonical(row))

    def hexdigest(self) -> str:
        """The digest as 64 hexadecimal digits."""
        return self._sha256.hexdigest()


def comparison_problem(row: ComparisonRow) -> str | None:
    """What keeps a comparison from being learned from, in a sentence; None when nothing does."""
    k = len(row["completions"])
    if k < 2:
        return "it compares fewer than two completions"
    if len(set(row["completions"])) != k:
        return "it names a completion twice"
    if len(set(row["shown"])) != len(row["shown"]) or not set(row["shown"]) <= set(row["completions"]):
        return "what was shown is not some of its completions, each once"
    for edge in row["edges"]:
        if not (0 <= edge["i"] < k and 0 <= edge["j"] < k and edge["i"] != edge["j"]):
            return f"an edge stands between {edge['i']} and {edge['j']}, of {k} completions"
        if edge["outcome"] not in (">", "="):
            return f"an edge has the outcome {edge['outcome']!r}, neither > nor ="
        if not edge["weight"] >= 0:
            return f"an edge weighs {edge['weight']}"
    return None


# --- A run folder -------------------------------------------------------------------------------------------------
REQUEST = "request.json"
CONFIG = "config.json"
EVENTS = "events.jsonl"
OUTPUTS = "outputs.jsonl"
REPORT = "report.json"
MODEL = "model"
LOG = "log.txt"
SCORER, MEMBERS = "scorer.json", "members"
"""In the model of a combination: how scores become one, and the folder of the models."""
CHECKPOINTS = "checkpoints"
CHECKPOINT_STATE = "state.json"


class Request(TypedDict):
    """What to run. Paths are folders, or a file of prompts or completions as JSON lines, or a hub id for a model.

    `combine` has `models`, all others have a `model`.
    """

    command: str
    options: dict[str, Any]
    model: NotRequired[str]
    models: NotRequired[list[str]]
    snapshot: NotRequired[str]
    reference: NotRequired[str]
    prompts: NotRequired[str]
    completions: NotRequired[str]


class PromptLine(TypedDict):
    """A line of the file of prompts that `sample` reads. `n` may ask for another number than the options do."""

    prompt: int
    messages: list[Message]
    n: NotRequired[int]


class CompletionLine(TypedDict):
    """A line of the file of completions that `evaluate` reads. `tags` are those of the prompt."""

    completion: int
    messages: list[Message]
    text: str
    finish_reason: NotRequired[str]
    tags: NotRequired[list[str]]


class SampleLine(TypedDict):
    """A line of outputs.jsonl of `sample`: completion number `index` of a prompt."""

    prompt: int
    index: int
    text: str
    finish_reason: str
    tokens: int
    seed: int


class ScoreLine(TypedDict):
    """A line of outputs.jsonl of `evaluate`; the values depend on what is measured: score (with what its heads,
    its members and their disagreement are, where there are several), or logp and reference_logp.

    A completion that does not fit has none and says why in `excluded`.
    """

    completion: int
    values: dict[str, float]
    excluded: NotRequired[str]


class CritiqueLine(TypedDict):
    """A line of outputs.jsonl of `evaluate` by critiques: what was written about a prompt's completions.

    `completions` are ids in the order of their letters, `tiers` ids as the verdict ranks them, best first; None where
    it cannot be read.
    """

    prompt: int
    completions: list[int]
    text: str
    finish_reason: str
    tiers: list[list[int]] | None


class EventLine(TypedDict):
    """A line of events.jsonl: what was measured at a step (0 is before the first), of how many in all."""

    kind: str
    step: int
    total: int
    values: dict[str, float]


@dataclass(frozen=True)
class Checkpoint:
    """A complete checkpoint: after which step it was taken, and how long the two logs were then, in bytes."""

    path: Path
    step: int
    events_offset: int
    outputs_offset: int


def checkpoint_newest(folder: Path) -> Checkpoint | None:
    """The newest complete checkpoint of a run folder. Complete ones are those with their final name.

    Raises ValueError when it is damaged all the same.
    """
    steps = [(int(path.name.removeprefix("step-")), path) for path in (folder / CHECKPOINTS).glob("step-*[0-9]")]
    if not steps:
        return None
    step, path = max(steps)
    try:
        state = json.loads((path / CHECKPOINT_STATE).read_text())
        return Checkpoint(path, step, int(state["events_offset"]), int(state["outputs_offset"]))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(f"The checkpoint {path} is damaged: {error}. Remove it to go on from an older one.") from error
