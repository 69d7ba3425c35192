"""Pages of jobs."""

from collections.abc import Callable

import pytest
from django.test import Client
from django.urls import reverse

from labelapp.jobs.registry import JobRun
from labelapp.jobs.services import job_create, job_fail, job_finish, job_progress
from labelapp.models import Job, Project, User
from tests.query_counts import query_count

SignIn = Callable[[User], Client]


@pytest.fixture
def browser(client_of: SignIn, omar: User) -> Client:
    return client_of(omar)


def fragment(job: Job) -> str:
    return reverse("job_progress", args=[job.pk])


def seen_in(text: str) -> str:
    """The address that the fragment asks for next."""
    return text.split('hx-get="')[1].split('"')[0]


def test_only_admins_see_jobs(
    client_of: SignIn, job: Job, stan: User, lena: User, rita: User, omar: User, project: Project
) -> None:
    urls = [reverse("jobs", args=[project.slug]), reverse("job", args=[job.pk]), fragment(job)]
    answers = {user.name: {client_of(user).get(url).status_code for url in urls} for user in (stan, lena, rita, omar)}
    assert answers == {"Stan": {404}, "Lena": {403}, "Rita": {403}, "Omar": {200}}


def test_only_admins_stop_jobs(client_of: SignIn, job: Job, stan: User, lena: User, rita: User) -> None:
    url = reverse("job_cancel", args=[job.pk])
    assert [client_of(user).post(url).status_code for user in (stan, lena, rita)] == [404, 403, 403]
    job.refresh_from_db()
    assert job.state == Job.State.QUEUED


def test_the_list_shows_jobs_of_this_project(browser: Client, job: Job, project: Project) -> None:
    other = Project.objects.create(name="Other", slug="other")
    job_create(project=other, kind="stone", title="Hidden stone", payload={})
    text = browser.get(reverse("jobs", args=[project.slug])).text
    assert "Rolling a stone" in text
    assert "Hidden stone" not in text


def test_an_empty_list_says_what_starts_jobs(browser: Client, project: Project) -> None:
    assert "No jobs yet" in browser.get(reverse("jobs", args=[project.slug])).text


def test_the_list_costs_the_same_for_any_number(browser: Client, project: Project, omar: User) -> None:
    url = reverse("jobs", args=[project.slug])
    job_create(project=project, kind="stone", title="Stone", payload={}, created_by=omar)
    few = query_count(browser, url)
    for _ in range(20):
        job_create(project=project, kind="stone", title="Stone", payload={}, created_by=omar)
    assert query_count(browser, url) == few


def test_the_page_shows_progress_and_asks_again(browser: Client, run: JobRun) -> None:
    job_progress(run, done=30, total=120, message="Rolling on")
    text = browser.get(reverse("job", args=[run.job.pk])).text
    assert "Rolling on" in text
    assert 'max="120" value="30"' in text
    assert 'hx-trigger="every 2s"' in text
    assert seen_in(text).startswith(fragment(run.job))


def test_polling_costs_nothing_while_nothing_changes(browser: Client, run: JobRun) -> None:
    url = seen_in(browser.get(reverse("job", args=[run.job.pk])).text)
    assert browser.get(url).status_code == 204
    job_progress(run, done=1, message="Rolling on")
    response = browser.get(url)
    assert response.status_code == 200
    assert "Rolling on" in response.text
    assert "<html" not in response.text
    assert browser.get(seen_in(response.text)).status_code == 204


def test_polling_ends_with_the_job(browser: Client, run: JobRun) -> None:
    url = seen_in(browser.get(reverse("job", args=[run.job.pk])).text)
    job_finish(run, result={})
    response = browser.get(url)
    assert response.status_code == 286
    assert "hx-get" not in response.text
    assert "Done" in response.text


def test_a_failed_job_says_why(browser: Client, run: JobRun) -> None:
    job_fail(run, message="The stone is <too> heavy.", error="Traceback …")
    text = browser.get(reverse("job", args=[run.job.pk])).text
    assert "The stone is &lt;too&gt; heavy." in text
    assert "Traceback …" in text


def test_stop_ends_a_waiting_job(browser: Client, job: Job) -> None:
    page = browser.get(reverse("job", args=[job.pk])).text
    assert reverse("job_cancel", args=[job.pk]) in page
    response = browser.post(reverse("job_cancel", args=[job.pk]), follow=True)
    assert "Stopped before it began." in response.text
    assert reverse("job_cancel", args=[job.pk]) not in response.text


def test_stop_of_a_running_job_shows_that_it_stops(browser: Client, run: JobRun) -> None:
    response = browser.post(reverse("job_cancel", args=[run.job.pk]), follow=True)
    assert "Stopping" in response.text
    assert Job.objects.get(pk=run.job.pk).cancel_requested


def test_stop_of_an_ended_job_is_refused(browser: Client, run: JobRun) -> None:
    job_finish(run, result={})
    response = browser.post(reverse("job_cancel", args=[run.job.pk]))
    assert response.status_code == 409
    assert "has ended already" in response.text


def test_pages_cost_few_queries(browser: Client, job: Job) -> None:
    assert query_count(browser, fragment(job)) <= 5
    assert query_count(browser, reverse("job", args=[job.pk])) <= 7
