"""Somebody types while every process of the server is killed: whatever the page called saved is there afterwards.

What it had not called saved waits in the browser, through the end of the tab too, and arrives in the end.
"""

import itertools
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from tests.browser.closing import page_close
from tests.services.conftest import Stack

pytestmark = pytest.mark.services

EMAIL, PASSWORD = "omar@example.com", "a long enough password"
PATIENCE = 180.0
MAKE = """
from django.db import transaction
from labelapp.models import User
from labelapp.projects.services import project_create
from tests.factories import batch_with_tasks, protocol_make
with transaction.atomic():
    omar = User.objects.create_user(email=given[0], password=given[1], name="Omar", is_staff=True)
    project = project_create(name="Pears", created_by=omar)
    batch_with_tasks(project, protocol_make(project, asks_rationale=True), tasks=2)
found = project.slug
"""
DRAFT = """
from labelapp.models import Draft
found = [draft.content.get("rationale", "") for draft in Draft.objects.all()]
"""
ANNOTATIONS = """
from labelapp.models import Annotation
found = list(Annotation.objects.values_list("rationale", flat=True))
"""
# Notes what stands in the field at each moment at which the page says that all of it is saved.
WITNESS = """
window.calledSaved = [];
new MutationObserver(() => {
  if (document.getElementById("saved")?.dataset.state !== "saved") return;
  window.calledSaved.push(document.getElementById("rationale").value);
}).observe(document, { subtree: true, attributes: true, attributeFilter: ["data-state"] });
"""


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Stack]:
    stack = Stack(tmp_path)
    try:
        stack.start()
        yield stack
    finally:
        print((tmp_path / "up.log").read_text(errors="replace")[-6000:])
        if stack.process and stack.process.poll() is None:
            stack.stop()


class Typist:
    """Writes one word after the other into the field for reasons, in whichever tab is open."""

    def __init__(self, site: Stack, context: BrowserContext) -> None:
        self.site, self.context = site, context
        self.home = f"http://127.0.0.1:{site.port}/"
        self.written = ""
        self.numbers = itertools.count(1)
        context.add_init_script(WITNESS)
        self.page = self.tab()

    def tab(self) -> Page:
        page = self.context.new_page()
        page.set_default_timeout(PATIENCE * 1000)
        return page

    def sign_in(self) -> None:
        self.page.goto(self.home + "accounts/login/")
        self.page.locator("[name=login]").fill(EMAIL)
        self.page.locator("[name=password]").fill(PASSWORD)
        self.page.locator("main form button[type=submit]").click()
        self.page.wait_for_url(self.home)

    def type(self, words: int = 5) -> None:
        """Some words, at the end of what stands there."""
        self.page.locator("#rationale").focus()
        for _ in range(words):
            word = f"word{next(self.numbers)} "
            self.page.keyboard.type(word, delay=5)
            self.written += word
        expect(self.page.locator("#rationale")).to_have_value(self.written)

    def type_until_saved(self) -> None:
        """Go on until the page has called something saved that is newer than now, then wait until it is everything."""
        begun, deadline = len(self.written), time.monotonic() + PATIENCE
        while len(self.saved()) <= begun:
            assert time.monotonic() < deadline, "nothing was saved any more"
            self.type(2)
        self.all_saved()

    def all_saved(self) -> None:
        expect(self.page.locator('#saved[data-state="saved"]')).to_have_count(1, timeout=PATIENCE * 1000)

    def saved(self) -> str:
        """The longest text that the page has called saved."""
        called: list[str] = self.page.evaluate("window.calledSaved")
        return max(called, key=len, default="")


@pytest.fixture
def typist(site: Stack, context: BrowserContext) -> Typist:
    slug = site.python(MAKE, EMAIL, PASSWORD)
    made = Typist(site, context)
    made.sign_in()
    made.page.goto(f"{made.home}projects/{slug}/label/")
    expect(made.page.locator("#rationale")).to_be_visible()
    return made


def healthy(site: Stack) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{site.port}/health", timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def until_healthy(site: Stack, typist: Typist) -> None:
    deadline = time.monotonic() + PATIENCE
    while not healthy(site):
        assert time.monotonic() < deadline, "the site did not come back"
        typist.type(2)


def stored(site: Stack) -> str:
    [text] = site.python(DRAFT)
    return str(text)


def test_the_death_of_each_kind_of_process_is_typed_through(site: Stack, typist: Typist) -> None:
    for word in ("uvicorn", "celery", "redis-server", "postgres"):
        typist.type_until_saved()
        called = typist.saved()
        assert site.kill(word) > 0, word
        typist.type()
        until_healthy(site, typist)
        assert stored(site).startswith(called), word
        typist.type_until_saved()
        assert stored(site) == typist.written == typist.saved()


def test_everything_dies_with_the_tab_and_nothing_is_lost(site: Stack, typist: Typist, context: BrowserContext) -> None:
    # The witness of these tests can fail: what reaches no server is not called saved.
    context.set_offline(True)
    typist.type()
    expect(typist.page.locator("#saved")).to_contain_text("You are offline", timeout=PATIENCE * 1000)
    assert typist.saved() == ""
    context.set_offline(False)
    typist.type_until_saved()
    typist.type()  # perhaps saved, perhaps not
    site.kill_everything()
    called = typist.saved()
    typist.type()
    expect(typist.page.locator("#saved")).to_contain_text("Not saved yet", timeout=PATIENCE * 1000)
    # Nothing of the browser reaches the new server: what it has, it had before.
    context.set_offline(True)
    site.start()
    assert stored(site).startswith(called)
    assert stored(site) != typist.written
    address = typist.page.url
    page_close(typist.page)
    typist.page = typist.tab()
    context.set_offline(False)
    typist.page.goto(address)
    expect(typist.page.locator("#rationale")).to_have_value(typist.written)
    typist.all_saved()
    assert stored(site) == typist.written


def test_typing_goes_on_while_up_itself_is_killed_and_started(site: Stack, typist: Typist) -> None:
    typist.type_until_saved()
    site.kill_everything()
    called = typist.saved()
    starting = threading.Thread(target=site.start)
    starting.start()
    typist.type()
    until_healthy(site, typist)
    starting.join(PATIENCE)
    assert stored(site).startswith(called)
    typist.type_until_saved()
    assert stored(site) == typist.written

    answer_and_submit(typist.page)
    deadline = time.monotonic() + PATIENCE
    while not (sent := site.python(ANNOTATIONS)):
        assert time.monotonic() < deadline, "the submit did not arrive"
    assert sent == [typist.written.strip()]


def answer_and_submit(page: Page) -> None:
    """The rest of what the task asks."""
    for letter in "ABCD":
        page.locator(f'input[name="likert-{letter}"][value="4"]').check(force=True)
    page.locator("#ranking").fill("A B C D")
    page.locator("#submit").click()
