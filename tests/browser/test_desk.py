"""The way of a question, a report and a claim: from the labeler to the desk and back; and axe on every page."""

from collections.abc import Callable
from typing import Any

import pytest
from django.utils import timezone
from playwright.sync_api import Browser, Page, expect

from labelapp.desk.services import dispute_make, inquiry_answer, inquiry_make
from labelapp.labeling.services.reports import report_make
from labelapp.labeling.services.seats import seat_take
from labelapp.models import (
    Annotator,
    GuidelineExample,
    Inquiry,
    Pool,
    Project,
    Prompt,
    Protocol,
    Report,
    Seat,
    TimeDispute,
    TimeEntry,
    User,
)
from tests.browser.closing import context_close
from tests.browser.conftest import signed_in
from tests.browser.labeling_page import SLOW, OpenAs, start, task_of, until
from tests.browser.test_pages import axe_page, check
from tests.factories import annotation_make, batch_with_tasks

pytestmark = pytest.mark.django_db(transaction=True)
PROJECT = "/projects/garden-helper/"
QUESTION = "Is a short answer better?"

__all__ = ["axe_page"]  # the fixture of the other pages


@pytest.fixture
def somebody_else(browser: Browser, live_server: Any) -> Callable[[User], Page]:
    """Another person at another computer."""

    def sign_in(user: User) -> Page:
        context = browser.new_context()
        context.add_cookies([signed_in(user, live_server.url)])
        page = context.new_page()
        page.set_default_timeout(SLOW)
        return page

    return sign_in


def test_a_question_is_answered_becomes_an_example_and_is_read(
    open_as: OpenAs,
    somebody_else: Callable[[User], Page],
    lena: User,
    rita: User,
    project: Project,
    protocol: Protocol,
    live_server: Any,
) -> None:
    batch_with_tasks(project, protocol, tasks=2, k=2)
    page = start(open_as(lena), live_server)
    held = task_of(page)
    page.locator("#leave summary").click()
    page.get_by_label("Or ask a question").fill(QUESTION)
    page.get_by_role("button", name="Send the question").click()
    until(Inquiry.objects.exists, "the question did not arrive")
    reviewer = somebody_else(rita)
    reviewer.goto(live_server.url)
    reviewer.get_by_role("link", name="1 report or question waits at the desk").click()
    reviewer.get_by_role("link", name=QUESTION).click()
    expect(reviewer.get_by_role("heading", name="Completion B")).to_be_visible()
    reviewer.get_by_role("textbox", name="Answer").fill("Yes, if **nothing** is missing.")
    reviewer.get_by_label("Show it as an example in the guidelines").check()
    reviewer.get_by_label("Title of the example").fill("Short answers")
    reviewer.get_by_role("button", name="Answer").click()
    expect(reviewer.locator("#messages")).to_contain_text("It stands in the guidelines as an example now.")
    context_close(reviewer.context)
    assert GuidelineExample.objects.get().title == "Short answers"
    assert Seat.objects.get(task=int(held)).state == Seat.State.HELD
    page.goto(live_server.url)
    page.get_by_role("link", name="1 answer to your question").click()
    expect(page.locator("article")).to_contain_text("Yes, if nothing is missing.")
    page.goto(live_server.url)
    expect(page.get_by_role("link", name="answer to your question")).to_have_count(0)
    page.goto(live_server.url + PROJECT + "guidelines/")
    expect(page.locator("main")).to_contain_text("Short answers")


def test_personal_data_stays_away_and_the_reporter_is_told(
    open_as: OpenAs,
    somebody_else: Callable[[User], Page],
    lena: User,
    rita: User,
    project: Project,
    protocol: Protocol,
    live_server: Any,
) -> None:
    batch_with_tasks(project, protocol, tasks=2, k=2, name="Pears")
    page = start(open_as(lena), live_server)
    reported = task_of(page)
    page.locator("#leave summary").click()
    page.get_by_label("Anything to add?").fill("There is a telephone number.")
    page.get_by_role("button", name="personal data").click()
    expect(page.locator(f'form#task:not([data-task="{reported}"])')).to_have_count(1, timeout=SLOW)
    prompt = Prompt.objects.get(tasks=int(reported))
    assert prompt.quarantined_at is not None
    text = prompt.messages[-1]["content"]
    reviewer = somebody_else(rita)
    reviewer.goto(live_server.url + PROJECT + "desk/")
    reviewer.get_by_role("link", name="It contains personal data").click()
    expect(reviewer.locator("main")).to_contain_text("There is a telephone number.")
    expect(reviewer.locator("main")).not_to_contain_text(text)
    reviewer.get_by_role("button", name="Show the text").click()
    expect(reviewer.locator("main")).to_contain_text(text)
    reviewer.get_by_label("Stays away").check()
    reviewer.get_by_label("Answer to the person").fill("Thank you, it is out.")
    reviewer.get_by_role("button", name="Decide").click()
    expect(reviewer.get_by_text("No report is open.")).to_be_visible()
    context_close(reviewer.context)
    assert Report.objects.get().state == Report.State.REMOVED
    page.goto(live_server.url + PROJECT + "mine/")
    expect(page.locator("main")).to_contain_text("Thank you, it is out.")
    expect(page.locator("main")).to_contain_text("the task stays away")
    expect(page.locator("main")).not_to_contain_text(text)


def test_missing_time_is_claimed_and_granted(
    open_as: OpenAs,
    somebody_else: Callable[[User], Page],
    lena: User,
    omar: User,
    annotator: Annotator,
    live_server: Any,
) -> None:
    TimeEntry.objects.create(annotator=annotator, kind=TimeEntry.Kind.PRACTICE, seconds=600)
    page = open_as(lena)
    page.goto(live_server.url + PROJECT + "mine/")
    page.get_by_role("link", name="Something missing?").click()
    page.get_by_label("Minutes that are missing").fill("12")
    page.get_by_label("What happened").fill("The page was reloaded.")
    page.get_by_role("button", name="Send to the admins").click()
    expect(page.locator("main")).to_contain_text("Waits for an admin")
    admin = somebody_else(omar)
    admin.goto(live_server.url + PROJECT + "desk/")
    admin.get_by_role("link", name="12 min on").click()
    expect(admin.locator("main")).to_contain_text("10 min: Practice 10 min")
    admin.get_by_role("button", name="Decide").click()
    expect(admin.locator("#messages")).to_contain_text("Granted.")
    context_close(admin.context)
    assert TimeDispute.objects.get().granted_seconds == 720
    page.reload()
    expect(page.locator("main")).to_contain_text("Granted: 12 min")
    expect(page.get_by_role("row", name="22 min")).to_be_visible()


def test_no_page_has_a_fault_that_axe_finds(
    axe_page: Callable[[User | None], Page],
    lena: User,
    omar: User,
    annotator: Annotator,
    project: Project,
    protocol: Protocol,
    live_server: Any,
) -> None:
    """Every page with something on it, at 1440 px in light and 390 px in dark."""
    batch = batch_with_tasks(project, protocol, tasks=5, k=2)
    closed = batch_with_tasks(project, protocol, tasks=1, k=2, name="A batch with a rather long name, for doctors only")
    Pool.objects.filter(batch=closed).update(skills=["medicine"])
    annotation_make(batch.tasks.earliest("pk"), annotator, paid_seconds=600)
    seat = seat_take(annotator_id=annotator.pk)
    assert seat is not None
    answered = inquiry_make(annotator=annotator, task=seat.task, text=QUESTION)
    inquiry_answer(inquiry=answered, actor=omar, answer="Yes:\n\n| a | b |\n|---|---|\n| 1 | 2 |")
    inquiry_make(annotator=annotator, task=seat.task, text="And a long one?" * 20)
    dispute_make(annotator=annotator, day=timezone.localdate(), claimed_seconds=600, text="The page was reloaded.")
    for kind in (Report.Kind.BROKEN, Report.Kind.PERSONAL_DATA):
        report_make(annotator_id=annotator.pk, task=batch.tasks.latest("pk"), kind=kind, note="A number." * 20)
    page = axe_page(lena)
    for path in ("", "projects/garden-helper/", "projects/garden-helper/mine/?day=2026-01-01"):
        check(page, f"{live_server.url}/{path}")
    admin = axe_page(omar)
    paths = [
        *["desk/", *(f"desk/reports/{report.pk}/" for report in Report.objects.all())],
        *(f"desk/questions/{inquiry.pk}/" for inquiry in Inquiry.objects.all()),
        f"desk/disputes/{TimeDispute.objects.get().pk}/",
    ]
    for path in paths:
        check(admin, live_server.url + PROJECT + path)
