"""No entered work is lost: drafts, and what waits in the browser until the server has it."""

from typing import Any

import pytest
from django.conf import settings
from django.db.models import F
from playwright.sync_api import BrowserContext, Page, Route, expect

from labelapp.labeling.services.seats import seats_return
from labelapp.models import Batch, Draft, Project, Seat, User
from tests.browser.closing import context_close, page_close
from tests.browser.conftest import signed_in
from tests.browser.labeling_page import (
    SLOW,
    OpenAs,
    kept,
    rank,
    ranking_stored,
    saved,
    says,
    start,
    submit,
    task_of,
    until,
)
from tests.factories import batch_with_tasks, labeler_make, protocol_make

pytestmark = pytest.mark.django_db(transaction=True)
DRAFTS = "**/draft/"


@pytest.fixture
def batch(project: Project) -> Batch:
    protocol = protocol_make(project, asks_rationale=True)
    return batch_with_tasks(project, protocol, tasks=3, overlap=2, shared_overlap=2)


@pytest.fixture
def page(open_as: OpenAs, lena: User, batch: Batch, live_server: Any) -> Page:
    return start(open_as(lena), live_server)


def refuse(page: Page) -> None:
    """From now on drafts of this page meet a broken server."""
    page.route(DRAFTS, lambda route: route.fulfill(status=503))


def lose_last_words(route: Route) -> None:
    """What a page says as it closes does not arrive."""
    if route.request.resource_type == "ping":
        route.abort()
    else:
        route.continue_()


def again(page: Page, live_server: Any) -> Page:
    """The same person, with a second tab."""
    other = page.context.new_page()
    other.set_default_timeout(10_000)
    other.goto(f"{live_server.url}/label/{task_of(page)}/")
    expect(other.locator("form#task")).to_be_visible()
    return other


def test_a_change_is_sent_within_a_second_though_the_typing_goes_on(page: Page) -> None:
    page.clock.install()
    page.reload()
    sent: list[str] = []
    page.on("request", lambda request: sent.append(request.url) if request.url.endswith("/draft/") else None)
    page.clock.pause_at(page.evaluate("Date.now() + 60_000"))  # not in the past when a slow machine gets there
    page.locator("#rationale").focus()
    for _ in range(4):
        page.keyboard.type("w")
        page.clock.run_for(250)
    until(lambda: bool(page.evaluate("1")) and len(sent) >= 1, "a draft within a second")


def test_one_draft_is_under_way_at_a_time_and_the_last_word_arrives(page: Page) -> None:
    held: list[Route] = []
    page.route(DRAFTS, lambda route: held.append(route))
    rank(page, "A")
    until(lambda: bool(page.evaluate("1")) and len(held) == 1, "the first draft")
    rank(page, "A B")
    rank(page, "A B C")
    page.wait_for_timeout(1_500)  # more than enough to send another, if it did
    assert len(held) == 1
    expect(page.locator("#unsaved")).to_have_text("Not saved yet")
    held[0].continue_()
    until(lambda: bool(page.evaluate("1")) and len(held) == 2, "the second draft")
    held[1].continue_()
    saved(page)
    assert ranking_stored() == "A B C"


def test_the_page_says_what_the_server_has_and_what_not(page: Page) -> None:
    rank(page, "B")
    saved(page)
    says(page, "Saved ")
    expect(page.locator("#saved")).to_have_attribute("role", "status")
    refuse(page)
    rank(page, "B A")
    says(page, "Not saved yet, trying again")
    assert ranking_stored() == "B"
    page.unroute(DRAFTS)
    saved(page)
    assert ranking_stored() == "B A"


def test_a_reload_brings_back_what_was_saved(page: Page) -> None:
    rank(page, "B A")
    page.locator('input[name="likert-C"][value="6"]').check(force=True)
    saved(page)
    page.reload()
    expect(page.locator("#ranking")).to_have_value("B A")
    expect(page.locator('input[name="likert-C"][value="6"]')).to_be_checked()
    assert kept(page) == []


def test_a_reload_brings_back_what_the_server_never_got(page: Page) -> None:
    rank(page, "B")
    saved(page)
    refuse(page)
    rank(page, "B A D")
    page.locator('input[name="likert-C"][value="6"]').check(force=True)
    page.locator("#rationale").fill("Because of the “roots”.")
    says(page, "trying again")
    page.reload()
    expect(page.locator("#ranking")).to_have_value("B A D")
    expect(page.locator('input[name="likert-C"][value="6"]')).to_be_checked()
    expect(page.locator("#rationale")).to_have_value("Because of the “roots”.")
    page.unroute(DRAFTS)
    saved(page)
    assert ranking_stored() == "B A D"
    assert kept(page) == []


def test_a_change_right_before_a_reload_is_there_after_it(page: Page) -> None:
    """The draft that leaves with the old page and the new page may overtake each other."""
    for text in ("A", "A B", "A B C", "A B C D"):
        rank(page, text)
        page.reload()
        expect(page.locator("#ranking")).to_have_value(text)
    rank(page, "D C B A")
    saved(page)
    assert ranking_stored() == "D C B A"


def test_the_crash_of_a_tab_loses_nothing(page: Page, live_server: Any) -> None:
    page.context.route(DRAFTS, lambda route: route.abort())
    rank(page, "C B")
    says(page, "trying again")
    other = page.context.new_page()
    page.context.unroute(DRAFTS)
    page.on("crash", lambda _: None)
    page.evaluate("0")
    with pytest.raises(Exception, match="crash"):
        page.goto("chrome://crash")
    start(other, live_server)
    expect(other.locator("#ranking")).to_have_value("C B")
    saved(other)
    assert ranking_stored() == "C B"
    page_close(other)


def test_offline_and_back(page: Page) -> None:
    page.context.set_offline(True)
    rank(page, "D C")
    says(page, "You are offline")
    rank(page, "D C B")
    page.context.set_offline(False)
    saved(page)
    assert ranking_stored() == "D C B"


def test_another_tab_is_not_overwritten(page: Page, live_server: Any) -> None:
    other = again(page, live_server)
    rank(page, "A B")
    saved(page)
    rank(other, "D C")
    says(other, "another tab")
    rank(other, "D C B")
    other.wait_for_timeout(1_500)
    assert ranking_stored() == "A B"
    page_close(other)


def test_what_was_entered_beside_a_newer_draft_can_be_put_back(page: Page, live_server: Any) -> None:
    other = again(page, live_server)
    rank(page, "A B")
    saved(page)
    rank(other, "D C")
    says(other, "another tab")
    other.get_by_role("button", name="Reload").click()
    expect(other.locator("#ranking")).to_have_value("A B")
    says(other, "Something you entered here is not in it.")
    other.get_by_role("button", name="Put back what I entered here").click()
    expect(other.locator("#ranking")).to_have_value("D C")
    saved(other)
    assert ranking_stored() == "D C"
    assert kept(other) == []
    page_close(other)


def test_what_was_entered_beside_a_newer_draft_can_be_left_out(page: Page, live_server: Any) -> None:
    other = again(page, live_server)
    rank(page, "A B")
    saved(page)
    rank(other, "D C")
    says(other, "another tab")
    other.reload()
    other.get_by_role("button", name="Leave it out").click()
    other.reload()
    expect(other.locator("#ranking")).to_have_value("A B")
    expect(other.locator("#saved")).not_to_contain_text("not in it")
    page_close(other)


def test_another_device_is_not_overwritten_by_one_that_was_offline(
    page: Page, browser: Any, lena: User, live_server: Any
) -> None:
    """The one that was away has tried so often meanwhile that its revisions are the higher ones."""
    rank(page, "A")
    saved(page)
    refuse(page)
    for text in ("B", "B C", "B C D"):
        rank(page, text)
        says(page, "trying again")
    device: BrowserContext = browser.new_context()
    device.add_cookies([signed_in(lena, live_server.url)])
    phone = start(device.new_page(), live_server)
    expect(phone.locator("#ranking")).to_have_value("A")
    rank(phone, "D C B A")
    saved(phone)
    page.unroute(DRAFTS)
    says(page, "another tab")
    assert ranking_stored() == "D C B A"
    expect(page.locator("#ranking")).to_have_value("B C D")
    context_close(device)


def test_a_draft_waits_for_who_was_signed_out(page: Page) -> None:
    page.context.clear_cookies(name=settings.SESSION_COOKIE_NAME)
    rank(page, "B A")
    says(page, "You were signed out.")
    link = page.get_by_role("link", name="Sign in again in another tab")
    expect(link).to_have_attribute("target", "_blank")
    assert not Draft.objects.exists()


def test_who_signs_in_next_in_this_browser_sees_none_of_it(
    page: Page, project: Project, batch: Batch, live_server: Any
) -> None:
    task = task_of(page)
    refuse(page)
    rank(page, "B A")
    says(page, "trying again")
    mia = labeler_make(project, "mia")
    assert mia.user is not None
    Seat.objects.exclude(task=task).update(position=F("position") + 1_000_000)
    page.context.clear_cookies()
    page.context.add_cookies([signed_in(mia.user, live_server.url)])
    start(page, live_server)
    assert task_of(page) == task
    expect(page.locator("#ranking")).to_have_value("")
    assert len(kept(page)) == 1


def test_what_was_entered_into_a_task_that_is_gone_is_sent_from_the_next(
    page: Page, lena: User, batch: Batch, live_server: Any
) -> None:
    task = task_of(page)
    refuse(page)
    rank(page, "B A")
    says(page, "trying again")
    seats_return(user=lena, batch=batch)
    Seat.objects.filter(task=task).update(position=10_000_000)
    page.unroute(DRAFTS)
    page.context.route(
        DRAFTS, lambda route: route.abort() if route.request.resource_type == "ping" else route.continue_()
    )
    start(page, live_server)
    assert task_of(page) != task
    until(lambda: bool(page.evaluate("1")) and Draft.objects.filter(task=task).exists(), "the draft")
    assert Draft.objects.get(task=task).content["ranking"] == "B A"
    expect(page.locator("#ranking")).to_have_value("")
    until(lambda: kept(page) == [], "nothing is kept")


def test_what_waits_in_the_browser_is_dropped_after_30_days(page: Page) -> None:
    refuse(page)
    rank(page, "B A")
    says(page, "trying again")
    page.evaluate("""() => {
        const key = Object.keys(localStorage).find((key) => key.startsWith("prefloop:unsent:"));
        const entry = JSON.parse(localStorage.getItem(key));
        localStorage.setItem(key + "old", JSON.stringify({ ...entry, at: Date.now() - 31 * 86400e3 }));
        localStorage.setItem(key + "broken", "{");
    }""")
    assert len(kept(page)) == 3
    page.reload()
    expect(page.locator("#ranking")).to_have_value("B A")
    until(lambda: len(kept(page)) == 1, "the old and the broken are gone")


def test_the_oldest_gives_way_where_too_much_waits(page: Page) -> None:
    refuse(page)
    rank(page, "B A")
    says(page, "trying again")
    page.evaluate("""() => {
        const key = Object.keys(localStorage).find((key) => key.startsWith("prefloop:unsent:"));
        const entry = JSON.parse(localStorage.getItem(key));
        for (const day of [1, 2, 3, 4]) {
            const fields = [["rationale", String(day).repeat(90000)]];
            const old = { ...entry, task: "0", fields, at: Date.now() - day * 86400e3 };
            localStorage.setItem(key + day, JSON.stringify(old));
        }
    }""")
    rank(page, "B A C")
    left = sorted(key[-1] for key in kept(page) if len(key) > min(len(each) for each in kept(page)))
    assert left == ["1", "2", "3"]
    assert page.evaluate("Object.values(localStorage).join('').length") < 310_000


def test_a_submit_leaves_nothing_behind(page: Page) -> None:
    for letter in "ABCD":
        page.locator(f'input[name="likert-{letter}"][value="4"]').check(force=True)
    rank(page, "A B C D")
    before = task_of(page)
    submit(page)
    expect(page.locator(f'form#task:not([data-task="{before}"])')).to_have_count(1, timeout=SLOW)
    assert kept(page) == []
    assert not Draft.objects.filter(task=before).exists()
