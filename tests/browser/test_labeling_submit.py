"""Submits that are refused, fail, get lost, wait, or come too late: the form stays until the server has answered."""

from collections.abc import Callable
from typing import Any

import pytest
from django.conf import settings
from django.contrib.sessions.models import Session
from playwright.sync_api import Page, Route, expect

from labelapp.models import (
    Annotation,
    Batch,
    Project,
    Protocol,
    Seat,
    TaskSkip,
    User,
)
from tests.browser.closing import page_close
from tests.browser.conftest import signed_in
from tests.browser.labeling_page import (
    SLOW,
    OpenAs,
    annotations,
    answer,
    kept,
    other_task,
    rank,
    rate_all,
    reserved,
    saved,
    says,
    start,
    submit,
    task_of,
)
from tests.factories import batch_with_tasks

pytestmark = pytest.mark.django_db(transaction=True)
SUBMITS = "**/submit/"


@pytest.fixture
def batch(project: Project, protocol: Protocol) -> Batch:
    return batch_with_tasks(project, protocol, tasks=4)


@pytest.fixture
def page(open_as: OpenAs, lena: User, batch: Batch, live_server: Any) -> Page:
    page = start(open_as(lena), live_server)
    page.evaluate("window.stays = true")
    return page


def same_page(page: Page) -> bool:
    """Whether no page was loaded since the beginning."""
    return page.evaluate("window.stays === true") is True


def first(handler: Callable[[Route], None]) -> Callable[[Route], None]:
    """Treat the first request so, and let all others pass."""
    met: list[Route] = []

    def handle(route: Route) -> None:
        met.append(route)
        if len(met) == 1:
            handler(route)
        else:
            route.continue_()

    return handle


def test_a_refused_submit_keeps_the_form_and_then_goes_through(page: Page) -> None:
    before = task_of(page)
    rate_all(page, "5")
    rank(page, "A B")
    submit(page)
    notice = page.locator("form#task [data-focus]")
    expect(notice).to_contain_text("C, D", timeout=SLOW)
    expect(notice).to_be_focused()
    expect(notice).to_have_attribute("role", "alert")
    expect(page.locator("#ranking")).to_have_value("A B")
    expect(page.locator("#ranking")).to_have_attribute("aria-invalid", "true")
    expect(page.locator('input[name="likert-D"][value="5"]')).to_be_checked()
    assert same_page(page)
    rank(page, "A B C D")
    submit(page)
    other_task(page, before)
    assert same_page(page)
    annotations(1)


@pytest.mark.parametrize("status", [500, 502, 503])
def test_a_broken_server_gets_the_submit_again(page: Page, status: int) -> None:
    page.route(SUBMITS, first(lambda route: route.fulfill(status=status)))
    before = task_of(page)
    answer(page)
    submit(page)
    other_task(page, before)
    annotations(1)


def test_a_submit_waits_until_one_is_online_again(page: Page) -> None:
    before = task_of(page)
    answer(page)
    saved(page)
    page.context.set_offline(True)
    submit(page)
    says(page, "You are offline")
    expect(page.locator("#ranking")).to_have_value("A B C D")
    page.context.set_offline(False)
    other_task(page, before)
    annotations(1)


def test_a_submit_that_waits_survives_a_reload_as_a_draft(page: Page) -> None:
    page.route(SUBMITS, lambda route: route.fulfill(status=503))
    page.route("**/draft/", lambda route: route.fulfill(status=503))
    before = task_of(page)
    answer(page, "D C B A")
    submit(page)
    says(page, "Not sent yet")
    page.unroute("**/draft/")
    page.reload()
    expect(page.locator("#ranking")).to_have_value("D C B A")
    expect(page.locator('input[name="likert-B"][value="4"]')).to_be_checked()
    page.unroute(SUBMITS)
    submit(page)
    other_task(page, before)
    annotations(1)
    assert kept(page) == []


def test_a_lost_answer_is_asked_for_again_and_counted_once(page: Page) -> None:
    """The submit reaches the server; its answer, with the next task in it, is lost on the way back."""
    lost: list[int] = []

    def lose(route: Route) -> None:
        lost.append(route.fetch(max_redirects=0).status)
        route.abort()

    page.route(SUBMITS, first(lose))
    before = task_of(page)
    answer(page)
    following = reserved(page)
    saved(page)
    submit(page)
    assert other_task(page, before) == str(following)
    assert lost == [200]
    annotations(1)
    assert Seat.objects.filter(state=Seat.State.FILLED).count() == 1
    assert Seat.objects.filter(state=Seat.State.HELD).count() == 1
    assert same_page(page)


def test_a_lost_answer_to_a_skip_skips_one_task(page: Page) -> None:
    page.route("**/skip/", first(lambda route: (route.fetch(max_redirects=0), route.abort())[1]))
    before = task_of(page)
    page.locator("#leave > summary").click()
    page.locator('#leave [name="reason"][value="language"]').click()
    other_task(page, before)
    assert TaskSkip.objects.get().task_id == int(before)


def test_who_was_signed_out_in_another_tab_signs_in_again_and_the_answer_arrives(
    page: Page, lena: User, live_server: Any
) -> None:
    before = task_of(page)
    answer(page)
    saved(page)
    Session.objects.all().delete()
    page.context.clear_cookies(name=settings.SESSION_COOKIE_NAME)
    submit(page)
    says(page, "You were signed out.")
    expect(page.get_by_role("link", name="Sign in again in another tab")).to_be_visible()
    expect(page.locator("#ranking")).to_have_value("A B C D")
    page.context.add_cookies([signed_in(lena, live_server.url)])
    other_task(page, before)
    annotations(1)


def test_what_was_submitted_in_another_tab_is_not_submitted_twice(page: Page) -> None:
    other = page.context.new_page()
    other.goto(page.url)
    answer(page)
    saved(page)
    before = task_of(page)
    assert task_of(other) == before
    submit(page)
    other_task(page, before)
    answer(other, "D C B A")
    submit(other)
    notice = other.locator("form#task [data-focus]")
    expect(notice).to_contain_text("already submitted", timeout=SLOW)
    expect(other.locator("#ranking")).to_have_value("D C B A")
    notice.get_by_role("link", name="Go to the next task").click()
    expect(other.locator(f'form#task[data-task="{task_of(page)}"]')).to_be_visible()
    assert Annotation.objects.count() == 1
    page_close(other)
