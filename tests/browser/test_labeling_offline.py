"""Parts of the labeling page that come with their first use: one that cannot come breaks nothing, and comes later."""

from typing import Any

import pytest
from playwright.sync_api import Page, expect

from labelapp.models import Batch, Project, Protocol, User
from tests.browser.labeling_page import OpenAs, start, until
from tests.browser.test_labeling_layout import LONG, batch_of
from tests.factories import batch_with_tasks

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def batch(project: Project, protocol: Protocol) -> Batch:
    return batch_with_tasks(project, protocol, tasks=2)


def without(page: Page, part: str) -> list[str]:
    """Let nothing come whose address has this in it; returns the list of what was asked for. Console errors fail."""
    asked: list[str] = []

    def refuse(route: Any) -> None:
        asked.append(route.request.url)
        route.abort()

    page.route(f"**/*{part}*", refuse)
    return asked


@pytest.mark.parametrize("part", ["drag.", "Sortable-"])
def test_dragging_comes_with_the_next_press(
    open_as: OpenAs, lena: User, batch: Batch, live_server: Any, part: str
) -> None:
    page = open_as(lena)
    asked = without(page, part)
    start(page, live_server)
    expect(page.locator("#tiers")).to_be_visible()  # the script has drawn the board, and listens
    page.mouse.move(5, 5)
    page.mouse.move(9, 9)
    until(lambda: bool(page.evaluate("1")) and bool(asked), "the first attempt")
    page.wait_for_timeout(200)
    page.unroute(f"**/*{part}*")
    page.locator("h2").first.click()
    until(lambda: bool(page.evaluate("Boolean(window.Sortable)")), "the library for dragging")


def test_the_panel_opens_at_the_next_press(open_as: OpenAs, lena: User, batch: Batch, live_server: Any) -> None:
    page = open_as(lena)
    without(page, "labeling/panel.")
    start(page, live_server)
    expect(page.locator("form.keys-on")).to_be_visible()
    page.keyboard.press("g")
    expect(page.locator("#said")).to_contain_text("This could not be loaded.")
    page.unroute("**/*labeling/panel.*")
    page.keyboard.press("g")
    expect(page.locator("#panel")).to_be_visible()


def test_folding_comes_once_there_is_a_connection(
    open_as: OpenAs, lena: User, project: Project, live_server: Any
) -> None:
    batch_of(project, [LONG, "Short."])
    page = open_as(lena)
    asked = without(page, "folding.")
    start(page, live_server)
    until(lambda: bool(page.evaluate("1")) and bool(asked), "the first attempt")
    page.wait_for_timeout(200)
    page.unroute("**/*folding.*")
    page.evaluate("dispatchEvent(new Event('online'))")
    expect(page.get_by_role("button", name="Fold").first).to_be_visible()
