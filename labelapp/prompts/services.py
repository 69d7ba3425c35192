"""Writes about prompts."""

import json
from collections.abc import Sequence
from typing import NamedTuple, TypedDict

from django.db import connection, transaction

from labelapp.models import Project, Prompt
from labelapp.prompts.content import Message, PromptContent, content_hash, split_of

# One statement for a whole chunk: its rows travel as one JSON text, which is several times quicker than a parameter
# per value.
INSERT = """
INSERT INTO labelapp_prompt (project_id, messages, content_hash, source, external_id, author, split, language,
                             sensitivity, tags, written_by_id, written_as, created_at)
SELECT %s, messages, content_hash, source, external_id, author, split, language, sensitivity, tags, written_by,
       written_as, now()
FROM json_to_recordset(%s::json) AS given(
    messages jsonb, content_hash text, source text, external_id text, author text, split text, language text,
    sensitivity text[], tags text[], written_by bigint, written_as text)
ON CONFLICT (project_id, content_hash) DO NOTHING
RETURNING content_hash, id
"""
# What is known about a prompt may grow; its words, author and split stay.
ENRICH = """
UPDATE labelapp_prompt AS kept
SET sensitivity = ARRAY(SELECT DISTINCT unnest(kept.sensitivity || given.sensitivity::varchar[]) ORDER BY 1),
    tags = ARRAY(SELECT DISTINCT unnest(kept.tags || given.tags::varchar[]) ORDER BY 1),
    language = coalesce(nullif(kept.language, ''), given.language)
FROM json_to_recordset(%s::json) AS given(content_hash text, language text, sensitivity text[], tags text[])
JOIN labelapp_prompt AS before ON before.content_hash = given.content_hash
WHERE before.project_id = %s AND kept.id = before.id
  AND NOT (kept.sensitivity @> given.sensitivity::varchar[] AND kept.tags @> given.tags::varchar[]
           AND (kept.language <> '' OR given.language = ''))
RETURNING kept.id, kept.language <> before.language OR NOT before.sensitivity @> kept.sensitivity
"""


class _Row(TypedDict):
    messages: list[Message]
    content_hash: str
    source: str
    external_id: str
    author: str
    split: str
    language: str
    sensitivity: list[str]
    tags: list[str]
    written_by: int | None
    written_as: str


class Imported(NamedTuple):
    """Ids in the order of what was given, and how many of them are new."""

    ids: list[int]
    new: int


class ImportedPrompts(NamedTuple):
    """As `Imported`, with the ids of known prompts that are for other people now: more is known of their language or
    sensitive categories.
    """

    ids: list[int]
    new: int
    regrouped: list[int]


@transaction.atomic
def prompts_import(*, project: Project, prompts: Sequence[PromptContent]) -> ImportedPrompts:
    """Bring prompts in; one that says the same as an earlier prompt of the project is that prompt.

    The split follows from the author, or lacking one from the words. A known prompt keeps author, source and split;
    its tags and sensitive categories grow by those given. Imports into one project take turns. The caller moves the
    seats of `regrouped` prompts, in the same transaction.
    """
    Project.objects.select_for_update(no_key=True).get(pk=project.pk)
    hashes = [content_hash(prompt.messages) for prompt in prompts]
    rows = _distinct(project, hashes, prompts)
    with connection.cursor() as cursor:
        cursor.execute(INSERT, [project.pk, json.dumps(list(rows.values()))])
        ids = dict(cursor.fetchall())
        new = len(ids)
        regrouped: list[int] = []
        known = [row for key, row in rows.items() if key not in ids]
        if known:
            cursor.execute(ENRICH, [json.dumps(known), project.pk])
            regrouped = [pk for pk, is_regrouped in cursor.fetchall() if is_regrouped]
            found = Prompt.objects.filter(project=project, content_hash__in=[row["content_hash"] for row in known])
            ids.update(found.values_list("content_hash", "pk"))
    return ImportedPrompts([ids[key] for key in hashes], new, regrouped)


def _distinct(project: Project, hashes: Sequence[str], prompts: Sequence[PromptContent]) -> dict[str, _Row]:
    """The rows to write, by hash; what is known about a repeated prompt is put together."""
    rows: dict[str, _Row] = {}
    for key, prompt in zip(hashes, prompts, strict=True):
        if key not in rows:
            rows[key] = _row(project, key, prompt)
            continue
        row = rows[key]
        row["sensitivity"] = sorted({*row["sensitivity"], *prompt.sensitivity})
        row["tags"] = sorted({*row["tags"], *prompt.tags})
        row["language"] = row["language"] or prompt.language
    return rows


def _row(project: Project, key: str, prompt: PromptContent) -> _Row:
    return {
        "messages": prompt.messages,
        "content_hash": key,
        "source": prompt.source,
        "external_id": prompt.external_id,
        "author": prompt.author,
        "split": split_of(project.salt, prompt.author or key),
        "language": prompt.language,
        "sensitivity": prompt.sensitivity,
        "tags": prompt.tags,
        "written_by": prompt.written_by,
        "written_as": prompt.written_as,
    }
