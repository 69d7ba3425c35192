"""Small snapshots to train on, and what trainings on them left."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from trainer.data.snapshots import snapshot_write
from trainer.records import CompletionRow, Manifest, PromptRow

WORDS = ("red", "green", "blue", "white", "black", "grey", "pink", "gold")
ANSWERS = ("yes it is", "no", "perhaps it will", "never at all")


def prompt_row(number: int, split: str) -> PromptRow:
    """A short question."""
    messages = [{"role": "user", "content": f"Is {WORDS[number % 8]} {number} good?"}]
    return {"prompt": number, "messages": messages, "split": split, "source": "", "language": "en", "tags": []}  # type: ignore[typeddict-item]


def completion_row(prompt: int, number: int) -> CompletionRow:
    """One of the answers to a question."""
    text = f"{ANSWERS[number]} {WORDS[(prompt + number) % 8]}"
    return {"completion": prompt * 10 + number, "prompt": prompt, "model": "", "text": text, "finish_reason": "stop"}


def comparison_row(prompt: int, k: int, *, tied: bool = False) -> dict[str, Any]:
    """A ranking of a question's answers: which is best depends on the question."""
    order = [(place + prompt) % k for place in range(k)]
    pairs = [(order[a], order[b]) for a in range(k) for b in range(a + 1, k)]
    outcome = "=" if tied else ">"
    edges = [{"i": i, "j": j, "outcome": outcome, "strength": None, "weight": 1.0} for i, j in pairs]
    row = {"comparison": f"c{prompt}", "task": prompt, "prompt": prompt, "annotator": "a", "group": "", "protocol": 1}
    completions = [prompt * 10 + number for number in range(k)]
    return row | {"completions": completions, "edges": edges, "ranking": None, "weight": 1.0 + prompt % 2}


def snapshot_make(folder: Path, *, train: int = 12, held_out: int = 4, split: str = "validation") -> Manifest:
    """Rankings of two, three or four answers to each of some questions, and a demonstration for each.

    Of the questions to learn from, the last one is all tied.
    """
    numbers = range(1, train + held_out + 1)
    sizes = {number: 2 + number % 3 for number in numbers}
    demonstrations = [
        {"demonstration": number, "prompt": number, "annotator": "a", "group": "", "text": f"Yes, {WORDS[number % 8]}."}
        for number in numbers
    ]
    tables: dict[str, Sequence[Any]] = {
        "prompts": [prompt_row(number, "train" if number <= train else split) for number in numbers],
        "completions": [completion_row(number, index) for number in numbers for index in range(sizes[number])],
        "comparisons": sorted(
            [comparison_row(number, sizes[number], tied=number == train) for number in numbers],
            key=lambda row: row["task"],
        ),
        "demonstrations": demonstrations,
    }
    return snapshot_write(folder, options={}, tables=tables, as_of="", counts={}, protocols={}, annotators={})


def events(folder: Path, kind: str) -> list[dict[str, Any]]:
    """The lines of one kind in a run folder's log."""
    lines = [json.loads(line) for line in (folder / "events.jsonl").read_text().splitlines()]
    return [line for line in lines if line["kind"] == kind]


def report(folder: Path) -> dict[str, Any]:
    """The report of a run folder."""
    return dict(json.loads((folder / "report.json").read_text()))
