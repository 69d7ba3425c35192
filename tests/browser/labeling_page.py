"""What the browser tests of the labeling page do again and again."""

import time
from collections.abc import Callable
from typing import Any

from playwright.sync_api import Page, expect

from labelapp.models import Annotation, Draft, Seat, User

OpenAs = Callable[[User], Page]
ADDRESS = "/projects/garden-helper/label/"
SLOW = 30_000  # milliseconds that a busy machine may take


def start(page: Page, live_server: Any) -> Page:
    """Take the next task."""
    page.goto(live_server.url + ADDRESS)
    expect(page.locator("form#task")).to_be_visible()
    return page


def rank(page: Page, text: str) -> None:
    """Type a whole ranking in the place of whatever stands there."""
    page.locator("#ranking").fill(text)


def rate_all(page: Page, digit: str = "4") -> None:
    """Give every completion of a task of four the same rating."""
    for letter in "ABCD":
        page.locator(f'input[name="likert-{letter}"][value="{digit}"]').check(force=True)


def answer(page: Page, ranking: str = "A B C D") -> None:
    """All that a task asks."""
    rate_all(page)
    rank(page, ranking)


def saved(page: Page) -> None:
    """Wait until the page calls everything saved that stands in the form."""
    expect(page.locator('#saved[data-state="saved"]')).to_have_count(1, timeout=SLOW)


def says(page: Page, text: str) -> None:
    """Wait until the line about saving says this."""
    expect(page.locator("#saved")).to_contain_text(text, timeout=SLOW)


def task_of(page: Page) -> str:
    """Which task stands on the page."""
    return page.locator("form#task").get_attribute("data-task") or ""


def other_task(page: Page, before: str) -> str:
    """Wait until another task stands on the page, and return which."""
    expect(page.locator(f'form#task:not([data-task="{before}"])')).to_have_count(1, timeout=SLOW)
    return task_of(page)


def submit(page: Page) -> None:
    """Press the button."""
    page.locator("#submit").click()


def until(done: Callable[[], bool], what: str, seconds: float = 30.0) -> None:
    """Wait for something outside the page. What a route of the page notes comes in only while `done` asks the page."""
    deadline = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < deadline, what
        time.sleep(0.05)


def ranking_stored() -> str:
    """The ranking in the only draft there is."""
    return str(Draft.objects.get().content["ranking"])


def annotations(count: int) -> None:
    """Wait until so many are stored."""
    until(lambda: Annotation.objects.count() == count, f"{count} annotations")


def kept(page: Page) -> list[str]:
    """The names of what waits in the browser."""
    return list(page.evaluate("Object.keys(localStorage).filter((key) => key.startsWith('prefloop:unsent:'))"))


def reserved(page: Page) -> int:
    """Wait until the next task is reserved, and return which it is."""
    with_reserved = Seat.objects.filter(state=Seat.State.RESERVED)
    until(lambda: bool(page.evaluate("1")) and with_reserved.exists(), "a reserved task")
    return with_reserved.get().task_id
