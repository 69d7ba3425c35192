"""Every page of ours, asked for by each of the cast. A page that is missing from the table fails the first test.

To add a page: add its name to PAGES with the answer for each person, and, if its address has a pk, the row to PKS.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from django.db import connection
from django.http import HttpResponse
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import URLPattern, URLResolver, get_resolver, reverse
from pytest_django import Settings

from labelapp.models import (
    Batch,
    Invitation,
    Membership,
    Project,
    Prompt,
    Protocol,
    Role,
    User,
)
from labelapp.projects.defaults import DEFAULT_PROTOCOL
from labelapp.projects.specs import ProtocolSpec, QuestionSpec
from tests.projects.protocol_fields import posted
from tests.world import World

PEOPLE = ("anonymous", "stan", "lena", "rita", "omar")
"""Nobody; a stranger with an account; the project's labeler, reviewer and admin. Answers stand in this order."""
Answers = tuple[int, int, int, int, int]

OPEN: Answers = (200, 200, 200, 200, 200)
SIGNED_IN: Answers = (302, 200, 200, 200, 200)
MEMBERS: Answers = (302, 404, 200, 200, 200)
REVIEWERS: Answers = (302, 404, 403, 200, 200)
ADMINS: Answers = (302, 404, 403, 403, 200)
ADMINS_DO: Answers = (302, 404, 403, 403, 302)
ADMINS_ERR: Answers = (302, 404, 403, 403, 422)
ADMINS_400: Answers = (302, 404, 403, 403, 400)
"""The fixed batch has no panel."""
HOLDER: Answers = (302, 404, 200, 404, 404)
"""The fixed task is held by lena."""
TO_THE_TASK: Answers = (302, 302, 302, 302, 302)
"""Whose pages answer as those of HOLDER."""


@dataclass(frozen=True)
class Visit:
    """One way of asking for a page, with the answer that each of the cast gets."""

    method: str
    answers: Answers
    fields: Callable[[World], Mapping[str, Any]] = field(default=lambda _world: {})


def get(answers: Answers) -> Visit:
    """Look at the page."""
    return Visit("get", answers)


def post(answers: Answers, fields: Mapping[str, Any] | Callable[[World], Mapping[str, Any]] | None = None) -> Visit:
    """Submit the page's form."""
    return Visit("post", answers, fields if callable(fields) else lambda _world: fields or {})


TINY_PROTOCOL = ProtocolSpec(name="Tiny", questions=(QuestionSpec(key="rude", text="Is rude"),))

PAGES: dict[str, list[Visit]] = {
    # accounts
    "home": [get(SIGNED_IN)],
    "invitation": [get(OPEN), post((200, 302, 410, 410, 410))],
    "members": [get(ADMINS)],
    "member_update": [get(ADMINS), post(ADMINS_DO, {"role": "labeler", "group": "training"})],
    "member_end": [post(ADMINS_DO)],
    "invitation_create": [get(ADMINS), post(ADMINS, {"role": "labeler"})],
    "invitation_revoke": [post(ADMINS_DO)],
    "shortcuts": [get(SIGNED_IN), post((302, 302, 302, 302, 302), {"reset": "1"})],
    "profile": [get(MEMBERS), post((302, 404, 302, 302, 302), {"languages": "de"})],
    # projects
    "projects": [get(SIGNED_IN)],
    "project_create": [get((302, 403, 403, 403, 403)), post((302, 403, 403, 403, 403), {"name": "Mine"})],
    "project": [get(MEMBERS)],
    "protocols": [get(REVIEWERS)],
    "protocol": [get(REVIEWERS)],
    "protocol_create": [get(ADMINS), post(ADMINS_DO, posted(TINY_PROTOCOL))],
    "protocol_revise": [get(ADMINS), post(ADMINS_DO, posted(DEFAULT_PROTOCOL))],
    # prompts
    "prompts": [get(REVIEWERS)],
    "prompt": [get(REVIEWERS)],
    # generation
    "samplings": [get(REVIEWERS)],
    "sampling": [get(REVIEWERS)],
    "sampling_create": [get(ADMINS), post(ADMINS_ERR)],
    "model_create": [get(ADMINS), post(ADMINS_ERR)],
    # labeling
    "label": [get(MEMBERS)],
    "label_waiting": [get((302, 404, 286, 286, 286))],
    "label_ahead": [get((302, 404, 200, 204, 204))],
    "label_break": [post((401, 404, 200, 200, 200), {"seconds": "60"})],
    "task": [get((302, 404, 200, 302, 302))],
    "task_correct": [get((302, 404, 404, 404, 404)), post((302, 404, 404, 404, 404))],
    "task_report": [get(TO_THE_TASK), post((302, 404, 400, 400, 400), World.slip)],
    "task_diff": [Visit("get", HOLDER, lambda _world: {"a": "A", "b": "B"})],
    "task_draft": [get(TO_THE_TASK), post((302, 404, 200, 400, 400), World.slip)],
    "task_heartbeat": [post(MEMBERS)],
    "task_skip": [get(TO_THE_TASK), post((302, 404, 302, 400, 400), World.slip)],
    "task_submit": [get(TO_THE_TASK), post((302, 404, 302, 400, 400), World.judgement)],
    "batches": [get(REVIEWERS)],
    "batch_create": [get(ADMINS), post(ADMINS_ERR, {"name": ""})],
    "batch": [get(REVIEWERS)],
    "batch_state": [post(ADMINS_DO, {"to": "paused"})],
    "batch_build": [post(ADMINS_DO, World.broken_build)],
    # desk
    "task_ask": [post((302, 404, 302, 404, 404), {"text": "Is a short answer better?"})],
    "my_work": [get(MEMBERS)],
    "dispute_create": [post((302, 404, 302, 302, 302), World.claim)],
    "desk": [get(REVIEWERS)],
    "report": [get(REVIEWERS), post((302, 404, 403, 302, 302), {"state": "released"})],
    "inquiry": [get(REVIEWERS), post((302, 404, 403, 302, 422), {"answer": "Yes, where it says as much."})],
    "dispute": [get(ADMINS), post(ADMINS_DO, {"minutes": "5"})],
    # jobs
    "jobs": [get(ADMINS)],
    "job": [get(ADMINS)],
    "job_progress": [get(ADMINS)],
    "job_cancel": [post(ADMINS_DO)],
    # writing
    "write": [get(MEMBERS)],
    "write_preview": [post(MEMBERS, {"answer": "**Cut**"})],
    "write_prompt": [get(MEMBERS), post((302, 404, 422, 422, 422), {"text": ""})],
    "write_settings": [get(ADMINS), post(ADMINS_DO, {"use_cases": "Plan a garden"})],
    "write_task": [get(HOLDER)],
    "write_submit": [get(TO_THE_TASK), post((302, 404, 302, 400, 400), World.answer)],
    "write_skip": [get(TO_THE_TASK), post((302, 404, 302, 400, 400), World.answer)],
    "write_correct": [Visit("get", HOLDER, World.written), post((302, 404, 302, 404, 404), World.written)],
    # guidelines
    "guidelines": [get(MEMBERS)],
    "guidelines_seen": [post((302, 404, 204, 204, 204), lambda world: {"protocol": world.protocol.pk})],
    "guidelines_time": [post((302, 404, 400, 400, 400))],
    "guideline_examples": [
        get(REVIEWERS),
        post(
            (302, 404, 403, 302, 302),
            lambda world: {"protocol_name": world.protocol.name, "title": "Poems", "text": "Read both."},
        ),
    ],
    "guideline_example_withdraw": [post(ADMINS_DO)],
    "practice": [get(MEMBERS)],
    "practice_example": [get(MEMBERS), post((302, 404, 422, 422, 422))],
    "practice_example_create": [get(ADMINS), post(ADMINS_ERR, {"title": ""})],
    "practice_example_edit": [get(ADMINS), post(ADMINS_ERR, {"title": ""})],
    "practice_example_withdraw": [post(ADMINS_DO)],
    # datasets
    "imports": [get(ADMINS)],
    "import_upload": [get(ADMINS), post(ADMINS_ERR, {"name": ""})],
    "import_rejects": [get(ADMINS)],
    "snapshots": [get(REVIEWERS)],
    "snapshot": [get(REVIEWERS)],
    "snapshot_manifest": [get(REVIEWERS)],
    "snapshot_diff": [get(REVIEWERS)],
    "snapshot_create": [get(ADMINS), post(ADMINS_ERR, {"combine": ""})],
    # training
    "runs": [get(REVIEWERS)],
    "run_create": [get(ADMINS), post(ADMINS_ERR)],
    "run_suggested": [get(ADMINS)],
    "runs_compare": [get(REVIEWERS)],
    "run": [get(REVIEWERS)],
    "run_report": [Visit("get", REVIEWERS, World.reported_run)],
    "run_progress": [get(REVIEWERS)],
    "run_resume": [post(ADMINS_DO, World.failed_run)],
    "models": [get(REVIEWERS)],
    "model": [get(REVIEWERS)],
    "model_card": [Visit("get", REVIEWERS, World.kept_model)],
    "model_files": [Visit("get", ADMINS, World.kept_model)],
    "model_score": [post(ADMINS_DO, World.ready_reward_model)],
    # rounds
    "rounds": [get(REVIEWERS)],
    "round_create": [get(ADMINS), post(ADMINS_ERR)],
    "round": [get(REVIEWERS)],
    "round_progress": [get(REVIEWERS)],
    "round_step": [post(ADMINS_DO)],
    # demo
    "panel_label": [post(ADMINS_400)],
    # ops
    "health": [get(OPEN)],
}

PKS: dict[str, Callable[[World], int]] = {
    "member": lambda world: Membership.objects.get(user=world.lena).pk,
    "invitation": lambda world: world.invitation.pk,
    "protocol": lambda world: world.protocol.pk,
    "prompt": lambda world: Prompt.objects.earliest("pk").pk,
    "batch": lambda world: world.batch.pk,
    "task": lambda world: world.seat.task_id,
    "report": lambda world: world.report.pk,
    "inquiry": lambda world: world.inquiry.pk,
    "dispute": lambda world: world.dispute.pk,
    "job": lambda world: world.job.pk,
    "import": lambda world: world.job.pk,
    "snapshot": lambda world: world.snapshot.pk,
    "run": lambda world: world.run.pk,
    "model": lambda world: world.run.start_id,
    "sampling": lambda world: world.sampling.pk,
    "write": lambda world: world.to_write.pk,
    "round": lambda world: world.round.number,
    "guideline": lambda world: world.example.pk,
    "practice": lambda world: world.practice.pk,
    "panel": lambda world: world.batch.pk,
}
"""The row of an address with a pk, by the first word of its name."""


def own_patterns(resolver: URLResolver) -> Iterator[URLPattern]:
    """Addresses that lead to views of ours, not to those of packages."""
    for entry in resolver.url_patterns:
        if isinstance(entry, URLResolver):
            yield from own_patterns(entry)
        elif entry.callback.__module__.startswith("labelapp."):
            yield entry


PATTERNS = {str(pattern.name): pattern for pattern in own_patterns(get_resolver())}


def test_every_page_is_in_the_table() -> None:
    missing = PATTERNS.keys() - PAGES.keys()
    assert not missing, f"Pages without an entry in PAGES of tests/test_url_walk.py: {', '.join(sorted(missing))}"


def test_every_address_has_a_name_of_its_own() -> None:
    names = [pattern.name for pattern in own_patterns(get_resolver())]
    assert None not in names
    assert len(names) == len(set(names))


def test_the_table_names_no_page_that_is_gone() -> None:
    gone = PAGES.keys() - PATTERNS.keys()
    assert not gone, f"Entries of PAGES in tests/test_url_walk.py without a page: {', '.join(sorted(gone))}"


@pytest.fixture
def world(project: Project, protocol: Protocol, omar: User, lena: User, settings: Settings, tmp_path: Path) -> World:
    settings.ARTIFACT_ROOT = tmp_path
    return World(project, protocol, omar, lena)


@pytest.fixture
def browsers(client_of: Callable[[User], Client], stan: User, lena: User, rita: User, omar: User) -> dict[str, Client]:
    return dict(zip(PEOPLE, [Client(), *map(client_of, [stan, lena, rita, omar])], strict=True))


def address(name: str, world: World) -> str:
    """Where the page is in this world."""
    known = {"slug": world.project.slug, "secret": world.secret, "step": "sample"}
    arguments = PATTERNS[name].pattern.converters
    kwargs = {key: known[key] if key in known else PKS[name.split("_")[0]](world) for key in arguments}
    return reverse(name, kwargs=kwargs)


def _writes(queries: CaptureQueriesContext) -> list[str]:
    changes = ('INSERT INTO "labelapp_', 'UPDATE "labelapp_', 'DELETE FROM "labelapp_')
    return [query["sql"] for query in queries.captured_queries if (query["sql"] or "").startswith(changes)]


def _is_refused(person: str, response: HttpResponse) -> bool:
    return response.status_code in {400, 403, 404, 405, 410, 422} or (
        person == "anonymous" and response.status_code == 302
    )


VISITS = [pytest.param(name, visit, id=f"{visit.method}-{name}") for name in PAGES for visit in PAGES[name]]


@pytest.mark.parametrize(("name", "visit"), VISITS)
def test_each_of_the_cast_gets_their_answer(world: World, browsers: dict[str, Client], name: str, visit: Visit) -> None:
    url, fields = address(name, world), visit.fields(world)
    for person, expected in zip(PEOPLE, visit.answers, strict=True):
        with CaptureQueriesContext(connection) as queries:
            response = getattr(browsers[person], visit.method)(url, fields)
        assert response.status_code == expected, f"{person} got {response.status_code} from {visit.method} {url}"
        if person == "anonymous" and expected == 302:
            assert response.headers["Location"].startswith(reverse("account_login") + "?next=")
        if _is_refused(person, response):
            assert not _writes(queries), f"{person} was refused {visit.method} {url}, but it wrote"


@pytest.mark.parametrize("name", PAGES)
def test_no_page_takes_a_method_that_it_has_no_use_for(world: World, browsers: dict[str, Client], name: str) -> None:
    for method in {"get", "post"} - {visit.method for visit in PAGES[name]}:
        assert getattr(browsers["omar"], method)(address(name, world)).status_code == 405


def test_the_rows_of_other_projects_are_not_reached_by_their_number(
    world: World, browsers: dict[str, Client], stan: User
) -> None:
    """An admin of one project, with the address of their own project and the pk of another's row."""
    other = Project.objects.create(name="Other", slug="other")
    Membership.objects.create(project=other, user=stan, role=Role.ADMIN)
    for name, pattern in PATTERNS.items():
        if {"slug", "pk"} <= pattern.pattern.converters.keys():
            url = address(name, world).replace(world.project.slug, other.slug)
            visit = PAGES[name][0]
            response = getattr(browsers["stan"], visit.method)(url, visit.fields(world))
            assert response.status_code == 404, f"stan got {response.status_code} from {visit.method} {url}"
    assert Invitation.objects.filter(revoked_at__isnull=True).count() == 1
    assert Batch.objects.get(pk=world.batch.pk).state == Batch.State.OPEN
