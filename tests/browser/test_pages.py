"""Every page for people in a real browser: nothing wider than a phone, no fault that axe finds, light and dark."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect

from labelapp.models import Annotator, Batch, Project, Protocol, Seat, User
from tests.browser.closing import context_close
from tests.browser.conftest import signed_in, wait_until_quiet
from tests.factories import annotation_make, batch_with_tasks, external_make, protocol_make

OpenAs = Callable[[User], Page]
pytestmark = pytest.mark.django_db(transaction=True)

ADMIN_PAGES = [
    *["/", "/projects/", "/projects/new/", "/projects/garden-helper/"],
    *["/projects/garden-helper/members/", "/projects/garden-helper/invitations/new/"],
    *["/projects/garden-helper/protocols/", "/projects/garden-helper/protocols/new/"],
    *["/projects/garden-helper/prompts/", "/projects/garden-helper/batches/"],
    *["/projects/garden-helper/batches/new/", "/projects/garden-helper/imports/"],
    *["/projects/garden-helper/imports/new/", "/projects/garden-helper/jobs/", "/projects/garden-helper/me/"],
    *["/accounts/password/change/"],
]
SIZES = [("light", 1440), ("dark", 390)]


@pytest.fixture
def axe_page(browser: Browser, live_server: Any) -> Iterator[Callable[[User | None], Page]]:
    """Pages into which axe may be injected, which the CSP rightly refuses otherwise."""
    context = browser.new_context(bypass_csp=True, reduced_motion="reduce")

    def open_page(user: User | None) -> Page:
        if user:
            context.add_cookies([signed_in(user, live_server.url)])
        return context.new_page()

    yield open_page
    context_close(context)
    wait_until_quiet()


def check(page: Page, url: str) -> None:
    """No violation at either size and theme, and no sideways scrolling."""
    for scheme, width in SIZES:
        page.emulate_media(color_scheme=scheme)
        page.set_viewport_size({"width": width, "height": 900})
        page.goto(url)
        found = Axe().run(page)
        assert found.violations_count == 0, f"{url} at {width} px, {scheme}:\n{found.generate_report()}"
        assert page.evaluate("document.documentElement.scrollWidth") <= width, f"{url} is wider than {width} px"


def test_pages_of_an_admin(
    axe_page: Callable[[User | None], Page], omar: User, project: Project, protocol: Protocol, live_server: Any
) -> None:
    User.objects.filter(pk=omar.pk).update(is_staff=True)
    batch = batch_with_tasks(project, protocol, tasks=2)
    task = batch.tasks.first()
    assert task is not None
    annotation_make(task, external_make(project))
    page = axe_page(omar)
    details = [
        f"/projects/garden-helper/batches/{batch.pk}/",
        f"/projects/garden-helper/protocols/{protocol.pk}/",
        f"/projects/garden-helper/prompts/{task.prompt_id}/",
    ]
    for path in ADMIN_PAGES + details:
        check(page, live_server.url + path)


@pytest.mark.parametrize("k", [1, 2, 4, 9])
def test_the_labeling_page(
    axe_page: Callable[[User | None], Page], lena: User, project: Project, live_server: Any, k: int
) -> None:
    everything = protocol_make(project, guidelines="# Be kind\n\nAnd exact.", asks_confidence=True, asks_rationale=True)
    batch_with_tasks(project, everything, tasks=1, k=k)
    check(axe_page(lena), live_server.url + "/projects/garden-helper/label/")


def test_pages_without_work_or_account(axe_page: Callable[[User | None], Page], lena: User, live_server: Any) -> None:
    check(axe_page(None), live_server.url + "/accounts/login/")
    page = axe_page(lena)
    for path in ("/", "/projects/garden-helper/label/", "/projects/garden-helper/", "/nowhere/"):
        check(page, live_server.url + path)


def test_an_invited_person_joins_and_labels(
    open_as: OpenAs, browser: Browser, omar: User, project: Project, protocol: Protocol, live_server: Any
) -> None:
    """From an admin's link to a first saved label, as two people do it."""
    batch_with_tasks(project, protocol, tasks=1)
    admin = open_as(omar)
    admin.goto(live_server.url + "/projects/garden-helper/invitations/new/")
    admin.get_by_label("For whom").fill("Nora")
    admin.get_by_role("button", name="link").click()
    link = admin.locator("input[readonly]").input_value()
    guest = browser.new_context().new_page()
    guest.set_default_timeout(10_000)
    guest.goto(link)
    guest.get_by_role("link", name="Create").click()
    guest.get_by_label("Your name").fill("Nora")
    guest.get_by_label("Email").fill("nora@example.com")
    for field in guest.locator("input[type=password]").all():
        field.fill("a long enough password")
    guest.locator("main form button[type=submit]").click()
    guest.get_by_role("link", name="Start labeling").click()
    for letter in "ABCD":
        guest.locator(f'input[name="likert-{letter}"][value="5"]').check(force=True)
    guest.get_by_label("Best first").fill("A=B C D")
    with guest.expect_navigation():
        guest.get_by_role("button", name="Submit").click()
    expect(guest.get_by_role("heading", name="No task for you now")).to_be_visible()
    nora = Annotator.objects.get(user__email="nora@example.com")
    assert nora.annotations.get().ranking is not None
    context_close(guest.context)


def test_who_waits_is_told_of_a_task_and_takes_it_by_a_click(
    open_as: OpenAs, lena: User, project: Project, protocol: Protocol, live_server: Any
) -> None:
    """The page looks again and says so. It takes no seat: there may be nobody before it."""
    batch = batch_with_tasks(project, protocol, tasks=1)
    Batch.objects.update(state=Batch.State.PAUSED)
    page = open_as(lena)
    page.clock.install()
    page.goto(live_server.url + "/projects/garden-helper/label/")
    expect(page.get_by_role("heading", name="No task for you now")).to_be_visible()
    Batch.objects.filter(pk=batch.pk).update(state=Batch.State.OPEN)
    page.clock.run_for(21_000)
    expect(page.locator("[role=status] #start")).to_contain_text("There is a task for you now")
    assert not Seat.objects.filter(state=Seat.State.HELD).exists()
    page.get_by_role("link", name="There is a task for you now: start").click()
    page.clock.resume()
    expect(page.locator("form.keys-on")).to_be_visible()  # the script listens
    page.get_by_label("Best first").fill("B A")
    expect(page.locator("#saved")).to_contain_text("Saved")
    assert Seat.objects.get().annotator == Annotator.objects.get(user=lena)
