"""Guidelines, practice and one's own keys in a real browser."""

import time
from collections.abc import Callable
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from labelapp.guidelines.practice import cards_of
from labelapp.guidelines.services import example_create, visit_record
from labelapp.models import Annotator, GuidelineVisit, PracticeExample, Project, Protocol, TimeEntry, User
from labelapp.projects.defaults import GUIDELINES
from labelapp.projects.worked_examples import WORKED_EXAMPLES
from tests.browser.conftest import wait_until_quiet
from tests.browser.test_pages import axe_page, check
from tests.factories import batch_with_tasks, protocol_make

__all__ = ["axe_page"]
OpenAs = Callable[[User], Page]
AxePage = Callable[[User | None], Page]
pytestmark = pytest.mark.django_db(transaction=True)
HOME = "/projects/garden-helper"


@pytest.fixture
def protocol(project: Project) -> Protocol:
    return protocol_make(project, guidelines=GUIDELINES)


@pytest.fixture
def changed(protocol: Protocol, annotator: Annotator, omar: User) -> Protocol:
    """The next version of guidelines that lena has seen, with an example that she has not."""
    visit_record(annotator=annotator, protocol=protocol)
    text = GUIDELINES.replace("no longer than it needs to be.", "short.") + "\n\n## Poems\n\nRead them aloud."
    example_create(project=protocol.project, protocol_name=protocol.name, title="A joke", text="Laugh.", actor=omar)
    return protocol_make(protocol.project, version=2, guidelines=text, created_by=omar)


@pytest.fixture
def worked(project: Project, protocol: Protocol) -> list[PracticeExample]:
    return [
        PracticeExample.objects.create(project=project, protocol_name=protocol.name, position=position, **example)
        for position, example in enumerate(WORKED_EXAMPLES)
    ]


def test_what_changed_is_marked_and_can_be_unfolded(
    open_as: OpenAs, lena: User, changed: Protocol, live_server: Any
) -> None:
    page = open_as(lena)
    page.goto(live_server.url + HOME + "/guidelines/")
    expect(page.get_by_text("3 changes since version 1. They are marked below.")).to_be_visible()
    expect(page.locator("ins", has_text="Read them aloud.")).to_be_visible()
    before = page.locator("del", has_text="no longer than it needs to be")
    expect(before).to_be_hidden()
    page.get_by_text("What it said before").click()
    expect(before).to_be_visible()
    page.reload()
    expect(page.locator("ins")).to_have_count(0)
    page.get_by_role("link", name="What differs from version 1").click()
    expect(page.locator("ins")).to_have_count(2)


def test_search_filters_as_one_types(open_as: OpenAs, lena: User, changed: Protocol, live_server: Any) -> None:
    page = open_as(lena)
    page.goto(live_server.url + HOME + "/guidelines/")
    field = page.get_by_role("searchbox")
    field.fill("about equal")
    expect(page.get_by_role("status").filter(has_text="Found once")).to_be_visible()
    expect(page.locator("mark")).to_have_text("about equal")
    expect(page.get_by_role("heading", name="When it is close")).to_be_visible()
    expect(page.get_by_role("heading", name="Poems")).to_be_hidden()
    field.fill("laugh")
    expect(page.get_by_role("heading", name="A joke")).to_be_visible()
    field.press("Enter")
    expect(page.locator("mark[data-at]")).to_be_in_viewport()
    field.fill("plums")
    expect(page.get_by_text("Nothing found")).to_be_visible()
    field.fill("")
    expect(page.get_by_role("heading", name="Poems")).to_be_visible()
    expect(page.locator("mark")).to_have_count(0)


def test_the_time_of_reading_is_counted_once(open_as: OpenAs, lena: User, protocol: Protocol, live_server: Any) -> None:
    page = open_as(lena)
    page.goto(live_server.url + HOME + "/guidelines/")
    page.wait_for_timeout(1_600)
    page.mouse.move(200, 200)
    page.goto(live_server.url + "/")
    deadline = time.monotonic() + 5
    while not TimeEntry.objects.exists() and time.monotonic() < deadline:
        page.wait_for_timeout(50)
    wait_until_quiet()
    entry = TimeEntry.objects.get()
    assert entry.kind == "guidelines"
    assert 1 <= entry.seconds <= 10


def test_the_panel_beside_a_task_begins_with_the_keys(
    open_as: OpenAs, lena: User, changed: Protocol, project: Project, live_server: Any
) -> None:
    batch_with_tasks(project, changed, tasks=1)
    page = open_as(lena)
    loaded: list[str] = []
    page.on("request", lambda request: loaded.append(request.url))
    page.goto(live_server.url + HOME + "/label/")
    expect(page.locator("#task")).to_be_visible()
    page.wait_for_load_state("networkidle")
    assert not [url for url in loaded if "guidelines" in url]
    page.keyboard.press("?")
    panel = page.locator(".guidelines-panel")
    expect(panel.get_by_role("heading", name="Keys")).to_be_visible()
    expect(panel.get_by_text("About equal to the one above it")).to_be_visible()
    expect(panel.locator("ins").first).to_be_attached()
    panel.get_by_role("searchbox").fill("about equal")
    expect(panel.locator("mark")).to_have_text("about equal")
    assert GuidelineVisit.objects.get().protocol != changed
    page.wait_for_timeout(10_500)
    wait_until_quiet()
    assert GuidelineVisit.objects.get().protocol == changed


def test_practice_answers_at_once(
    open_as: OpenAs, lena: User, annotator: Annotator, worked: list[PracticeExample], live_server: Any
) -> None:
    page = open_as(lena)
    page.goto(live_server.url + HOME + "/practice/")
    page.get_by_role("link", name="Clear, vague and wrong").click()
    cards = cards_of(worked[0], project=worked[0].project, annotator=annotator)
    letter = {card.slot: card.letter for card in cards}
    for slot, place in ((0, "1"), (1, "2"), (2, "2")):
        page.locator(f'[name="place-{letter[slot]}"][value="{place}"]').check()
    low, high = sorted([letter[1], letter[2]])
    expect(page.locator("#ranking")).to_have_value(f"{letter[0]} {low}={high}")
    page.locator(f'[name="likert-{letter[0]}"][value="7"]').check()
    page.get_by_role("button", name="Check").click()
    answer = page.get_by_role("heading", name="What the team says")
    expect(answer).to_be_focused()
    expect(page.get_by_text("You see 2 of 3 pairs as the team does.")).to_be_visible()
    expect(page.get_by_text("You rated it the same.")).to_be_visible()
    page.locator("#ranking").fill(f"{letter[2]} {letter[1]}={letter[0]}")
    expect(page.locator(f'[name="place-{letter[0]}"][value="2"]')).to_be_checked()
    page.locator("#ranking").fill(letter[0])
    page.locator("#ranking").press("Enter")
    expect(page.get_by_text("Still to be placed")).to_be_visible()
    page.get_by_role("link", name="Next: A summary").click()
    expect(page.get_by_role("heading", name="A summary, and what the text does not say")).to_be_visible()


def test_a_key_is_chosen_by_pressing_it(open_as: OpenAs, lena: User, live_server: Any) -> None:
    page = open_as(lena)
    page.goto(live_server.url + "/me/shortcuts/")
    row = page.locator(".shortcut", has_text="About equal to the one above it")
    row.get_by_role("button", name="Press a key").click()
    page.keyboard.press("Shift+T")
    expect(row.get_by_role("textbox")).to_have_value("Shift+t")
    row.get_by_role("button").click()
    page.keyboard.press("Escape")
    expect(row.get_by_role("textbox")).to_have_value("Shift+t")
    page.get_by_role("button", name="Save").last.click()
    expect(page.get_by_text("Saved. It counts on the next page you open.")).to_be_visible()
    lena.refresh_from_db()
    assert lena.shortcuts == {"tie": "Shift+t"}
    row.get_by_role("textbox").fill("j")
    page.get_by_role("button", name="Save").last.click()
    expect(page.get_by_text("J is also the key of “Go to the next completion”")).to_be_visible()
    page.get_by_role("button", name="Back to the usual keys").click()
    expect(row.get_by_role("textbox")).to_have_value("=")


def test_the_pages_of_a_labeler_have_no_fault_that_axe_finds(
    axe_page: AxePage,
    lena: User,
    changed: Protocol,
    worked: list[PracticeExample],
    live_server: Any,
) -> None:
    page = axe_page(lena)
    compared = f"?protocol={changed.pk}&compare={changed.project.protocols.get(version=1).pk}&q=answer"
    for path in ("/guidelines/", f"/guidelines/{compared}", "/practice/", f"/practice/{worked[1].pk}/"):
        check(page, live_server.url + HOME + path)
    check(page, live_server.url + "/me/shortcuts/")
    page.goto(f"{live_server.url}{HOME}/practice/{worked[1].pk}/")
    page.locator("#ranking").fill("A B=C D")
    page.get_by_role("button", name="Check").click()
    expect(page.get_by_role("heading", name="What the team says")).to_be_focused()
    found = Axe().run(page)
    assert found.violations_count == 0, found.generate_report()


def test_the_pages_of_an_admin_have_no_fault_that_axe_finds(
    axe_page: AxePage,
    omar: User,
    changed: Protocol,
    worked: list[PracticeExample],
    live_server: Any,
) -> None:
    page = axe_page(omar)
    for path in ("/guidelines/", "/guidelines/examples/", "/practice/new/", f"/practice/{worked[0].pk}/edit/"):
        check(page, live_server.url + HOME + path)
