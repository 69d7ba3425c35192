"""The job that imports a file."""

import gzip
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
from django.db import ProgrammingError, connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from labelapp.artifacts.services import artifact_localise, artifact_publish
from labelapp.datasets.imports import CHUNK_ROWS, _lines, import_run
from labelapp.datasets.lines import LineReader
from labelapp.datasets.services import import_begin
from labelapp.jobs.execution import job_execute
from labelapp.jobs.registry import JobRun
from labelapp.jobs.services import job_claim, jobs_reap
from labelapp.models import Annotation, Artifact, Job, Project, Prompt
from tests.datasets.conftest import (
    Begin,
    Import,
    completion,
    contents,
    jsonl,
    labelled_row,
    prompts,
    table_counts,
)
from tests.jobs.conftest import age
from tests.jobs.test_services import steal

State = Job.State
BAD = {"prompt": " "}
NOTHING = {"examples": [], "rejected": 0}


@contextmanager
def broken_at(words: str) -> Iterator[None]:
    """Let the database fail when a completion of these words is written: in the middle of a chunk."""
    with connection.cursor() as cursor:
        cursor.execute(
            "CREATE FUNCTION stumble() RETURNS trigger LANGUAGE plpgsql AS "
            "'BEGIN IF NEW.text = TG_ARGV[0] THEN RAISE EXCEPTION ''stumbled''; END IF; RETURN NEW; END'"
        )
        cursor.execute(
            "CREATE TRIGGER stumble BEFORE INSERT ON labelapp_completion "
            "FOR EACH ROW EXECUTE FUNCTION stumble(%s)", [words]
        )  # fmt: skip
    yield
    with connection.cursor() as cursor:
        cursor.execute("DROP FUNCTION stumble() CASCADE")


def rejects(job: Job) -> list[dict[str, Any]]:
    """The entries of the job's reject file."""
    artifact = Artifact.objects.get(pk=job.result["rejects"])
    return [json.loads(line) for line in artifact_localise(artifact, verify=True).read_bytes().splitlines()]


def next_attempt(run: JobRun) -> JobRun:
    """What happens after a worker's death: the reaper requeues the job, and another worker claims it."""
    age(run.job, 100)
    assert jobs_reap() == 1
    again = job_claim(run.job.pk)
    assert again is not None
    return again


def test_good_rows_land(bring: Import) -> None:
    job = bring(prompts(20))
    assert (job.state, job.message) == (State.SUCCEEDED, "20 rows read.")
    new = {"prompts": 20, "completions": 60, "annotations": 2, "demonstrations": 2}
    assert job.result == {"rows": 20, "new": new} | NOTHING
    assert Annotation.objects.filter(imported_by=job).count() == 2


def test_gzip_lands_alike(bring: Import) -> None:
    job = bring(content=gzip.compress(jsonl(prompts(20))))
    assert (job.result["rows"], Prompt.objects.count()) == (20, 20)


def test_again_writes_no_row_in_any_table(bring: Import) -> None:
    bring(prompts(20))
    before = table_counts()
    job = bring(prompts(20))
    assert table_counts() == before
    assert job.result == {"rows": 20, "new": {}} | NOTHING


def test_duplicates_within_a_file_are_one(bring: Import) -> None:
    job = bring([{"prompt": "Why?"}, {"prompt": "Why? "}, labelled_row("Why?")])
    assert job.result["new"] == {"prompts": 1, "completions": 3}


def test_bad_rows_are_rejected_and_the_others_land(bring: Import) -> None:
    late = labelled_row("Two") | {"completions": [completion("a"), {"text": "", "model": None}]}
    job = bring(["{", labelled_row("One"), late, "", labelled_row("Three")])
    assert job.state == State.SUCCEEDED
    assert job.message == "4 rows read, 2 of them rejected."
    assert (job.result["rows"], job.result["rejected"]) == (4, 2)
    assert Prompt.objects.count() == 2
    first, second = rejects(job)
    assert (first["file"], first["line"], first["field"], first["row"]) == ("rows.jsonl", 1, "", "{")
    assert (second["line"], second["field"], second["row"]) == (3, "completions[1].text", late)
    assert second["reason"] == "It is empty. Give it a text, or remove it."
    keys = ("line", "field", "reason")
    assert job.result["examples"] == [{key: entry[key] for key in keys} for entry in (first, second)]


def test_rejected_rows_can_be_mended_and_come_back(bring: Import) -> None:
    job = bring([labelled_row("One"), {"prompt": "Two", "tags": "garden"}])
    mended = [entry["row"] | {"tags": ["garden"]} for entry in rejects(job)]
    assert bring(mended).result["new"] == {"prompts": 1}


@pytest.mark.parametrize(
    "line",
    [b'{"prompt": "\xff"}', b'{"prompt": NaN}', b'{"prompt": "a", "prompt": "b"}', b"[" * 5000, b'{"a": 1e999}'],
)
def test_a_reject_that_is_no_json_is_kept_as_text(bring: Import, line: bytes) -> None:
    assert rejects(bring(content=line))[0]["row"] == line.decode(errors="replace")


def test_rejects_hold_what_no_utf8_holds(bring: Import) -> None:
    entry = rejects(bring(content=b'{"prompt": "a\\ud800b"}'))[0]
    assert entry["row"] == {"prompt": "a\ud800b"}


def test_a_file_without_a_good_row_fails(bring: Import) -> None:
    job = bring([BAD, BAD])
    assert (job.state, job.message[:21]) == (State.FAILED, "Nothing was imported:")
    assert len(rejects(job)) == job.result["rejected"] == 2


def test_only_the_first_rejects_are_examples(bring: Import) -> None:
    job = bring([BAD] * 20)
    assert [example["line"] for example in job.result["examples"]] == [1, 2, 3, 4, 5]
    assert len(rejects(job)) == 20


def test_strict_imports_nothing_if_any_row_is_bad(bring: Import) -> None:
    before = table_counts()
    job = bring([*prompts(CHUNK_ROWS + 50), BAD], strict=True)
    assert table_counts() == before
    assert job.state == State.FAILED
    assert job.message == "Nothing was imported: 1 of 551 rows is bad, and this import was to take all or none."
    assert [(entry["line"], entry["field"]) for entry in rejects(job)] == [(551, "prompt")]
    assert job.result["examples"][0]["line"] == 551


def test_strict_imports_all_if_all_are_good(bring: Import) -> None:
    job = bring(prompts(20), strict=True)
    assert (job.state, Prompt.objects.count()) == (State.SUCCEEDED, 20)


@pytest.mark.parametrize("content", [b"", b"\n \n", gzip.compress(b"")], ids=["empty", "blank", "packed"])
def test_an_empty_file_fails(bring: Import, content: bytes) -> None:
    job = bring(content=content)
    assert (job.state, job.message) == (State.FAILED, "This file is empty: it has no rows to import.")


def test_a_file_of_another_format_fails(bring: Import) -> None:
    job = bring(content=b"PK\x03\x04zip")
    assert job.state == State.FAILED
    assert "a zip archive: unpack it first" in job.message


def test_a_missing_upload_fails(begin: Begin) -> None:
    run = begin(prompts(1))
    artifact_localise(Artifact.objects.get(pk=run.job.payload["artifact"])).unlink()
    job_execute(run)
    assert "is missing" in Job.objects.get(pk=run.job.pk).message


def test_a_truncated_gzip_gives_what_it_has_and_says_so(bring: Import) -> None:
    whole = gzip.compress(jsonl(prompts(2000)))
    job = bring(content=whole[: len(whole) // 2])
    assert (job.state, job.result["rejected"]) == (State.SUCCEEDED, 1)
    assert 100 < Prompt.objects.count() == job.result["rows"] - 1
    assert "ends too early" in rejects(job)[0]["reason"]


def test_strict_takes_nothing_of_a_truncated_gzip(bring: Import) -> None:
    whole = gzip.compress(jsonl(prompts(2000)))
    assert bring(content=whole[: len(whole) // 2], strict=True).state == State.FAILED
    assert not Prompt.objects.exists()


def test_progress_is_told_in_rows_and_bytes(begin: Begin) -> None:
    told: list[tuple[Any, ...]] = []
    run = begin(prompts(CHUNK_ROWS + 1))
    job_execute(replace(run, listener=lambda *progress: told.append(progress)))
    job = Job.objects.get(pk=run.job.pk)
    assert [message for message, _, _ in told] == ["500 rows read.", "501 rows read."]
    assert told[-1][1:] == (job.total, job.total)


@pytest.mark.parametrize(("message", "shown"), [("Checking", "Checking"), (None, "As before")])
def test_reading_gives_signs_of_life(begin: Begin, message: str | None, shown: str) -> None:
    run = begin(prompts(3))
    Job.objects.filter(pk=run.job.pk).update(message="As before")
    age(run.job, 50)
    with LineReader(artifact_localise(Artifact.objects.get())) as reader:
        next(_lines(run, reader, message, every=-1))
    job = Job.objects.get(pk=run.job.pk)
    assert (job.message, job.total) == (shown, reader.size)
    assert job.heartbeat_at is not None
    assert (timezone.now() - job.heartbeat_at).total_seconds() < 40


def test_a_broken_chunk_leaves_nothing_of_itself(begin: Begin) -> None:
    rows = [*prompts(CHUNK_ROWS + 200), labelled_row() | {"completions": [completion("x", "Stumble")]}]
    run = begin(rows)
    with broken_at("Stumble"), pytest.raises(ProgrammingError, match="stumbled"):
        import_run(run)
    assert Prompt.objects.count() == CHUNK_ROWS
    assert Job.objects.get(pk=run.job.pk).cursor["line"] == CHUNK_ROWS


def test_a_killed_import_is_resumed_exactly(begin: Begin, project: Project) -> None:
    rows = [*prompts(700), BAD, labelled_row() | {"completions": [completion("x", "Stumble")]}, *prompts(500, 700), BAD]
    run = begin(rows)
    with broken_at("Stumble"), pytest.raises(ProgrammingError):
        import_run(run)
    job_execute(next_attempt(run))
    resumed, left = Job.objects.get(pk=run.job.pk), contents()
    assert (resumed.state, resumed.attempt) == (State.SUCCEEDED, 2)
    undisturbed = Project.objects.create(name="Undisturbed", slug="undisturbed", salt=project.salt)
    assert _import_into(undisturbed, run) | {"rejects": 0} == resumed.result | {"rejects": 0}
    assert contents() == {table: sorted(rows * 2) for table, rows in left.items()}


def _import_into(project: Project, like: JobRun) -> dict[str, Any]:
    upload = artifact_localise(Artifact.objects.get(pk=like.job.payload["artifact"]))
    kept = artifact_publish(path=upload, project=project, kind=Artifact.Kind.UPLOAD, name="rows.jsonl")
    run = import_begin(project=project, artifact=kept, strict=False)
    job_execute(run)
    result: dict[str, Any] = Job.objects.get(pk=run.job.pk).result
    return result


def test_an_attempt_after_the_last_chunk_only_finishes(begin: Begin) -> None:
    run = begin([*prompts(20), BAD])
    result = import_run(run)
    before = table_counts()
    job_execute(next_attempt(run))
    job = Job.objects.get(pk=run.job.pk)
    assert (job.state, job.result) == (State.SUCCEEDED, result)
    assert table_counts() == before


def test_a_checked_file_is_not_checked_again(begin: Begin) -> None:
    run = begin([*prompts(CHUNK_ROWS), labelled_row() | {"completions": [completion("x", "Stumble")]}], strict=True)
    with broken_at("Stumble"), pytest.raises(ProgrammingError):
        import_run(run)
    assert Job.objects.get(pk=run.job.pk).cursor["checked"] is True
    job_execute(next_attempt(run))
    assert Prompt.objects.count() == CHUNK_ROWS + 1


def test_a_stolen_import_writes_nothing_more(begin: Begin) -> None:
    run = begin(prompts(3 * CHUNK_ROWS))
    stolen: list[JobRun] = []

    def lose(*progress: object) -> None:
        if not stolen:
            stolen.append(steal(run))

    job_execute(replace(run, listener=lose))
    assert Prompt.objects.count() == CHUNK_ROWS
    job_execute(stolen[0])
    job = Job.objects.get(pk=run.job.pk)
    assert (job.state, job.attempt, job.result["rows"]) == (State.SUCCEEDED, 2, 3 * CHUNK_ROWS)
    assert Prompt.objects.count() == 3 * CHUNK_ROWS


def test_a_stopped_import_keeps_whole_chunks(begin: Begin) -> None:
    run = begin(prompts(3 * CHUNK_ROWS))

    def stop(*progress: object) -> None:
        Job.objects.filter(pk=run.job.pk).update(cancel_requested=True)

    job_execute(replace(run, listener=stop))
    job = Job.objects.get(pk=run.job.pk)
    assert (job.state, job.cursor["line"]) == (State.CANCELLED, CHUNK_ROWS)
    assert Prompt.objects.count() == CHUNK_ROWS


def test_a_chunk_costs_few_queries(begin: Begin) -> None:
    def count(rows: int) -> int:
        run = begin([{"prompt": f"{rows} {number}", "completions": [completion("a")]} for number in range(rows)])
        with CaptureQueriesContext(connection) as queries:
            job_execute(run)
        return len(queries)

    count(1)
    one, two = count(CHUNK_ROWS - 1), count(2 * CHUNK_ROWS)
    assert two - one <= 20
    assert one <= 25


def test_large_rows_make_small_chunks(begin: Begin) -> None:
    told: list[str | None] = []
    run = begin([{"prompt": f"{number} " + "pear " * 190_000} for number in range(8)])
    job_execute(replace(run, listener=lambda message, *_: told.append(message)))
    assert told == ["5 rows read.", "8 rows read."]
    assert Prompt.objects.count() == 8


def test_words_survive_the_journey(bring: Import) -> None:
    words = "Ünï\u2028cødé \\n \"quoted\" 'single' %s {braces} \u200b🍐\ud83c\udf50 e\u0301"
    bring([{"prompt": words, "completions": [completion("a", words)]}])
    prompt = Prompt.objects.get()
    expected = json.loads(json.dumps(words))
    assert prompt.messages[0]["content"] == expected
    assert prompt.completions.get().text == expected
