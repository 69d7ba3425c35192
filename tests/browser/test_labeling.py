"""A labeler's day in a real browser: by keyboard, by mouse, on a phone, through a lost connection."""

from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Page, Route, expect

from labelapp.models import Annotation, Batch, Draft, Project, Protocol, Seat, TaskSkip, User
from tests.factories import batch_with_tasks, protocol_make

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
    with page.expect_navigation():
        page.get_by_role("button", name="It needs knowledge I do not have").click()
    assert TaskSkip.objects.get().reason == "expertise"
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
