"""A labeler's day in a real browser: by keyboard, by mouse, on a phone, through a lost connection."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest
from django.conf import settings
from django.contrib.sessions.models import Session
from django.core.signals import request_started
from django.utils import timezone
from playwright.sync_api import Page, Route, expect

from labelapp.labeling.services.seats import seat_take, seats_expire
from labelapp.models import Annotation, Batch, Draft, Project, Protocol, Seat, TaskSkip, User
from tests.conftest import PASSWORD
from tests.factories import batch_with_tasks, labeler_make, protocol_make

OpenAs = Callable[[User], Page]
pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def batch(project: Project, protocol: Protocol) -> Batch:
    return batch_with_tasks(project, protocol, tasks=3)


@pytest.fixture
def page(open_as: OpenAs, lena: User, batch: Batch, live_server: Any) -> Page:
    page = open_as(lena)
    page.goto(live_server.url + "/projects/garden-helper/label/")
    return page


def rate_all(page: Page) -> None:
    """Rate every completion with the keyboard: J moves on, a digit rates."""
    for letter in "ABCD":
        page.keyboard.press("j")
        page.keyboard.press("4")
        expect(page.locator(f'input[name="likert-{letter}"][value="4"]')).to_be_checked()


def finished(page: Page, count: int = 1) -> None:
    """Wait until so many annotations are stored and the next task stands on the page."""
    page.wait_for_function("document.querySelector('#saved')?.textContent !== 'Sending…'")
    page.wait_for_load_state("load")
    assert Annotation.objects.count() == count


def test_a_task_is_done_with_the_keyboard_alone(page: Page) -> None:
    rate_all(page)
    page.keyboard.press("r")
    page.keyboard.type("d c a=b")
    with page.expect_navigation():
        page.keyboard.press("Control+Enter")
    finished(page)
    annotation = Annotation.objects.get()
    shown = annotation.order_shown
    assert annotation.ranking == [[shown[3]], [shown[2]], sorted(shown[:2])]
    assert {rating.likert for rating in annotation.ratings.all()} == {4}
    assert annotation.active_seconds is not None


def test_a_ranking_is_built_with_buttons(page: Page) -> None:
    for letter in "CADB":
        page.get_by_role("button", name=f"Rank {letter} next").click()
    ranking = page.get_by_label("Best first")
    expect(ranking).to_have_value("C A D B")
    page.get_by_role("button", name="Rank B higher").click()
    expect(ranking).to_have_value("C A B D")
    page.get_by_role("button", name="A is about equal to the one above").click()
    expect(ranking).to_have_value("C=A B D")
    # The test's end clears the tables: its last draft should have arrived by then.
    with page.expect_response(lambda response: "A C B D" in (response.request.post_data or "")):
        page.get_by_role("button", name="Rank C lower").click()
    expect(ranking).to_have_value("A C B D")


def test_the_first_full_order_is_kept_when_it_changes(page: Page) -> None:
    rate_all(page)
    ranking = page.get_by_label("Best first")
    ranking.press_sequentially("A B C D")
    ranking.fill("D C B A")
    with page.expect_navigation():
        page.get_by_role("button", name="Submit").click()
    finished(page)
    annotation = Annotation.objects.get()
    assert annotation.first_ranking == list(reversed(annotation.ranking))


def test_a_first_order_that_was_typed_oddly_is_kept_too(page: Page) -> None:
    rate_all(page)
    page.get_by_label("Best first").press_sequentially("a > a = b, c d")
    page.get_by_label("Best first").fill("D C B A")
    with page.expect_navigation():
        page.get_by_role("button", name="Submit").click()
    finished(page)
    annotation = Annotation.objects.get()
    assert annotation.first_ranking == [[slot] for slot in annotation.order_shown]


def test_the_first_preference_is_kept_when_it_changes(
    open_as: OpenAs, lena: User, project: Project, live_server: Any
) -> None:
    batch_with_tasks(project, protocol_make(project, name="Pairs", strength_steps=9, likert_points=0), tasks=1, k=2)
    page = open_as(lena)
    page.goto(live_server.url + "/projects/garden-helper/label/")
    page.get_by_label("About equal").check(force=True)
    expect(page.locator("#saved")).to_contain_text("Saved")
    page.get_by_label("B better", exact=True).check(force=True)
    with page.expect_navigation():
        page.get_by_role("button", name="Submit").click()
    annotation = Annotation.objects.get()
    assert annotation.first_ranking == [[0, 1]]
    assert annotation.ranking == [[slot] for slot in reversed(annotation.order_shown)]


@contextmanager
def requests_counted(path: str) -> Iterator[list[str]]:
    """The requests for one address that reach the server meanwhile."""
    seen: list[str] = []

    def note(environ: dict[str, Any], **_: Any) -> None:
        if environ["PATH_INFO"] == path:
            seen.append(environ["REQUEST_METHOD"])

    request_started.connect(note)
    yield seen
    request_started.disconnect(note)


def test_a_late_submit_shows_its_notice_and_takes_one_seat(page: Page, project: Project) -> None:
    """The answer's redirect is not followed in the background: that would use up the notice."""
    Seat.objects.filter(state=Seat.State.HELD).update(lease_until=timezone.now() - timedelta(seconds=1))
    task = page.locator("form#task").get_attribute("action")
    seats_expire()
    for name in ("mia", "noah", "olga"):
        seat_take(annotator_id=labeler_make(project, name).pk)
    rate_all(page)
    page.get_by_label("Best first").fill("A B C D")
    with requests_counted("/projects/garden-helper/label/") as asked, page.expect_navigation():
        page.get_by_role("button", name="Submit").click()
    expect(page.locator("#messages")).to_contain_text("It is kept")
    assert task == f"/label/{Annotation.objects.get(surplus=True).task_id}/submit/"
    assert asked == ["GET"]


def test_ratings_first_then_the_ranking(open_as: OpenAs, lena: User, project: Project, live_server: Any) -> None:
    batch_with_tasks(project, protocol_make(project, name="Two", layout="two_stage"), tasks=2)
    page = open_as(lena)
    page.goto(live_server.url + "/projects/garden-helper/label/")
    rate_all(page)
    with page.expect_navigation(url="**/label/*/"):
        page.get_by_role("button", name="Next: rank them").click()
    page.get_by_label("Best first").fill("A B C D")
    with page.expect_navigation(url="**/label/*/"):
        page.get_by_role("button", name="Back to the ratings").click()
    with page.expect_navigation():
        page.get_by_role("button", name="Next: rank them").click()
    page.get_by_label("Best first").fill("A B C D")
    with page.expect_navigation(url="**/projects/garden-helper/label/"):
        page.get_by_role("button", name="Submit").click()
    finished(page)


def sign_in_elsewhere(page: Page) -> None:
    """Follow the link in the bar, in the tab that it opens."""
    with page.context.expect_page() as opened:
        page.get_by_role("link", name="Sign in again in another tab").click()
    other = opened.value
    other.get_by_label("Email").fill("lena@example.com")
    other.get_by_label("Password").fill(PASSWORD)
    other.locator("main form button[type=submit]").click()
    other.wait_for_url("**/")
    expect(other.get_by_role("heading", name="Sign in")).to_have_count(0)
    other.close()


def test_who_was_signed_out_signs_in_elsewhere_and_the_answer_arrives(page: Page) -> None:
    rate_all(page)
    Session.objects.all().delete()
    page.context.clear_cookies(name=settings.SESSION_COOKIE_NAME)
    page.get_by_label("Best first").fill("A B C D")
    expect(page.locator("#saved")).to_contain_text("You were signed out.")
    page.get_by_role("button", name="Submit").click()
    expect(page.locator("#saved")).to_contain_text("You were signed out.")
    with page.expect_navigation():
        sign_in_elsewhere(page)
    finished(page)


def test_a_draft_waits_for_who_was_signed_out(page: Page) -> None:
    page.context.clear_cookies(name=settings.SESSION_COOKIE_NAME)
    page.get_by_label("Best first").fill("B A")
    sign_in_elsewhere(page)
    expect(page.locator("#saved")).to_contain_text("Saved ", timeout=8_000)
    assert Draft.objects.get().content["ranking"] == "B A"


def test_enter_in_a_text_field_does_not_skip(page: Page) -> None:
    """It presses the first button of a form, which must be the one that submits."""
    page.get_by_label("Best first").fill("A B")
    page.get_by_label("Best first").press("Enter")
    expect(page.get_by_role("alert")).to_contain_text("Still to be placed: C, D")
    page.get_by_text("Skip…").click()
    page.get_by_label("Anything to add?").press("Enter")
    page.wait_for_timeout(500)
    assert not TaskSkip.objects.exists()


def test_an_untouched_form_is_not_submitted(page: Page) -> None:
    page.get_by_role("button", name="Submit").click()
    notice = page.get_by_role("alert")
    expect(notice).to_contain_text("Not submitted yet")
    expect(notice).to_contain_text("Rank the completions, best first")
    expect(notice).to_be_focused()
    assert not Annotation.objects.exists()


def test_what_was_entered_survives_a_refused_submit_and_then_goes_through(page: Page) -> None:
    rate_all(page)
    page.get_by_label("Best first").fill("A B")
    page.get_by_role("button", name="Submit").click()
    expect(page.get_by_role("alert")).to_contain_text("Still to be placed: C, D")
    page.get_by_label("Best first").fill("A B C D")
    with page.expect_navigation():
        page.get_by_role("button", name="Submit").click()
    finished(page)


def test_a_change_is_saved_within_a_second_and_is_there_after_a_reload(page: Page) -> None:
    page.get_by_label("Best first").fill("B A")
    page.locator('input[name="likert-C"][value="6"]').check(force=True)
    expect(page.locator("#saved")).to_contain_text("Saved", timeout=2_000)
    page.reload()
    expect(page.get_by_label("Best first")).to_have_value("B A")
    expect(page.locator('input[name="likert-C"][value="6"]')).to_be_checked()
    expect(page.locator("#saved")).to_contain_text("Draft restored")


def test_a_draft_waits_while_the_server_is_away(page: Page) -> None:
    page.route("**/draft/", lambda route: route.fulfill(status=503))
    page.get_by_label("Best first").fill("B A")
    expect(page.locator("#saved")).to_contain_text("Not saved yet")
    page.unroute("**/draft/")
    expect(page.locator("#saved")).to_contain_text("Saved ", timeout=8_000)
    assert Draft.objects.get().content["ranking"] == "B A"


def test_a_lost_answer_to_submit_is_asked_for_again_and_counted_once(page: Page) -> None:
    """The first submit reaches the server, but its answer is lost on the way back."""
    lost: list[int] = []

    def lose_first_answer(route: Route) -> None:
        if lost:
            route.continue_()
            return
        lost.append(route.fetch(max_redirects=0).status)
        route.abort()

    page.route("**/submit/", lose_first_answer)
    rate_all(page)
    page.get_by_label("Best first").fill("A B C D")
    with page.expect_navigation():
        page.get_by_role("button", name="Submit").click()
    finished(page)
    assert lost == [302]
    assert Seat.objects.filter(state=Seat.State.FILLED).count() == 1


def test_a_second_tab_does_not_overwrite_the_first(page: Page) -> None:
    other = page.context.new_page()
    other.goto(page.url)
    page.get_by_label("Best first").fill("A B")
    expect(page.locator("#saved")).to_contain_text("Saved")
    other.get_by_label("Best first").fill("D C")
    expect(other.locator("#saved")).to_contain_text("another tab")
    other.get_by_label("Best first").fill("D C B")
    other.wait_for_timeout(1_000)
    assert Draft.objects.get().content["ranking"] == "A B"


def test_skip_asks_for_a_reason_and_goes_on(page: Page) -> None:
    before = page.locator("form#task").get_attribute("action")
    page.get_by_text("Skip…").click()
    page.get_by_label("Anything to add?").fill("Ask a gardener.")
    with page.expect_navigation(url="**/projects/garden-helper/label/"):
        page.get_by_role("button", name="It needs knowledge I do not have").click()
    skip = TaskSkip.objects.get()
    assert (skip.reason, skip.note) == ("expertise", "Ask a gardener.")
    assert page.locator("form#task").get_attribute("action") != before


def test_two_completions_are_compared_in_steps(open_as: OpenAs, lena: User, project: Project, live_server: Any) -> None:
    batch_with_tasks(project, protocol_make(project, name="Pairs", strength_steps=9, likert_points=0), tasks=1, k=2)
    page = open_as(lena)
    page.goto(live_server.url + "/projects/garden-helper/label/")
    page.get_by_label("A slightly better").check(force=True)
    with page.expect_navigation():
        page.get_by_role("button", name="Submit").click()
    annotation = Annotation.objects.get()
    assert annotation.edges[0][2:4] == [">", 2]
    assert annotation.ranking[0] == [annotation.order_shown[0]]
    expect(page.get_by_role("heading", name="No task for you now")).to_be_visible()


@pytest.mark.parametrize("k", [2, 4, 9])
def test_nothing_is_cut_off_on_a_phone(open_as: OpenAs, lena: User, project: Project, live_server: Any, k: int) -> None:
    batch_with_tasks(project, protocol_make(project), tasks=1, k=k)
    page = open_as(lena)
    page.set_viewport_size({"width": 390, "height": 844})
    page.goto(live_server.url + "/projects/garden-helper/label/")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    for card in page.locator(".completion").all():
        assert card.evaluate("card => card.scrollWidth <= card.clientWidth + 1")


def test_the_form_works_without_scripts(browser: Any, page: Page) -> None:
    """The same page, read and submitted by a browser that runs no script."""
    context = browser.new_context(java_script_enabled=False, storage_state=page.context.storage_state())
    plain = context.new_page()
    plain.goto(page.url)
    for letter in "ABCD":
        plain.locator(f'input[name="likert-{letter}"][value="2"]').check(force=True)
    plain.get_by_label("Best first").fill("A=B=C=D")
    plain.get_by_role("button", name="Submit").click()
    context.close()
    assert Annotation.objects.get().ranking == [[0, 1, 2, 3]]
