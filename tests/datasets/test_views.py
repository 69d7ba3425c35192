"""Pages of imports."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.urls import reverse
from pytest_django.fixtures import Settings

from labelapp.accounts.services import membership_grant
from labelapp.jobs.execution import job_execute
from labelapp.jobs.services import job_claim, job_create
from labelapp.models import Artifact, Job, Project, Prompt, Role, User
from tests.datasets.conftest import Import, jsonl, labelled_row, prompts
from tests.query_counts import query_count

SignIn = Callable[[User], Client]


@pytest.fixture
def browser(client_of: SignIn, omar: User) -> Client:
    return client_of(omar)


@pytest.fixture
def listing(project: Project) -> str:
    return reverse("imports", args=[project.slug])


@pytest.fixture
def upload(project: Project) -> str:
    return reverse("import_upload", args=[project.slug])


def file(content: bytes, name: str = "rows.jsonl") -> SimpleUploadedFile:
    return SimpleUploadedFile(name, content)


def rejects_url(job: Job) -> str:
    return reverse("import_rejects", args=[job.project.slug, job.pk])


def test_only_admins_import(
    client_of: SignIn, listing: str, upload: str, bring: Import, stan: User, lena: User, rita: User, omar: User
) -> None:
    urls = [listing, upload, rejects_url(bring([{}]))]
    answers = {user.name: {client_of(user).get(url).status_code for url in urls} for user in (stan, lena, rita, omar)}
    assert answers == {"Stan": {404}, "Lena": {403}, "Rita": {403}, "Omar": {200}}


def test_only_admins_upload(client_of: SignIn, upload: str, stan: User, lena: User, rita: User) -> None:
    answers = [client_of(user).post(upload, {"file": file(b"{}")}).status_code for user in (stan, lena, rita)]
    assert answers == [404, 403, 403]
    assert not Job.objects.exists()
    assert not Artifact.objects.exists()


def test_an_upload_becomes_a_job(browser: Client, upload: str, omar: User) -> None:
    response = browser.post(upload, {"file": file(jsonl(prompts(3))), "strict": "on"})
    job = Job.objects.get()
    assert response.headers["Location"] == reverse("job", args=[job.pk])
    assert (job.created_by, job.payload["strict"], job.title) == (omar, True, "Import of rows.jsonl")
    run = job_claim(job.pk)
    assert run is not None
    job_execute(run)
    assert Prompt.objects.count() == 3
    page = browser.get(response.headers["Location"]).text
    assert "<dt>New prompts</dt><dd>3</dd>" in page
    assert "Done" in page


@pytest.mark.parametrize("in_memory", [0, 10_000_000])
def test_an_upload_is_kept_whole_from_disk_and_from_memory(
    browser: Client, upload: str, settings: Settings, in_memory: int
) -> None:
    settings.FILE_UPLOAD_MAX_MEMORY_SIZE = in_memory
    content = jsonl(prompts(5000))
    browser.post(upload, {"file": file(content)})
    assert Artifact.objects.get().size == len(content)


def test_the_form_says_how_large_a_file_may_be(browser: Client, upload: str, settings: Settings) -> None:
    assert f"up to {settings.UPLOAD_LIMIT // 1024**2} MB" in browser.get(upload).text


def test_an_old_folder_among_the_uploads_stops_none(
    browser: Client, upload: str, settings: Settings, tmp_path: Path
) -> None:
    settings.FILE_UPLOAD_TEMP_DIR = tmp_path
    (tmp_path / "somebody's").mkdir()
    os.utime(tmp_path / "somebody's", (0, 0))
    assert browser.post(upload, {"file": file(b"{}")}).status_code == 302


def test_a_form_without_a_file_says_so(browser: Client, upload: str) -> None:
    response = browser.post(upload, {})
    assert response.status_code == 422
    assert "This field is required." in response.text
    assert not Job.objects.exists()


def test_an_empty_file_is_refused_at_once(browser: Client, upload: str) -> None:
    response = browser.post(upload, {"file": file(b"")})
    assert response.status_code == 422
    assert "This file is empty" in response.text


def test_a_file_that_cannot_be_kept_is_said_beside_the_field(browser: Client, upload: str, settings: Settings) -> None:
    settings.ARTIFACT_ROOT = "/dev/null/artifacts"
    response = browser.post(upload, {"file": file(b"{}")})
    assert response.status_code == 422
    assert "nothing was kept" in response.text
    assert not Job.objects.exists()


def test_the_list_shows_what_came_of_each(browser: Client, listing: str, bring: Import) -> None:
    job = bring([*prompts(20), {"prompt": " "}])
    text = browser.get(listing).text
    assert "Import of rows.jsonl" in text
    for label, count in [("Rows", 21), ("New prompts", 20), ("New completions", 60), ("New labels", 2)]:
        assert f'<td data-label="{label}" class="num">{count}</td>' in text
    assert rejects_url(job) in text


def test_the_list_shows_imports_of_this_project_only(browser: Client, listing: str, project: Project) -> None:
    other = Project.objects.create(name="Other", slug="other")
    job_create(project=other, kind="import", title="Import of hidden.jsonl", payload={})
    job_create(project=project, kind="batch_build", title="Making tasks", payload={})
    text = browser.get(listing).text
    assert "hidden.jsonl" not in text
    assert "Making tasks" not in text
    assert "Nothing was imported yet" in text


def test_the_list_costs_the_same_for_any_number(
    browser: Client, listing: str, bring: Import, omar: User, project: Project
) -> None:
    bring([labelled_row()])
    few = query_count(browser, listing)
    for _ in range(20):
        job_create(project=project, kind="import", title="Import of x", payload={}, created_by=omar)
    assert query_count(browser, listing) == few <= 6


def test_rejects_are_a_download(browser: Client, bring: Import) -> None:
    response = browser.get(rejects_url(bring([{"prompt": " "}])))
    assert response.headers["Content-Disposition"] == 'attachment; filename="rows.jsonl.rejects.jsonl"'
    assert b'"field": "prompt"' in b"".join(response)


def test_rejects_of_a_good_import_are_not_there(browser: Client, bring: Import) -> None:
    assert browser.get(rejects_url(bring([labelled_row()]))).status_code == 404


def test_rejects_of_another_project_are_not_there(client_of: SignIn, bring: Import, stan: User) -> None:
    other = Project.objects.create(name="Other", slug="other")
    membership_grant(project=other, user=stan, role=Role.ADMIN, actor=None)
    job = bring([{"prompt": " "}])
    assert client_of(stan).get(reverse("import_rejects", args=["other", job.pk])).status_code == 404


def test_the_page_of_a_failed_import_says_which_rows(browser: Client, bring: Import) -> None:
    job = bring([labelled_row(), {"prompt": "Why?", "<b>": 1}], strict=True)
    text = browser.get(reverse("job", args=[job.pk])).text
    assert "Nothing was imported: 1 of 2 rows is bad" in text
    assert "<code>&lt;b&gt;</code>" in text
    assert rejects_url(job) in text
