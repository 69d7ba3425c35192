"""From task to task without a page load: what is reserved, what the answers say, and what each request costs."""

import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any
from urllib.parse import unquote

import pytest
from django.db import connection
from django.http import HttpResponse
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from labelapp.labeling import fragments
from labelapp.labeling.services.seats import seats_expire
from labelapp.models import (
    Annotation,
    Annotator,
    Batch,
    ComparisonTask,
    ModelVersion,
    Project,
    Protocol,
    Report,
    Seat,
    TaskSkip,
    User,
)
from tests.factories import annotation_make, batch_with_tasks, labeler_make, protocol_make

ClientOf = Callable[[User], Client]
JUDGEMENT = {"ranking": "A B=C D", **{f"likert-{letter}": "5" for letter in "ABCD"}}
LABEL, AHEAD = "/projects/garden-helper/label/", "/projects/garden-helper/label/ahead/"
SCRIPT = {"X-Requested-With": "fetch"}


class Page:
    """The labeling page and its script, as far as it asks the server."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.ahead = ""
        self.read(client.get(LABEL).content.decode())

    def read(self, html: str) -> None:
        """Show the form in this HTML."""
        self.html, self.pk, self.slip = html, *form_of(html)

    def look_ahead(self) -> Any:
        response = self.client.get(AHEAD, headers=SCRIPT)
        if response.status_code == 200:
            self.ahead = form_of(response.content.decode())[0]
        return response

    def post(self, action: str, **fields: str) -> Any:
        body = {"seating": self.slip, "ahead": self.ahead, **fields}
        return self.client.post(f"/label/{self.pk}/{action}/", body, headers=SCRIPT)

    def submit(self, **fields: str) -> Any:
        return self.post("submit", **{**JUDGEMENT, **fields})


def form_of(html: str) -> tuple[str, str]:
    """The task and the slip of the one form in the HTML."""
    found = re.findall(r'action="/label/(\d+)/submit/"', html)
    slips = re.findall(r'name="seating" value="([^"]+)"', html)
    assert len(found) == len(slips) == 1
    return found[0], slips[0]


def shown(response: HttpResponse) -> tuple[str, str]:
    """What the answer says is to be shown, and the task of the form it brings."""
    html = response.content.decode()
    return response["X-Show"], form_of(html)[0] if html else ""


@pytest.fixture
def batch(project: Project, protocol: Protocol) -> Batch:
    made = batch_with_tasks(project, protocol, tasks=4)
    Protocol.objects.update(used_at=timezone.now())
    return made


@pytest.fixture
def lenas(client_of: ClientOf, lena: User, batch: Batch) -> Page:
    return Page(client_of(lena))


def test_looking_ahead_reserves_the_next_task_and_sends_its_form(lenas: Page) -> None:
    response = lenas.look_ahead()
    html = response.content.decode()
    assert html.lstrip().startswith("<form")
    assert "<html" not in html
    seat = Seat.objects.get(state=Seat.State.RESERVED)
    assert str(seat.task_id) == lenas.ahead != lenas.pk
    assert lenas.look_ahead().content.decode().count('id="task"') == 1
    assert Seat.objects.filter(state=Seat.State.RESERVED).count() == 1


def test_nothing_is_reserved_for_who_holds_nothing(client_of: ClientOf, lena: User, batch: Batch) -> None:
    assert client_of(lena).get(AHEAD, headers=SCRIPT).status_code == 204
    assert not Seat.objects.exclude(state=Seat.State.OPEN).exists()


def test_after_the_submit_the_one_ahead_is_held_and_the_answer_is_the_one_after_it(lenas: Page) -> None:
    lenas.look_ahead()
    response = lenas.submit()
    how, following = shown(response)
    assert (response.status_code, how) == (200, "ahead")
    assert str(Seat.objects.get(state=Seat.State.HELD).task_id) == lenas.ahead
    assert str(Seat.objects.get(state=Seat.State.RESERVED).task_id) == following
    assert Annotation.objects.get().task_id == int(lenas.pk)


def test_without_one_ahead_the_answer_is_a_task_held_now(lenas: Page) -> None:
    how, following = shown(lenas.submit())
    assert how == "body"
    assert str(Seat.objects.get(state=Seat.State.HELD).task_id) == following
    assert not Seat.objects.filter(state=Seat.State.RESERVED).exists()


def test_one_ahead_that_was_lost_is_not_shown(lenas: Page, project: Project) -> None:
    lenas.look_ahead()
    Seat.objects.filter(state=Seat.State.RESERVED).update(lease_until=timezone.now() - timedelta(seconds=1))
    seats_expire()
    how, following = shown(lenas.submit())
    assert how == "body"
    assert str(Seat.objects.get(state=Seat.State.HELD).task_id) == following


def test_nothing_left_is_said(client_of: ClientOf, lena: User, project: Project, protocol: Protocol) -> None:
    batch_with_tasks(project, protocol, tasks=2)
    lenas = Page(client_of(lena))
    lenas.look_ahead()
    first = lenas.submit()
    assert shown(first) == ("ahead", "")
    lenas.read(lenas.client.get(LABEL).content.decode())
    lenas.ahead = ""
    assert shown(lenas.submit()) == ("none", "")


def test_the_clock_of_a_reserved_task_starts_when_it_is_shown(lenas: Page) -> None:
    ahead = lenas.look_ahead().content.decode()
    long_ago = timezone.now() - timedelta(hours=1)
    lenas.submit()
    held = Seat.objects.get(state=Seat.State.HELD)
    assert held.held_at is not None
    assert held.held_at > long_ago
    lenas.read(ahead)
    lenas.submit(paid_seconds="4000", active_seconds="4000", active_rate="3000")
    said = Annotation.objects.latest("pk")
    assert said.paid_seconds is not None
    assert said.paid_seconds <= 60
    assert said.active_by_stage["rate"] <= 60


def test_skipping_is_answered_like_a_submit(lenas: Page) -> None:
    lenas.look_ahead()
    response = lenas.post("skip", reason="distressing")
    assert shown(response)[0] == "ahead"
    assert TaskSkip.objects.get().task_id == int(lenas.pk)


def test_personal_data_takes_the_task_away_and_goes_on(lenas: Page) -> None:
    lenas.look_ahead()
    response = lenas.post("report", kind="personal_data", note="A name and an address.")
    assert shown(response)[0] == "ahead"
    assert Report.objects.get().note == "A name and an address."
    task = ComparisonTask.objects.get(pk=lenas.pk)
    assert task.prompt.quarantined_at is not None


def test_another_report_leaves_the_task_where_it_is(lenas: Page) -> None:
    response = lenas.post("report", kind="broken", note="No picture.")
    assert response.json() == {"ok": True}
    assert str(Seat.objects.get(state=Seat.State.HELD).task_id) == lenas.pk
    assert lenas.client.post(f"/label/{lenas.pk}/report/", {"seating": lenas.slip, "kind": "x"}).status_code == 400


def test_drafts_and_heartbeats_say_what_became_of_the_one_ahead(lenas: Page) -> None:
    lenas.look_ahead()
    assert lenas.post("draft", revision="1", ranking="A").json()["ahead"] == "kept"
    assert lenas.post("heartbeat").json() == {"seat": "held", "ahead": "kept"}
    Seat.objects.filter(state=Seat.State.RESERVED).update(
        state="open", annotator=None, held_at=None, lease_until=None, input_at=None
    )
    assert lenas.post("draft", revision="2", ranking="A B").json()["ahead"] == "gone"
    lenas.ahead = ""
    assert lenas.post("heartbeat").json() == {"seat": "held", "ahead": ""}


def test_a_late_submit_tells_the_script_that_it_is_kept(lenas: Page, project: Project, client_of: ClientOf) -> None:
    Seat.objects.filter(state=Seat.State.HELD).update(lease_until=timezone.now() - timedelta(seconds=1))
    seats_expire()
    Seat.objects.exclude(task=lenas.pk).delete()
    other = labeler_make(project, "mia")
    assert other.user is not None
    client_of(other.user).get(LABEL)
    response = lenas.submit()
    assert Annotation.objects.get().surplus
    assert "It is kept" in unquote(response["X-Notice"])


def test_who_opted_out_meanwhile_is_not_shown_what_was_reserved(
    client_of: ClientOf, lena: User, project: Project, protocol: Protocol, annotator: Annotator
) -> None:
    batch_with_tasks(project, protocol, tasks=1)
    Annotator.objects.filter(pk=annotator.pk).update(accepts_sensitive=["violence"])
    hard = batch_with_tasks(project, protocol, tasks=1, priority=-1)
    hard.pools.update(sensitivity=["violence"])
    ComparisonTask.objects.get(batch=hard).prompt.__class__.objects.filter(tasks__batch=hard).update(
        sensitivity=["violence"]
    )
    lenas = Page(client_of(lena))
    assert lenas.look_ahead().status_code == 200
    Annotator.objects.filter(pk=annotator.pk).update(accepts_sensitive=[])
    assert shown(lenas.submit()) == ("none", "")
    assert not Seat.objects.filter(annotator=annotator, task__batch=hard).exists()


def test_the_stages_of_a_task_follow_each_other_without_a_page_load(
    client_of: ClientOf, lena: User, project: Project
) -> None:
    batch_with_tasks(project, protocol_make(project, name="Two", layout="two_stage"), tasks=2)
    lenas = Page(client_of(lena))
    lenas.look_ahead()
    response = lenas.submit(stage="rate")
    assert shown(response) == ("body", lenas.pk)
    lenas.read(response.content.decode())
    assert 'data-stage="rank"' in lenas.html
    back = lenas.submit(stage="rank", back="1")
    assert 'data-stage="rate"' in back.content.decode()
    assert shown(lenas.submit(stage="rank"))[0] == "ahead"


def test_a_form_from_the_mould_is_the_form_as_it_is_rendered(
    lenas: Page, lena: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Twice from one mould, and once as if nobody kept any."""

    def told(html: str) -> str:
        without_token = re.sub(r'(name="csrfmiddlewaretoken" value=")[^"]+', r"\1", html)
        return re.sub(r'(name="seating" value=")[^"]+', r"\1", without_token)

    def ahead() -> str:
        return told(lenas.look_ahead().content.decode())

    kept = [ahead(), ahead()]
    monkeypatch.setattr(fragments, "_mould", lambda *given: pytest.fail("the mould was used"))
    monkeypatch.setattr(fragments, "is_untouched", lambda *given: False)
    assert [ahead()] * 2 == kept


def test_fragments_are_blind(lenas: Page) -> None:
    ModelVersion.objects.update(name="secret-model-7b")
    lenas.look_ahead()
    response = lenas.submit()
    assert "secret-model" not in response.content.decode() + str(response.headers)


def test_questions_about_the_prompt_are_asked_of_the_first_only(
    client_of: ClientOf, lena: User, project: Project, protocol: Protocol
) -> None:
    batch_with_tasks(project, protocol, tasks=1, overlap=2, shared_overlap=2)
    lenas = Page(client_of(lena))
    assert 'name="answer-ambiguous"' in lenas.html
    other = labeler_make(project, "mia")
    annotation_make(ComparisonTask.objects.get(), other)
    # Nothing changes under somebody who was asked.
    lenas.submit(**{"answer-ambiguous": "yes"})
    assert Annotation.objects.get(annotator__user=lena).answers == {"ambiguous": "yes"}
    third = labeler_make(project, "nils")
    assert third.user is not None
    later = Page(client_of(third.user))
    assert 'name="answer-ambiguous"' not in later.html
    later.submit(**{"answer-ambiguous": "yes"})
    assert Annotation.objects.get(annotator=third).answers == {}


QUERIES = {"label": 8, "ahead": 8, "draft": 4, "heartbeat": 4, "submit": 16, "skip": 28}
"""Statements by request, BEGIN and COMMIT among them."""


def test_each_request_costs_no_more_statements_than_it_has_to(lenas: Page) -> None:
    lenas.look_ahead()
    lenas.submit()  # protocols and forms are known from here on
    lenas.read(lenas.client.get(LABEL).content.decode())
    asked: dict[str, Callable[[], Any]] = {
        "label": lambda: lenas.client.get(LABEL),
        "ahead": lenas.look_ahead,
        "draft": lambda: lenas.post("draft", revision="1", ranking="A"),
        "heartbeat": lambda: lenas.post("heartbeat"),
        "submit": lenas.submit,
    }
    found = {}
    for name, ask in asked.items():
        with CaptureQueriesContext(connection) as queries:
            assert ask().status_code == 200
        found[name] = len(queries)
    lenas.read(lenas.client.get(LABEL).content.decode())
    with CaptureQueriesContext(connection) as queries:
        assert lenas.post("skip", reason="unclear").status_code == 200
    found["skip"] = len(queries)
    assert all(found[name] <= most for name, most in QUERIES.items()), found
