"""SIGKILL of the worker that takes completions in, at random moments: each is there once in the end."""

import os
import random
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from django.conf import settings
from django.db import connection

from labelapp.generation.sampling_job import folder_of
from labelapp.jobs.services import jobs_reap
from labelapp.models import Completion, Job, Project
from tests.generation.conftest import FAKE, MakeModel, brought, do, prompts_make, sample, wanted
from tests.jobs.conftest import age

pytestmark = pytest.mark.django_db(transaction=True)

ROOT = Path(__file__).resolve().parents[2]
PROMPTS, N, KILLS = 150, 4, 4
WORKER = """
import os, sys
os.environ["DJANGO_SETTINGS_MODULE"] = "tests.settings"
import django
django.setup()
from labelapp.generation import tasks
from labelapp.jobs.execution import job_execute
from labelapp.jobs.services import job_claim
job_execute(job_claim(int(sys.argv[1])))
"""


def worker(job: Job) -> "subprocess.Popen[bytes]":
    """A process of its own that does the job on the tests' database."""
    given = connection.get_connection_params()
    place = f"{given['host']}:{given['port']}/{given['dbname']}"
    environment = {
        **os.environ,
        "DATABASE_URL": f"postgresql://{given['user']}:{given.get('password', '')}@{place}",
        "PREFLOOP_TRAINER": shlex.join(FAKE),
        "PREFLOOP_RUNS": str(settings.RUN_ROOT),
    }
    return subprocess.Popen([sys.executable, "-c", WORKER, str(job.pk)], cwd=ROOT, env=environment)


def kill_while_it_writes(job: Job, chance: random.Random) -> None:
    """Let a worker bring some more completions in, then kill it without warning."""
    before = Completion.objects.count()
    process = worker(job)
    end = time.monotonic() + 30
    while Completion.objects.count() == before and process.poll() is None:
        assert time.monotonic() < end, "the worker brings nothing"
        time.sleep(0.01)
    # A poll comes about every second: this falls before, into and after the next.
    time.sleep(chance.uniform(0.9, 1.1))
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    age(job, 100)
    jobs_reap()


def test_a_killed_worker_loses_nothing_and_doubles_nothing(project: Project, make_model: MakeModel) -> None:
    prompts, model = prompts_make(project, PROMPTS), make_model(delay=0.015)
    job, chance = sample(model, n=N), random.Random(7)
    seen = [0]
    for _ in range(KILLS):
        kill_while_it_writes(job, chance)
        seen.append(Completion.objects.count())
    assert seen == sorted(set(seen)), "each attempt brought some"
    assert seen[-1] < PROMPTS * N, "the last kill came too late"
    job = do(job)
    assert (job.state, job.done, job.attempt) == (Job.State.SUCCEEDED, PROMPTS * N, KILLS + 1)
    assert brought(job) == wanted(job, prompts, model, n=N)
    assert not folder_of(job, model).exists()
