"""The rows of a snapshot's tables, once it is known which: from what was gathered and from the database."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

from labelapp.datasets.gathering import Gathered
from labelapp.models import AnnotatorKey, Completion, Prompt, Protocol

ROWS_AT_ONCE = 1000
QUESTION_FIELDS = ("key", "text", "scope", "polarity", "severity", "allows_na")


def tables_of(gathered: Gathered, keys: Mapping[int, str]) -> dict[str, Iterator[dict[str, Any]]]:
    """Every table, read as it is asked for, in the order that snapshots have. `keys` are the annotators' pseudonyms."""
    return {
        "prompts": _prompts(sorted(gathered.prompts)),
        "completions": _completions(sorted(gathered.completions)),
        **{table: _named(gathered, table, keys) for table in ("comparisons", "ratings", "demonstrations")},
    }


def protocols_of(ids: set[int]) -> dict[str, Any]:
    """What the labelers were asked, by id of the protocol."""
    protocols = Protocol.objects.filter(pk__in=ids).prefetch_related("questions").order_by("pk")
    return {
        str(protocol.pk): {
            "name": protocol.name,
            "version": protocol.version,
            "scale": {
                "likert_points": protocol.likert_points,
                "likert_low": protocol.likert_low,
                "likert_high": protocol.likert_high,
                "strength_steps": protocol.strength_steps,
                "ties_allowed": protocol.ties_allowed,
            },
            "questions": [
                {name: getattr(question, name) for name in QUESTION_FIELDS} for question in protocol.questions.all()
            ],
        }
        for protocol in protocols
    }


def annotator_keys(ids: Sequence[int]) -> dict[int, str]:
    """The pseudonyms of annotators; who has none gets one."""
    known = AnnotatorKey.objects.filter(annotator__in=ids)
    found = dict(known.values_list("annotator_id", "key"))
    if missing := sorted(set(ids) - found.keys()):
        AnnotatorKey.objects.bulk_create([AnnotatorKey(annotator_id=pk) for pk in missing], ignore_conflicts=True)
        found = dict(known.all().values_list("annotator_id", "key"))
    return found


def _prompts(ids: Sequence[int]) -> Iterator[dict[str, Any]]:
    for chunk in _chunks(ids):
        for prompt in Prompt.objects.filter(pk__in=chunk).order_by("pk"):
            yield {
                "prompt": prompt.pk,
                "messages": [{"role": turn["role"], "content": turn["content"]} for turn in prompt.messages],
                "split": prompt.split,
                "source": prompt.source,
                "language": prompt.language,
                "tags": prompt.tags,
            }


def _completions(ids: Sequence[int]) -> Iterator[dict[str, Any]]:
    fields = ("pk", "prompt_id", "model_version__name", "text", "finish_reason")
    names = ("completion", "prompt", "model", "text", "finish_reason")
    for chunk in _chunks(ids):
        for row in Completion.objects.filter(pk__in=chunk).order_by("pk").values_list(*fields):
            yield dict(zip(names, row, strict=True))


def _named(gathered: Gathered, table: str, keys: Mapping[int, str]) -> Iterator[dict[str, Any]]:
    for row in gathered.read(table):
        yield {**row, "annotator": keys[row["annotator"]] if row["annotator"] else ""}


def _chunks(ids: Sequence[int]) -> Iterator[list[int]]:
    source = iter(ids)
    while chunk := list(islice(source, ROWS_AT_ONCE)):
        yield chunk
