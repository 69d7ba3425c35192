"""Time at work and paid, whether anybody is still there, breaks, and what is sparing about the labeling page."""

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone
from playwright.sync_api import Page, Request, expect

from labelapp.labeling.services.seats import seat_take, seats_expire
from labelapp.models import Annotation, Batch, Draft, Project, Protocol, Seat, TaskSkip, TimeEntry, User
from tests.browser.labeling_page import (
    SLOW,
    OpenAs,
    annotations,
    answer,
    other_task,
    rank,
    saved,
    says,
    start,
    submit,
    task_of,
    until,
)
from tests.factories import batch_with_tasks, labeler_make, protocol_make

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def batch(project: Project, protocol: Protocol) -> Batch:
    return batch_with_tasks(project, protocol, tasks=3)


@pytest.fixture
def page(open_as: OpenAs, lena: User, batch: Batch, live_server: Any) -> Page:
    """The labeling page, with a clock that the test turns."""
    page = open_as(lena)
    page.clock.install()
    return start(page, live_server)


def pass_time(page: Page, minutes: float) -> None:
    """Let time pass in the browser, with all that is due in it."""
    page.clock.run_for(int(minutes * 60_000))


def work(page: Page, minutes: int) -> None:
    """Work with pauses that are short enough."""
    for _ in range(minutes):
        page.clock.fast_forward(60_000)
        page.keyboard.press("Shift")


def seconds(page: Page, name: str) -> int:
    """What the form would say now."""
    return int(page.locator(f'input[name="{name}"]').input_value())


def heartbeats(page: Page) -> list[str]:
    """What the page's heartbeats say, from now on."""
    said: list[str] = []

    def note(request: Request) -> None:
        if request.url.endswith("/heartbeat/"):
            said.append(request.post_data or "")

    page.on("request", note)
    return said


def lose_the_seat(page: Page, project: Project) -> None:
    """The lease runs out, and others take all there is."""
    Seat.objects.filter(state=Seat.State.HELD).update(lease_until=timezone.now() - timedelta(seconds=1))
    seats_expire()
    for name in ("mia", "noah", "olga"):
        seat_take(annotator_id=labeler_make(project, name).pk)


def test_time_at_work_stops_after_a_minute_and_paid_time_after_ten(page: Page) -> None:
    page.keyboard.press("Shift")
    pass_time(page, 15)
    rank(page, "A")
    saved(page)
    assert 58 <= seconds(page, "active_seconds") <= 75
    assert 598 <= seconds(page, "paid_seconds") <= 615


def test_time_in_another_tab_is_paid_but_no_time_at_work(page: Page) -> None:
    page.keyboard.press("Shift")
    page.evaluate("""() => {
        Object.defineProperty(document, "hidden", { configurable: true, get: () => true });
        document.dispatchEvent(new Event("visibilitychange"));
    }""")
    pass_time(page, 5)
    page.evaluate("""() => {
        delete document.hidden;
        document.dispatchEvent(new Event("visibilitychange"));
    }""")
    rank(page, "A")
    saved(page)
    assert seconds(page, "active_seconds") <= 15
    assert 298 <= seconds(page, "paid_seconds") <= 315


def test_both_are_shown_and_go_on_after_a_reload(page: Page) -> None:
    work(page, 4)
    page.clock.run_for(10_000)
    expect(page.locator("#clock")).to_have_text("At work 4 min · paid 4 min")
    rank(page, "A")
    saved(page)
    page.reload()
    expect(page.locator("#clock")).to_have_text("At work 4 min · paid 4 min")
    work(page, 2)
    page.clock.run_for(10_000)
    expect(page.locator("#clock")).to_have_text("At work 6 min · paid 6 min")


def test_time_is_counted_by_stage(open_as: OpenAs, lena: User, project: Project, live_server: Any) -> None:
    batch_with_tasks(project, protocol_make(project, name="Two", layout="two_stage"), tasks=1)
    page = open_as(lena)
    page.clock.install()
    start(page, live_server)
    work(page, 3)
    for letter in "ABCD":
        page.locator(f'input[name="likert-{letter}"][value="4"]').check(force=True)
    submit(page)
    expect(page.locator("#ranking")).to_be_visible(timeout=SLOW)
    work(page, 2)
    rank(page, "A B C D")
    saved(page)
    content = Draft.objects.get().content
    assert 178 <= int(content["active_rate"]) <= 200
    assert 118 <= int(content["active_rank"]) <= 140
    assert 298 <= int(content["active_seconds"]) <= 340


def test_the_seat_is_kept_while_somebody_works(page: Page) -> None:
    said = heartbeats(page)
    pass_time(page, 2)
    until(lambda: bool(page.evaluate("1")) and len(said) >= 3, "heartbeats")
    assert len(said) <= 5
    assert "idle_seconds=" in said[-1]


def test_somebody_who_is_quiet_is_asked_and_one_key_answers(page: Page) -> None:
    page.keyboard.press("Shift")
    said = heartbeats(page)
    pass_time(page, 9)
    expect(page.get_by_text("Still there?")).to_have_count(0)
    pass_time(page, 1.2)
    note = page.locator(".bar-note")
    expect(note).to_contain_text("Still there? Your place is kept until")
    expect(note).to_have_attribute("role", "status")
    expect(note).to_have_attribute("data-tone", "warn")
    until(lambda: bool(page.evaluate("1")) and len(said) > 1, "heartbeats")
    before = len(said)
    page.keyboard.press("Shift")
    expect(page.get_by_text("Still there?")).to_have_count(0)
    until(lambda: bool(page.evaluate("1")) and len(said) > before, "a heartbeat at once")
    assert "idle_seconds=0" in said[-1]


def test_the_button_answers_too(page: Page) -> None:
    pass_time(page, 10.2)
    page.get_by_role("button", name="I am here").press("Enter")
    expect(page.get_by_text("Still there?")).to_have_count(0)


def test_after_the_lease_the_question_says_so(page: Page) -> None:
    pass_time(page, 16)
    expect(page.locator(".bar-note")).to_contain_text("Your place may be given to somebody else")


def test_a_place_given_away_is_said_and_the_work_may_be_submitted(page: Page, project: Project) -> None:
    lose_the_seat(page, project)
    pass_time(page, 0.6)
    says(page, "given to somebody else; you may still submit")
    answer(page)
    saved_line = page.locator("#saved")
    expect(saved_line).to_contain_text("Saved ", timeout=SLOW)
    expect(saved_line).to_contain_text("you may still submit")
    submit(page)
    annotations(1)
    assert Annotation.objects.get().surplus
    expect(page.locator("#messages")).to_contain_text("It is kept", timeout=SLOW)


def test_after_fifty_minutes_a_paid_break_is_offered(page: Page) -> None:
    work(page, 48)
    page.clock.run_for(6_000)
    expect(page.get_by_role("button", name="Take a break")).to_have_count(0)
    work(page, 3)
    page.clock.run_for(6_000)
    expect(page.locator(".bar-note")).to_contain_text("A break of up to ten minutes is paid.")
    page.get_by_role("button", name="Take a break").click()
    expect(page.locator(".bar-note")).to_contain_text("You are on a break. It is paid until")
    before = seconds(page, "paid_seconds")
    page.clock.fast_forward(8 * 60_000)
    page.get_by_role("button", name="Back to work").click()
    until(lambda: bool(page.evaluate("1")) and TimeEntry.objects.exists(), "the break")
    entry = TimeEntry.objects.get()
    assert entry.kind == TimeEntry.Kind.BREAK
    assert 478 <= entry.seconds <= 500
    rank(page, "A")
    saved(page)
    assert seconds(page, "paid_seconds") - before < 60 * 52, "the break is not paid twice"
    work(page, 5)
    page.clock.run_for(6_000)
    expect(page.get_by_role("button", name="Take a break")).to_have_count(0)


def test_a_break_outlives_a_reload(page: Page) -> None:
    work(page, 51)
    page.clock.run_for(6_000)
    page.get_by_role("button", name="Take a break").click()
    page.reload()
    expect(page.locator(".bar-note")).to_contain_text("You are on a break.")
    page.clock.fast_forward(15 * 60_000)
    page.clock.run_for(6_000)
    expect(page.locator(".bar-note")).to_contain_text("Your break was ten minutes long.")
    page.get_by_role("button", name="Back to work").click()
    until(lambda: bool(page.evaluate("1")) and TimeEntry.objects.exists(), "the break")
    assert TimeEntry.objects.get().seconds == 600


def test_a_break_can_be_declined(page: Page) -> None:
    work(page, 51)
    page.clock.run_for(6_000)
    page.get_by_role("button", name="Not now").click()
    expect(page.get_by_role("button", name="Take a break")).to_have_count(0)
    work(page, 3)
    page.clock.run_for(6_000)
    expect(page.get_by_role("button", name="Take a break")).to_have_count(0)
    assert not TimeEntry.objects.exists()


def test_who_has_rested_begins_anew(page: Page) -> None:
    work(page, 40)
    pass_time(page, 21)
    work(page, 15)
    page.clock.run_for(6_000)
    expect(page.get_by_role("button", name="Take a break")).to_have_count(0)


def test_the_stretch_goes_on_from_task_to_task(page: Page) -> None:
    work(page, 40)
    answer(page)
    before = task_of(page)
    submit(page)
    other_task(page, before)
    work(page, 11)
    page.clock.run_for(6_000)
    expect(page.get_by_role("button", name="Take a break")).to_be_visible()


def test_one_key_skips_what_is_distressing(page: Page) -> None:
    before = task_of(page)
    page.locator("h1").first.evaluate("head => head.focus()")
    page.keyboard.press("Shift+D")
    other_task(page, before)
    skip = TaskSkip.objects.get()
    assert (skip.task_id, skip.reason) == (int(before), TaskSkip.Reason.DISTRESSING)
