"""A labeler's day in a real browser: by keyboard, by mouse, on a phone, signed out and back, without scripts."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest
from django.conf import settings
from django.contrib.sessions.models import Session
from django.core.signals import request_started
from django.utils import timezone
from playwright.sync_api import Page, expect

from labelapp.labeling.services.seats import seat_take, seats_expire
from labelapp.models import Annotation, Batch, Draft, Project, Protocol, Seat, TaskSkip, User
from tests.browser.closing import context_close, page_close
from tests.browser.labeling_page import (
    SLOW,
    OpenAs,
    annotations,
    answer,
    other_task,
    rank,
    rate_all,
    saved,
    says,
    start,
    submit,
    task_of,
)
from tests.conftest import PASSWORD
from tests.factories import batch_with_tasks, labeler_make, protocol_make

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def batch(project: Project, protocol: Protocol) -> Batch:
    return batch_with_tasks(project, protocol, tasks=3)


@pytest.fixture
def page(open_as: OpenAs, lena: User, batch: Batch, live_server: Any) -> Page:
    return start(open_as(lena), live_server)


def test_a_task_is_done_with_the_keyboard_alone(page: Page) -> None:
    before = task_of(page)
    page.keyboard.press("j")
    for letter in "ABCD":
        page.keyboard.press("4")
        expect(page.locator(f'input[name="likert-{letter}"][value="4"]')).to_be_checked()
    page.keyboard.press("r")
    page.keyboard.type("d c a=b")
    page.keyboard.press("Control+Enter")
    other_task(page, before)
    annotations(1)
    annotation = Annotation.objects.get()
    shown = annotation.order_shown
    assert annotation.ranking == [[shown[3]], [shown[2]], sorted(shown[:2])]
    assert {rating.likert for rating in annotation.ratings.all()} == {4}
    assert annotation.active_seconds is not None


@pytest.mark.parametrize("first", ["A B C D", "a > b, c d"])
def test_the_first_full_order_is_kept_when_it_changes(page: Page, first: str) -> None:
    before = task_of(page)
    rate_all(page)
    page.locator("#ranking").press_sequentially(first)
    rank(page, "D C B A")
    submit(page)
    other_task(page, before)
    annotation = Annotation.objects.get()
    assert annotation.first_ranking == [[slot] for slot in annotation.order_shown]
    assert annotation.first_ranking == list(reversed(annotation.ranking))


def test_the_first_preference_is_kept_when_it_changes(
    open_as: OpenAs, lena: User, project: Project, live_server: Any
) -> None:
    batch_with_tasks(project, protocol_make(project, name="Pairs", strength_steps=9, likert_points=0), tasks=1, k=2)
    page = start(open_as(lena), live_server)
    page.locator('input[name="preference"][value="5"]').check(force=True)
    saved(page)
    page.locator('input[name="preference"][value="8"]').check(force=True)
    submit(page)
    expect(page.get_by_role("heading", name="No task for you now")).to_be_visible(timeout=SLOW)
    annotation = Annotation.objects.get()
    assert annotation.first_ranking == [[0, 1]]
    assert annotation.ranking == [[slot] for slot in reversed(annotation.order_shown)]


@contextmanager
def requests_counted(path: str) -> Iterator[list[str]]:
    """The requests for one address that reach the server meanwhile."""
    seen: list[str] = []

    def note(environ: dict[str, Any], **_: Any) -> None:
        if environ["PATH_INFO"] == path:
            seen.append(environ["REQUEST_METHOD"])

    request_started.connect(note)
    yield seen
    request_started.disconnect(note)


def test_a_late_submit_shows_its_notice_where_nothing_is_left(page: Page, project: Project) -> None:
    """The notice is shown by the page that the script goes to."""
    task = task_of(page)
    Seat.objects.filter(state=Seat.State.HELD).update(lease_until=timezone.now() - timedelta(seconds=1))
    seats_expire()
    for name in ("mia", "noah", "olga"):
        seat_take(annotator_id=labeler_make(project, name).pk)
    answer(page)
    with requests_counted("/projects/garden-helper/label/") as asked:
        submit(page)
        expect(page.get_by_role("heading", name="No task for you now")).to_be_visible(timeout=SLOW)
    expect(page.locator("#messages")).to_contain_text("It is kept")
    assert str(Annotation.objects.get(surplus=True).task_id) == task
    assert asked == ["GET"]


def test_a_late_submit_shows_its_notice_beside_the_next_task(page: Page, project: Project) -> None:
    task = task_of(page)
    Seat.objects.filter(state=Seat.State.HELD).update(lease_until=timezone.now() - timedelta(seconds=1))
    seats_expire()
    Seat.objects.filter(task=task).update(position=0)
    mia = labeler_make(project, "mia")
    Seat.objects.filter(task=task).update(
        state=Seat.State.HELD, annotator=mia, held_at=timezone.now(), lease_until=timezone.now() + timedelta(minutes=5)
    )
    answer(page)
    submit(page)
    other_task(page, task)
    expect(page.locator("#messages")).to_contain_text("It is kept")
    assert Annotation.objects.get().surplus


def sign_in_elsewhere(page: Page) -> None:
    """Follow the link in the bar, in the tab that it opens."""
    with page.context.expect_page() as opened:
        page.get_by_role("link", name="Sign in again in another tab").click()
    other = opened.value
    other.get_by_label("Email").fill("lena@example.com")
    other.get_by_label("Password").fill(PASSWORD)
    other.locator("main form button[type=submit]").click()
    other.wait_for_url("**/")
    expect(other.get_by_role("heading", name="Sign in")).to_have_count(0)
    page_close(other)


def test_who_was_signed_out_signs_in_elsewhere_and_the_answer_arrives(page: Page) -> None:
    before = task_of(page)
    rate_all(page)
    saved(page)
    Session.objects.all().delete()
    page.context.clear_cookies(name=settings.SESSION_COOKIE_NAME)
    rank(page, "A B C D")
    says(page, "You were signed out.")
    submit(page)
    says(page, "You were signed out.")
    sign_in_elsewhere(page)
    other_task(page, before)
    annotations(1)


def test_a_draft_waits_for_who_was_signed_out(page: Page) -> None:
    page.context.clear_cookies(name=settings.SESSION_COOKIE_NAME)
    rank(page, "B A")
    sign_in_elsewhere(page)
    saved(page)
    assert Draft.objects.get().content["ranking"] == "B A"


def test_enter_in_a_text_field_does_not_skip(page: Page) -> None:
    """It presses the first button of a form, which must be the one that submits."""
    rank(page, "A B")
    page.locator("#ranking").press("Enter")
    expect(page.get_by_role("alert")).to_contain_text("Still to be placed: C, D", timeout=SLOW)
    page.locator("#leave > summary").click()
    page.locator("#note").press("Enter")
    page.wait_for_timeout(500)
    assert not TaskSkip.objects.exists()


def test_an_untouched_form_is_not_submitted(page: Page) -> None:
    submit(page)
    notice = page.get_by_role("alert")
    expect(notice).to_contain_text("Not submitted yet", timeout=SLOW)
    expect(notice).to_contain_text("Rank the completions, best first")
    expect(notice).to_be_focused()
    assert not Annotation.objects.exists()


def test_skip_asks_for_a_reason_and_goes_on(page: Page) -> None:
    before = task_of(page)
    page.locator("#leave > summary").click()
    page.locator("#note").fill("Ask a gardener.")
    page.get_by_role("button", name="It needs knowledge I do not have").click()
    other_task(page, before)
    skip = TaskSkip.objects.get()
    assert (skip.reason, skip.note) == ("expertise", "Ask a gardener.")


@pytest.mark.parametrize("k", [2, 4, 9])
def test_nothing_is_cut_off_on_a_phone(open_as: OpenAs, lena: User, project: Project, live_server: Any, k: int) -> None:
    batch_with_tasks(project, protocol_make(project), tasks=1, k=k)
    page = open_as(lena)
    page.set_viewport_size({"width": 390, "height": 844})
    start(page, live_server)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    for card in page.locator(".completion").all():
        assert card.evaluate("card => card.scrollWidth <= card.clientWidth + 1")


def test_the_form_works_without_scripts(browser: Any, page: Page) -> None:
    """The same page, read and submitted by a browser that runs no script, and then the next."""
    context = browser.new_context(java_script_enabled=False, storage_state=page.context.storage_state())
    plain = context.new_page()
    plain.goto(page.url)
    before = task_of(plain)
    for letter in "ABCD":
        plain.locator(f'input[name="likert-{letter}"][value="2"]').check(force=True)
    plain.locator("#ranking").fill("A=B=C=D")
    with plain.expect_navigation():
        submit(plain)
    assert Annotation.objects.get().ranking == [[0, 1, 2, 3]]
    assert task_of(plain) != before
    context_close(context)
