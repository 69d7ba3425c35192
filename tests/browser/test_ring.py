"""The ring, turned by an admin in a browser on the whole site: real workers and trainer, the demo's small model."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.services.conftest import Stack

pytest.importorskip("torch", reason="the ring needs the trainer, and the trainer torch")
pytestmark = pytest.mark.services

EMAIL, PASSWORD = "omar@example.com", "a long enough password"
STEP_SECONDS = 180.0
MAKE = """
from django.db import transaction
from labelapp.demo.notes import notes_fill, notes_options
from labelapp.models import User
from labelapp.projects.services import project_create
from labelapp.rounds.options import RoundOptions
from labelapp.rounds.services import round_start
with transaction.atomic():
    omar = User.objects.create_user(email=given[0], password=given[1], name="Omar", is_staff=True)
    project = project_create(name="Notes", created_by=omar)
    protocol, base = notes_fill(project=project, admin=omar, seed=1, prompts=40)
    usual = notes_options(protocol)
    short = {"epochs": 1, "prompts_per_step": 8}
    options = RoundOptions(
        protocol=protocol.pk, prompts=24, sampling=usual.sampling,
        reward={**usual.reward, **short}, preference={**usual.preference, **short},
    )
    round_start(project=project, policy=base, options=options, created_by=omar)
found = project.slug
"""
COUNTS = """
from labelapp.models import Annotation, Completion, Run, Snapshot
found = {
    "people": Annotation.objects.filter(annotator__kind="person").count(),
    "panel": Annotation.objects.filter(annotator__kind="simulated").count(),
    "comparisons": Snapshot.objects.get().counts["comparisons"],
    "runs": sorted(Run.objects.values_list("kind", "job__state")),
}
"""
WRITTEN = """
from labelapp.models import Completion, Run
policy = Run.objects.get(kind="preference").result
found = list(Completion.objects.filter(model_version=policy).values_list("text", flat=True))
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


class RoundPage:
    """The page of one round, as its admin uses it."""

    def __init__(self, page: Page, address: str) -> None:
        self.page, self.address = page, address

    def open(self, number: int) -> None:
        self.page.goto(f"{self.address}rounds/{number}/")

    def press(self, name: str) -> None:
        """Wait, without reloading, until the live page offers the button; then press it."""
        button = self.page.locator("main").get_by_role("button", name=name)
        button.wait_for(timeout=STEP_SECONDS * 1000)
        with self.page.expect_navigation():
            button.click()

    def station(self, title: str) -> Locator:
        return self.page.locator(".ring-list > li").filter(has=self.page.get_by_role("heading", name=title))


@pytest.fixture
def ring(site: Stack, page: Page) -> RoundPage:
    slug = site.python(MAKE, EMAIL, PASSWORD)
    home = f"http://127.0.0.1:{site.port}/"
    page.goto(home + "accounts/login/")
    page.locator("[name=login]").fill(EMAIL)
    page.locator("[name=password]").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url(home)
    return RoundPage(page, f"{home}projects/{slug}/")


def label_as_a_person(page: Page, tasks: int) -> None:
    """Rank what is shown in the order it is shown, some tasks long."""
    for _ in range(tasks):
        letters = [letter.inner_text() for letter in page.locator(".completion .letter").all()]
        page.locator("#ranking").fill(" ".join(letters) or "A B C D")
        before = page.locator("form#task").get_attribute("data-task")
        page.locator("#submit").click()
        # The next task takes the place of this one; after the last, another page does.
        page.locator(f'form#task[data-task="{before}"]').wait_for(state="detached", timeout=STEP_SECONDS * 1000)


def text_shown(page: Page) -> str:
    return " ".join(page.locator("main").inner_text().split())


def test_the_ring_turns_in_a_browser(ring: RoundPage, site: Stack) -> None:
    page = ring.page
    ring.open(1)
    ring.press("Sample completions")
    ring.press("Make the batch")
    ring.station("Label").locator("a.btn").click(timeout=STEP_SECONDS * 1000)
    label_as_a_person(page, tasks=2)

    ring.open(1)
    ring.press("Let the simulated panel do the rest")
    ring.open(1)
    ring.press("Freeze the labels")
    ring.press("Train the reward model")
    ring.press("Train the policy")
    ring.press("Start the next round")

    counts = site.python(COUNTS)
    assert counts["people"] == 2
    assert counts["panel"] == counts["comparisons"] - 2
    assert counts["runs"] == [["preference", "succeeded"], ["reward", "succeeded"]]

    ring.open(2)
    ring.press("Sample completions")
    ring.press("Make the batch")
    ring.station("Label").locator("a.btn").click(timeout=STEP_SECONDS * 1000)
    expect(page.get_by_label("Best first")).to_be_visible()
    shown = text_shown(page)
    new = [" ".join(text.split()) for text in site.python(WRITTEN)]
    assert sum(text in shown for text in new) >= 2, shown


def test_a_run_is_watched_while_it_learns_and_stopped(ring: RoundPage, site: Stack) -> None:
    """The page shows loss and time left without a reload, and its button stops the trainer."""
    page = ring.page
    ring.open(1)
    ring.press("Sample completions")
    ring.press("Make the batch")
    ring.press("Let the simulated panel do the rest")
    ring.open(1)
    ring.press("Freeze the labels")
    ring.station("Freeze").get_by_text("Done").wait_for(timeout=STEP_SECONDS * 1000)

    page.goto(f"{ring.address}runs/new/?kind=reward")
    page.get_by_label("Name").fill("patient")
    page.get_by_label("Snapshot").select_option(index=0)
    page.get_by_label("Starting model").select_option(label="notes-base")
    page.get_by_label("Epochs").fill("100")
    page.get_by_role("button", name="Start").click()
    page.locator(".chart").first.wait_for(timeout=STEP_SECONDS * 1000)
    expect(page.get_by_text("left", exact=False).first).to_be_visible()
    page.once("dialog", lambda dialog: dialog.accept())
    page.locator("main").get_by_role("button", name="Stop").click()
    _until(lambda: not site.processes("-m trainer"))
    page.goto(f"{ring.address}runs/")
    expect(page.locator("main")).to_contain_text("Cancelled", timeout=30_000)


def _until(done: Callable[[], bool], seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if done():
            return
        time.sleep(0.5)
    pytest.fail("It did not come to pass.")
