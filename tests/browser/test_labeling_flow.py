"""From task to task without loading a page."""

from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

import pytest
from django.utils import timezone
from playwright.sync_api import Page, expect

from labelapp.labeling.services.seats import seat_take, seats_expire
from labelapp.models import (
    Annotation,
    Annotator,
    Batch,
    Draft,
    Inquiry,
    Project,
    Protocol,
    Report,
    Seat,
    User,
)
from tests.browser.closing import page_close
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
    start,
    submit,
    task_of,
)
from tests.factories import batch_with_tasks, labeler_make, protocol_make

pytestmark = pytest.mark.django_db(transaction=True)


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


def requests(page: Page) -> list[str]:
    """What the page asks the server for, from now on."""
    seen: list[str] = []
    page.on("request", lambda request: seen.append(urlsplit(request.url).path))
    return seen


def test_the_next_task_takes_the_place_of_the_last_without_a_page_load(page: Page) -> None:
    before = task_of(page)
    answer(page)
    following = reserved(page)
    saved(page)
    page.mouse.wheel(0, 4_000)
    submit(page)
    assert other_task(page, before) == str(following)
    assert same_page(page)
    assert page.url.endswith(f"/label/{following}/")
    assert page.evaluate("scrollY") == 0
    expect(page.locator("#prompt-head")).to_be_focused()
    expect(page.get_by_role("status").get_by_text("Next task")).to_have_count(1)
    expect(page.locator("#ranking")).to_have_value("")
    assert Seat.objects.get(task=following).state == Seat.State.HELD
    annotations(1)


def test_the_answer_to_the_submit_brings_the_task_after_the_next(page: Page) -> None:
    answer(page)
    following = reserved(page)
    saved(page)
    before, asked = task_of(page), requests(page)
    submit(page)
    other_task(page, before)
    after = reserved(page)
    assert after not in {int(before), following}
    answer(page)
    saved(page)
    submit(page)
    assert other_task(page, str(following)) == str(after)
    assert not [path for path in asked if path.endswith("/ahead/")], "each answer brought the next"
    assert same_page(page)


def test_three_tasks_are_worked_off_and_the_page_says_that_nothing_is_left(page: Page) -> None:
    for count in range(1, 5):
        before = task_of(page)
        answer(page)
        saved(page)
        submit(page)
        if count < 4:
            other_task(page, before)
        annotations(count)
    expect(page.get_by_role("heading", name="No task for you now")).to_be_visible(timeout=SLOW)
    assert kept(page) == []


def test_the_paid_clock_of_the_next_task_starts_when_it_is_shown(
    open_as: OpenAs, lena: User, batch: Batch, live_server: Any
) -> None:
    page = open_as(lena)
    page.clock.install()
    start(page, live_server)
    answer(page)
    following = reserved(page)
    saved(page)
    page.keyboard.press("Shift")
    page.clock.fast_forward(4 * 60_000)
    before = task_of(page)
    submit(page)
    other_task(page, before)
    rank(page, "A")
    saved(page)
    assert Annotation.objects.get().paid_seconds is not None
    assert int(Draft.objects.get(task=following).content["paid_seconds"]) < 60


def test_a_task_that_was_not_reserved_comes_with_the_answer(page: Page) -> None:
    page.route("**/ahead/", lambda route: route.abort())
    before = task_of(page)
    answer(page)
    saved(page)
    submit(page)
    other_task(page, before)
    assert same_page(page)
    expect(page.locator("#prompt-head")).to_be_focused()


def test_a_reservation_that_was_lost_is_replaced(page: Page, project: Project) -> None:
    before = task_of(page)
    answer(page)
    following = reserved(page)
    saved(page)
    Seat.objects.filter(task=following).update(lease_until=timezone.now() - timedelta(seconds=1))
    seats_expire()
    taken = seat_take(annotator_id=labeler_make(project, "mia").pk)
    assert taken is not None
    submit(page)
    shown = other_task(page, before)
    assert same_page(page)
    assert Seat.objects.get(task=shown).annotator == Annotator.objects.get(user__email="lena@example.com")


def test_a_reload_shows_the_task_that_stood_there(page: Page) -> None:
    before = task_of(page)
    answer(page)
    saved(page)
    submit(page)
    shown = other_task(page, before)
    rank(page, "C")
    saved(page)
    page.reload()
    assert task_of(page) == shown
    expect(page.locator("#ranking")).to_have_value("C")


def test_back_leads_out_of_the_tasks_and_forward_into_the_one_at_hand(page: Page, live_server: Any) -> None:
    for _ in range(2):
        before = task_of(page)
        answer(page)
        saved(page)
        submit(page)
        shown = other_task(page, before)
    page.go_back()
    expect(page).to_have_url(live_server.url + "/")
    page.go_forward()
    expect(page.locator(f'form#task[data-task="{shown}"]')).to_be_visible()
    rank(page, "D")
    saved(page)
    assert Draft.objects.get(task=shown).content["ranking"] == "D"


def test_ratings_first_then_the_ranking_then_the_next_task(
    open_as: OpenAs, lena: User, project: Project, live_server: Any
) -> None:
    batch_with_tasks(project, protocol_make(project, name="Two", layout="two_stage"), tasks=2)
    page = start(open_as(lena), live_server)
    page.evaluate("window.stays = true")
    before = task_of(page)
    rate_all(page)
    submit(page)
    expect(page.locator("#ranking")).to_be_visible(timeout=SLOW)
    expect(page.get_by_role("status").get_by_text("Next step of this task")).to_have_count(1)
    assert task_of(page) == before
    rank(page, "A B")
    saved(page)
    page.reload()
    expect(page.locator("#ranking")).to_have_value("A B")
    page.evaluate("window.stays = true")
    page.get_by_role("button", name="Back to the ratings").click()
    expect(page.get_by_role("button", name="Next: rank them")).to_be_visible(timeout=SLOW)
    expect(page.locator('input[name="likert-A"][value="4"]')).to_be_checked()
    submit(page)
    expect(page.locator("#ranking")).to_have_value("A B", timeout=SLOW)
    rank(page, "A B C D")
    submit(page)
    other_task(page, before)
    assert same_page(page)
    annotations(1)


def test_a_report_that_takes_the_task_away_goes_on_to_the_next(page: Page) -> None:
    before = task_of(page)
    page.locator("#leave > summary").click()
    page.locator('#leave [name="note"]').fill("A telephone number.")
    page.locator('#leave [name="kind"][value="personal_data"]').click()
    other_task(page, before)
    assert same_page(page)
    assert Report.objects.get().note == "A telephone number."


def test_a_report_that_leaves_the_task_says_thanks(page: Page) -> None:
    before = task_of(page)
    rank(page, "B")
    page.locator("#leave > summary").click()
    page.locator('#leave [name="kind"][value="broken"]').click()
    expect(page.get_by_text("Sent. Thank you.")).to_be_visible(timeout=SLOW)
    assert task_of(page) == before
    expect(page.locator("#ranking")).to_have_value("B")
    saved(page)
    assert Report.objects.get().kind == Report.Kind.BROKEN


def test_a_question_is_asked_and_the_task_stays(page: Page) -> None:
    before = task_of(page)
    page.locator("#leave > summary").click()
    page.locator('#leave textarea[name="text"]').fill("Do pears count as stone fruit?")
    page.locator("#leave .leave-ask").click()
    expect(page.get_by_text("Sent. Thank you.")).to_be_visible(timeout=SLOW)
    assert task_of(page) == before
    assert Inquiry.objects.get().text == "Do pears count as stone fruit?"
    expect(page.locator('#leave textarea[name="text"]')).to_have_value("")


def test_a_tab_in_the_background_goes_on_too(page: Page) -> None:
    before = task_of(page)
    answer(page)
    saved(page)
    other = page.context.new_page()
    other.goto("about:blank")
    other.bring_to_front()
    page.evaluate("document.getElementById('task').requestSubmit(document.getElementById('submit'))")
    shown = other_task(page, before)
    page.evaluate("""() => {
        const field = document.getElementById("ranking");
        field.value = "B A";
        field.dispatchEvent(new Event("input", { bubbles: true }));
    }""")
    saved(page)
    assert Draft.objects.get(task=shown).content["ranking"] == "B A"
    page_close(other)
