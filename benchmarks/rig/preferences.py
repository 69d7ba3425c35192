"""Preferences to train reward models on: public sets that lie beside the repository, and one of our own making."""

import gzip
import hashlib
import json
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trainer.data.snapshots import snapshot_write

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
ROLES = {"prompter": "user", "assistant": "assistant", "Human": "user", "Assistant": "assistant"}
TULU = {
    "a-is-better": (0, 1, ">", 4),
    "a-is-slightly-better": (0, 1, ">", 2),
    "tie": (0, 1, "=", None),
    "b-is-slightly-better": (1, 0, ">", 2),
    "b-is-better": (1, 0, ">", 4),
}

Said = tuple[int, int, str, int | None]
"""Completion i, completion j, ">" or "=", strength."""


@dataclass(frozen=True)
class Judged:
    """A prompt with its completions and what was said of them; `cluster` is what must not be divided among folds."""

    cluster: str
    messages: list[dict[str, str]]
    completions: list[str]
    said: list[Said]


def rows(name: str, path: str) -> Iterator[dict[str, Any]]:
    """The lines of a set. Raises FileNotFoundError where it is absent."""
    with gzip.open(DATA / name / path, "rt", encoding="utf-8") as lines:
        yield from map(json.loads, lines)


def questions() -> list[Judged]:
    """FineGrainedRLHF: four answers to a question, all six pairs judged; without the passages, which are long."""
    outcome = {0: "=", 1: ">", 2: ">"}
    return [
        Judged(
            str(row["id"]),
            [{"role": "user", "content": row["question"]}],
            row["responses"],
            [
                (pair["b"], pair["a"], ">", None)
                if pair["preference"] == 2
                else (pair["a"], pair["b"], outcome[pair["preference"]], None)
                for pair in row["pairwise"]
            ],
        )
        for row in rows("finegrained_rlhf_qa_even", "data.jsonl.gz")
    ]


def harmless() -> list[Judged]:
    """HH-RLHF harmless, test split: two continuations of a conversation."""
    return [
        Judged(
            row["prompt"][:200],
            turns(row["prompt"]),
            [row["chosen_response"].strip(), row["rejected_response"].strip()],
            [(0, 1, ">", None)],
        )
        for row in rows("hh_rlhf_harmless_test", "data.jsonl.gz")
        if row["single_turn_tail"]
    ]


def turns(prompt: str) -> list[dict[str, str]]:
    """The turns of a transcript that ends where the assistant is to go on."""
    found = [turn.partition(":") for turn in prompt.split("\n\n") if turn.partition(":")[0] in ROLES]
    return [{"role": ROLES[who], "content": text.strip()} for who, _, text in found if text.strip()]


def trees() -> list[Judged]:
    """OpenAssistant: two to nine replies, ranked; conversations of one tree begin alike."""
    return [
        Judged(
            row["tree_id"],
            [{"role": ROLES[turn["role"]], "content": turn["text"]} for turn in row["context"]],
            [reply["text"] for reply in row["responses"]],
            [(i, j, ">", None) for i in range(len(row["responses"])) for j in range(i + 1, len(row["responses"]))],
        )
        for row in rows("oasst_en_100_trees", "kway.jsonl.gz")
    ]


def strengths() -> list[Judged]:
    """Tulu 1 human evaluation: pairs with how much better, and ties."""
    return [
        Judged(
            row["instance_id"],
            [{"role": "user", "content": row["prompt"]}],
            [row["completion_a"], row["completion_b"]],
            [TULU[row["preference"]]],
        )
        for row in rows("tulu1_human_eval", "annotations.jsonl.gz")
        if row["completion_a"].strip() != row["completion_b"].strip()
    ]


def planted(prompts: int = 240, k: int = 4) -> list[Judged]:
    """Sentences whose better one has more kind words than rude ones, but for one pair in ten, which is turned round."""
    draw = random.Random(0)
    words = {"kind": ["please", "thanks", "gladly"], "rude": ["never", "stupid", "no"], "plain": ["tea", "the", "is"]}
    made = []
    for number in range(prompts):
        texts, worth = [], []
        for _ in range(k):
            kinds = draw.choices(["kind", "rude", "plain"], k=draw.randint(4, 9))
            texts.append(" ".join(draw.choice(words[kind]) for kind in kinds))
            worth.append(kinds.count("kind") - kinds.count("rude"))
        said: list[Said] = []
        for i in range(k):
            for j in range(i + 1, k):
                better, worse = (i, j) if (worth[i] > worth[j]) != (draw.random() < 0.1) else (j, i)
                said.append((better, worse, ">" if worth[i] != worth[j] else "=", None))
        made.append(Judged(str(number), [{"role": "user", "content": f"Tea {number}?"}], texts, said))
    return made


SETS: dict[str, Callable[[], list[Judged]]] = {
    "qa": questions,
    "hh": harmless,
    "oasst": trees,
    "tulu": strengths,
    "planted": planted,
}


def fold_of(judged: Judged, folds: int) -> int:
    """The fold in which this is held out; the same for all of a cluster."""
    return int.from_bytes(hashlib.sha256(judged.cluster.encode()).digest()[:4]) % folds


def snapshot_of(folder: Path, data: list[Judged], *, fold: int, folds: int, pairs: bool) -> None:
    """Write a snapshot in which one fold is held out. `pairs` breaks what is learned from into single pairs."""
    prompts, completions, comparisons = [], [], []
    for number, judged in enumerate(data):
        held_out = fold_of(judged, folds) == fold
        prompts.append(
            {
                "prompt": number,
                "messages": judged.messages,
                "split": "validation" if held_out else "train",
                "source": "",
                "language": "",
                "tags": [],
            }
        )
        for place, text in enumerate(judged.completions):
            completions.append(_completion(number, place, text))
        whole = [(list(range(len(judged.completions))), judged.said)]
        single = [([i, j], [(0, 1, outcome, strength)]) for i, j, outcome, strength in judged.said]
        for part, (places, said) in enumerate(single if pairs and not held_out else whole):
            comparisons.append(_comparison(number, part, places, said))
    tables = {"prompts": prompts, "completions": completions, "comparisons": comparisons}
    snapshot_write(folder, options={}, tables=tables, as_of="", counts={}, protocols={}, annotators={})


def _completion(prompt: int, place: int, text: str) -> dict[str, Any]:
    row = {"completion": prompt * 100 + place, "prompt": prompt, "model": "", "text": text}
    return row | {"finish_reason": "stop"}


def _comparison(prompt: int, part: int, places: list[int], said: list[Said]) -> dict[str, Any]:
    edges = [{"i": i, "j": j, "outcome": word, "strength": strength, "weight": 1.0} for i, j, word, strength in said]
    return {
        "comparison": f"{prompt}-{part:03}",
        "task": prompt * 1000 + part,
        "prompt": prompt,
        "annotator": "people",
        "group": "",
        "protocol": 1,
        "completions": [prompt * 100 + place for place in places],
        "edges": edges,
        "ranking": None,
        "rationale": "",
        "shown": [],
        "weight": 1.0,
    }
