"""The pages of the loop in a real browser: nothing wider than a phone, no fault that axe finds, light and dark."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page
from pytest_django import Settings

from labelapp.models import Job, ModelVersion, Project, Protocol, Run, RunEvent, User
from labelapp.rounds.options import RoundOptions
from labelapp.rounds.services import round_start
from tests.browser.test_pages import axe_page, check
from tests.factories import batch_with_tasks, prompt_make, run_make, snapshot_make
from tests.training.reports import report_make

__all__ = ["axe_page"]
pytestmark = pytest.mark.django_db(transaction=True)
HOME = "/projects/garden-helper"


def learned(project: Project, name: str = "First rewards") -> Run:
    """A run that logged thirty steps, with a report of some length."""
    run = run_make(project, name)
    values = [{"loss": 1 / step, "accuracy": 1 - 1 / step, "grad_norm": 1.0} for step in range(1, 31)]
    RunEvent.objects.bulk_create(
        RunEvent(run=run, kind="train", step=step, values=value) for step, value in enumerate(values, start=1)
    )
    RunEvent.objects.create(run=run, kind="eval", step=30, values={"loss": 0.3, "accuracy": 0.7})
    Run.objects.filter(pk=run.pk).update(report=report_make())
    return run


def test_pages_of_the_loop(
    axe_page: Callable[[User | None], Page],
    omar: User,
    project: Project,
    protocol: Protocol,
    live_server: Any,
    settings: Settings,
    tmp_path: Path,
) -> None:
    settings.ARTIFACT_ROOT = tmp_path
    prompt_make(project, "What grows in the shade?")
    run, other, snapshot = learned(project), learned(project, "Others"), snapshot_make(project)
    batch_with_tasks(project, protocol, tasks=1)
    turned = round_start(project=project, policy=run.start, options=RoundOptions(prompts=2), created_by=omar)
    sampling = Job.objects.create(
        project=project, kind="sample", title="Sampling", payload={"models": [], "choice": {}, "options": {}}
    )
    ModelVersion.objects.filter(pk=run.start_id).update(kind=ModelVersion.Kind.BASE)
    page = axe_page(omar)
    for path in (
        *("/rounds/", "/rounds/new/", f"/rounds/{turned.number}/", "/samplings/", "/samplings/new/"),
        *(f"/samplings/{sampling.pk}/", "/snapshots/", "/snapshots/new/", f"/snapshots/{snapshot.pk}/"),
        *(f"/snapshots/{snapshot.pk}/diff/{snapshot.pk}/", "/runs/", "/runs/new/", "/runs/new/?kind=preference"),
        *("/runs/new/?kind=sft", f"/runs/compare/?run={run.pk}&run={other.pk}", "/runs/compare/"),
        *(f"/runs/{run.pk}/", "/models/", "/models/new/", f"/models/{run.start_id}/"),
    ):
        check(page, live_server.url + HOME + path)
