"""Writes about who writes completions, and about what they wrote."""

import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple, TypedDict

from django.db import connection, transaction

from labelapp.generation.content import HUMAN, CompletionContent
from labelapp.models import Completion, Job, ModelVersion, Project
from labelapp.prompts.services import Imported
from trainer.records import SampleLine

INSERT = """
INSERT INTO labelapp_completion (prompt_id, model_version_id, text, text_hash, source_key, sampling, seed, created_at)
SELECT prompt, model, text, text_hash, source_key, sampling, seed, now()
FROM json_to_recordset(%s::json) AS given(
    prompt bigint, model bigint, text text, text_hash text, source_key text, sampling jsonb, seed bigint)
ON CONFLICT (prompt_id, model_version_id, source_key) DO NOTHING
RETURNING prompt_id, model_version_id, source_key, text_hash, id
"""
FINISH_REASONS = ("stop", "length")
Key = tuple[int, int, str]
"""Prompt, model version and source key: together they are a completion's identity."""


class _Row(TypedDict):
    prompt: int
    model: int
    text: str
    text_hash: str
    source_key: str
    sampling: dict[str, object]
    seed: int | None


class _Found(NamedTuple):
    text_hash: str
    id: int


def model_versions_named(*, project: Project, names: Collection[str]) -> dict[str, int]:
    """Ids of the project's model versions by name; unknown ones are registered, “human” as people."""
    known = dict(ModelVersion.objects.filter(project=project, name__in=names).values_list("name", "pk"))
    for name in sorted(set(names) - known.keys()):
        kind = ModelVersion.Kind.HUMAN if name == HUMAN else ModelVersion.Kind.EXTERNAL
        known[name] = ModelVersion.objects.get_or_create(project=project, name=name, defaults={"kind": kind})[0].pk
    return known


@transaction.atomic
def completions_import(*, completions: Sequence[CompletionContent]) -> Imported:
    """Bring completions in. One with the id (or, lacking ids, the text) of an earlier one is that completion.

    Completions never change, so an id that comes back with another text names another completion.
    """
    rows = [_row(completion) for completion in completions]
    found, new = _upsert(rows)
    reused = [row for row in rows if found[_key(row)].text_hash != row["text_hash"]]
    if reused:
        for row in reused:
            row["source_key"] = _key_for_reused(row["source_key"], row["text_hash"])
        more, more_new = _upsert(reused)
        found, new = found | more, new + more_new
    return Imported([found[_key(row)].id for row in rows], new)


@transaction.atomic
def completions_ingest(
    *, job: Job, model_version: ModelVersion, sampling: Mapping[str, Any], lines: Sequence[SampleLine]
) -> None:
    """Take in what a sampling job drew from a model. A completion that is there stays, so lines may come again.

    Must be called with the project's lock, which keeps whoever reads up to the newest row from passing over these.
    """
    Completion.objects.bulk_create(
        [_sampled(job, model_version, sampling, line) for line in lines], ignore_conflicts=True, batch_size=1_000
    )


def _sampled(job: Job, model_version: ModelVersion, sampling: Mapping[str, Any], line: SampleLine) -> Completion:
    text = _storable(line["text"])
    return Completion(
        prompt_id=line["prompt"],
        model_version=model_version,
        text=text,
        text_hash=hashlib.sha256(text.encode()).hexdigest(),
        source_key=f"{job.pk}:{line['index']}",
        sampling=sampling,
        seed=line["seed"],
        finish_reason=line["finish_reason"] if line["finish_reason"] in FINISH_REASONS else "",
        sampled_by=job,
    )


def _storable(text: str) -> str:
    """The text as the database can hold it: no NUL, and no half of a character."""
    return text.replace("\x00", "\ufffd").encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _row(completion: CompletionContent) -> _Row:
    text_hash = hashlib.sha256(completion.text.encode()).hexdigest()
    repeated = f":{completion.occurrence}" if completion.occurrence > 1 else ""
    return {
        "prompt": completion.prompt,
        "model": completion.model,
        "text": completion.text,
        "text_hash": text_hash,
        "source_key": completion.given_id or text_hash + repeated,
        "sampling": completion.sampling,
        "seed": completion.seed,
    }


def _key(row: _Row) -> Key:
    return row["prompt"], row["model"], row["source_key"]


def _key_for_reused(given_id: str, text_hash: str) -> str:
    return f"{given_id[:100]}#{hashlib.sha256(f'{given_id}#{text_hash}'.encode()).hexdigest()}"


def _upsert(rows: Sequence[_Row]) -> tuple[dict[Key, _Found], int]:
    """What stands under each row's key now, and how many rows were new."""
    with connection.cursor() as cursor:
        cursor.execute(INSERT, [json.dumps(rows)])
        found = {(prompt, model, key): _Found(text_hash, pk) for prompt, model, key, text_hash, pk in cursor}
    new = len(found)
    missing = {_key(row) for row in rows} - found.keys()
    if missing:
        prompts, _, keys = zip(*missing, strict=True)
        known = Completion.objects.filter(prompt__in=set(prompts), source_key__in=set(keys))
        columns = ("prompt_id", "model_version_id", "source_key", "text_hash", "pk")
        for prompt, model, key, text_hash, pk in known.values_list(*columns):
            found[prompt, model, key] = _Found(text_hash, pk)
    return found, new
