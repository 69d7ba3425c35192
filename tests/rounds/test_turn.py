"""A job done by the process that turns the ring."""

from collections.abc import Iterator

import pytest

from labelapp.jobs.registry import HANDLERS, JobRetryError, JobRun
from labelapp.jobs.services import job_create
from labelapp.models import Job, Project
from labelapp.rounds.turn import TurnError, job_here

KIND = "unsteady"


@pytest.fixture
def deaths() -> Iterator[list[int]]:
    """How often work on the job is cut short; each attempt takes one off."""
    left: list[int] = []

    def work(run: JobRun) -> dict[str, int]:
        if left:
            left.pop()
            raise JobRetryError("It was killed.", "Give it more room.", {})
        return {"attempt": run.attempt}

    HANDLERS[KIND] = work
    yield left
    del HANDLERS[KIND]


def create(project: Project) -> Job:
    return job_create(project=project, kind=KIND, title="Unsteady work", payload={})


@pytest.mark.django_db(transaction=True)
def test_what_was_cut_short_is_gone_on_with_here(project: Project, deaths: list[int]) -> None:
    deaths += [1, 1]
    done = job_here(lambda: create(project))
    assert (done.state, done.result) == (Job.State.SUCCEEDED, {"attempt": 3})


@pytest.mark.django_db(transaction=True)
def test_what_is_cut_short_every_time_is_given_up(project: Project, deaths: list[int]) -> None:
    deaths += [1] * 9
    with pytest.raises(TurnError, match="Unsteady work"):
        job_here(lambda: create(project))
    assert Job.objects.get().attempt == Job.objects.get().max_attempts
