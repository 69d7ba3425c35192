"""Public data sets turned into the import format. They lie beside the repository; without them their tests skip."""

import gzip
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
FINEGRAINED = DATA / "finegrained_rlhf_qa_even" / "data.jsonl.gz"
ALPACA = DATA / "alpaca_eval_8way" / "data.jsonl.gz"
OASST = DATA / "oasst_en_100_trees" / "kway.jsonl.gz"
PREFERRED = ("tie", "a", "b")
"""What FineGrainedRLHF's numbers 0, 1 and 2 say."""
ROLES = {"prompter": "user", "assistant": "assistant"}


def read_gzipped(path: Path) -> Iterator[dict[str, Any]]:
    """The rows of a gzipped JSON lines file."""
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        yield from map(json.loads, lines)


def write_gzipped(path: Path, rows: Iterable[dict[str, Any]]) -> Path:
    """Write rows as the importer reads them."""
    with gzip.open(path, "wt", encoding="utf-8") as file:
        file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    return path


def finegrained_row(question: dict[str, Any]) -> dict[str, Any]:
    """A question with its passages, four sampled answers, all pairs judged, and the first answer as corrected."""
    passages = "\n\n".join(f"{title}: {' '.join(sentences)}" for title, *sentences in question["passages"])
    corrected = question["feedback_on_response_0"]["corrected-prediction"]
    return {
        "id": question["id"],
        "prompt": f"{question['question']}\n\nAnswer from these passages:\n\n{passages}",
        "source": "FineGrainedRLHF qa-feedback",
        "language": "en",
        "tags": ["long-form question"],
        "completions": [
            {"id": index, "text": text, "model": "qa-feedback sampler"}
            for index, text in enumerate(question["responses"])
        ],
        "preferences": [
            {"annotator": "qa-feedback", "a": pair["a"], "b": pair["b"], "preferred": PREFERRED[pair["preference"]]}
            for pair in question["pairwise"]
        ],
        "demonstrations": [{"annotator": "qa-feedback", "text": corrected}] if corrected.strip() else [],
    }


def alpaca_row(item: dict[str, Any]) -> dict[str, Any]:
    """An instruction with what eight models answered, long and full of Markdown; nobody has judged them."""
    return {
        "id": item["id"],
        "prompt": item["instruction"],
        "source": f"AlpacaEval {item['dataset']}",
        "language": "en",
        "completions": [
            {"id": answer["model"], "text": answer["output"], "model": answer["model"]} for answer in item["responses"]
        ],
    }


def oasst_row(group: dict[str, Any]) -> dict[str, Any]:
    """A conversation up to a question, and its replies in the order that people ranked them in."""
    return {
        "id": group["id"],
        "messages": [{"role": ROLES[turn["role"]], "content": turn["text"]} for turn in group["context"]],
        "source": "OpenAssistant",
        "author": group["tree_id"],  # what stands in one tree stays in one split
        "language": "en",
        "completions": [
            {
                "id": reply["message_id"],
                "text": reply["text"],
                "model": (reply["model_name"] or "unknown model") if reply["synthetic"] else None,
            }
            for reply in group["responses"]
        ],
        "rankings": [
            {"annotator": "OpenAssistant consensus", "order": [reply["message_id"] for reply in group["responses"]]}
        ],
    }
