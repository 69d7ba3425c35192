"""Rankings of answers to learn from directly, and runs in this process."""

import dataclasses
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from tests.trainer.snapshot_samples import ANSWERS, completion_row, prompt_row
from trainer import preference, sft
from trainer.config import PreferenceOptions, SftOptions, options_read
from trainer.data.snapshots import snapshot_write
from trainer.records import Manifest, Request
from trainer.runs import RunFolder

QUICK = {"epochs": 1, "prompts_per_step": 4, "learning_rate": 0.003, "micro_tokens": 400, "checkpoint_every": 2}


def ranking_row(prompt: int, tiers: Sequence[Sequence[int]], *, weight: float = 1.0) -> dict[str, Any]:
    """One ranking of a prompt's answers, all pairs of them as edges."""
    places = [(place, tier) for tier, members in enumerate(tiers) for place in members]
    edges = [
        {"i": i, "j": j, "outcome": "=" if a == b else ">", "strength": None, "weight": 1.0}
        for number, (i, a) in enumerate(places)
        for j, b in places[number + 1 :]
    ]
    return {
        **{"comparison": f"c{prompt}", "task": prompt, "prompt": prompt, "annotator": "a", "group": "", "protocol": 1},
        **{"completions": [prompt * 10 + place for place in range(len(places))], "edges": edges, "weight": weight},
        **{"ranking": [list(tier) for tier in tiers], "rationale": "", "shown": []},
    }


def rating_row(completion: int, likert: int) -> dict[str, Any]:
    """A rating on a scale of five points."""
    return {
        **{"comparison": f"r{completion:06}", "prompt": completion // 10, "completion": completion, "annotator": "a"},
        **{"likert": likert, "likert_points": 5, "answers": json.dumps({}), "protocol": 0},
    }


def rankings_make(
    folder: Path, *, train: int = 8, held_out: int = 2, k: int = 4, rows: Iterable[dict[str, Any]] | None = None
) -> Manifest:
    """Of each prompt's k answers the first is the best and the last the worst, in comparisons and in ratings."""
    numbers = range(1, train + held_out + 1)
    made = [ranking_row(number, [[place] for place in range(k)], weight=1.0 + number % 2) for number in numbers]
    tables: dict[str, Any] = {
        "prompts": [prompt_row(number, "train" if number <= train else "validation") for number in numbers],
        "completions": [completion_row(number, place) for number in numbers for place in range(len(ANSWERS))],
        "comparisons": made if rows is None else list(rows),
        "ratings": [rating_row(number * 10 + place, 5 - place) for number in numbers for place in range(k)],
    }
    return snapshot_write(folder, options={}, tables=tables, as_of="", counts={}, protocols={}, annotators={})


def preference_run(place: Path, output: Path, *, reference: Path | None = None, **given: Any) -> dict[str, Any]:
    """Train the folder's `model` on its `snapshot`; returns the report."""
    options = options_read("preference", QUICK | given)
    assert isinstance(options, PreferenceOptions)
    request = _request(place, "preference", options)
    if reference is not None:
        request["reference"] = str(reference)
    with RunFolder(output) as folder:
        report = preference.run(request, options, folder)
        folder.report_write(report)
    return report


def sft_run(place: Path, output: Path, **given: Any) -> dict[str, Any]:
    """The same for supervised training on what is ranked first."""
    options = options_read("sft", QUICK | {"answers": "preferred"} | given)
    assert isinstance(options, SftOptions)
    with RunFolder(output) as folder:
        return sft.run(_request(place, "sft", options), options, folder)


def _request(place: Path, command: str, options: PreferenceOptions | SftOptions) -> Request:
    return {
        "command": command,
        "options": dataclasses.asdict(options),
        "model": str(place / "model"),
        "snapshot": str(place / "snapshot"),
    }
