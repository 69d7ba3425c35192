"""The ranking: typed, pressed, dragged by mouse and by finger, and the scale between two completions."""

import re
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from labelapp.models import Annotation, Batch, Project, Protocol, User
from tests.browser.closing import context_close
from tests.browser.conftest import signed_in, wait_until_quiet
from tests.browser.labeling_page import OpenAs, annotations, rate_all, saved, start, submit, until
from tests.factories import batch_with_tasks, protocol_make

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def batch(project: Project, protocol: Protocol) -> Batch:
    return batch_with_tasks(project, protocol, tasks=2)


@pytest.fixture
def page(open_as: OpenAs, lena: User, batch: Batch, live_server: Any) -> Page:
    return start(open_as(lena), live_server)


def typed(page: Page) -> str:
    return page.locator("#ranking").input_value()


def drag(page: Page, letter: str, to: str) -> None:
    """Take a chip by its letter and let it go in the middle of what `to` finds."""
    page.mouse.move(5, 5)
    page.locator("#tiers").evaluate("board => board.scrollIntoView({ block: 'center' })")
    until(lambda: bool(page.evaluate("Boolean(window.Sortable)")), "the library for dragging")
    page.wait_for_timeout(100)
    chip = page.locator(f'#tiers [data-chip="{letter}"] .letter').bounding_box()
    assert chip
    page.mouse.move(chip["x"] + 8, chip["y"] + 8)
    page.mouse.down()
    page.mouse.move(chip["x"] + 16, chip["y"] + 16, steps=4)
    target = page.locator(to).bounding_box()
    assert target
    page.mouse.move(target["x"] + target["width"] / 2, target["y"] + target["height"] / 2, steps=12)
    page.wait_for_timeout(150)
    page.mouse.up()
    expect(page.locator("#tiers[data-dragging]")).to_have_count(0)


def test_letters_may_be_typed_without_blanks_and_are_written_out(page: Page) -> None:
    page.locator("#ranking").press_sequentially("dca=b")
    expect(page.locator('[data-tier="AB"]')).to_contain_text("3rd")
    page.locator("#ranking").blur()
    expect(page.locator("#ranking")).to_have_value("D C A=B")


def test_what_is_no_completion_is_said_beside_the_board(page: Page) -> None:
    page.locator("#ranking").press_sequentially("dx")
    expect(page.locator("#ranking-help")).to_contain_text("X is not among the completions A to D")
    page.locator("#ranking").fill("d")
    expect(page.locator("#ranking-help")).to_have_text("About equal: I would not care which one a user received.")


def test_signs_of_an_east_asian_keyboard_are_read(page: Page) -> None:
    page.locator("#ranking").fill("Ｄ Ｃ Ａ＝Ｂ")
    expect(page.locator('[data-tier="AB"]')).to_be_visible()


def test_letters_are_pressed_in_the_bar_while_one_reads(page: Page) -> None:
    for letter in "CADB":
        page.get_by_role("button", name=f"{letter} comes next").click()
    expect(page.locator("#ranking")).to_have_value("C A D B")
    expect(page.locator("#tray")).to_be_hidden()
    expect(page.locator('[data-place="A"]')).to_have_text("2nd")


def test_buttons_move_tie_and_remove(page: Page) -> None:
    page.locator("#ranking").fill("C A D B")
    page.get_by_role("button", name="Rank B higher").click()
    expect(page.locator("#ranking")).to_have_value("C A B D")
    expect(page.get_by_role("button", name="Rank B higher")).to_be_focused()
    page.get_by_role("button", name="A is about equal to the one above").click()
    expect(page.locator("#ranking")).to_have_value("C=A B D")
    page.get_by_role("button", name="Rank C lower").click()
    page.get_by_role("button", name="Take D out of the ranking").click()
    expect(page.locator("#ranking")).to_have_value("A C B")
    page.get_by_role("button", name="Rank D next").click()
    expect(page.locator("#ranking-said")).to_contain_text("Ranking complete. 1st: A, 2nd: C, 3rd: B, 4th: D")
    saved(page)


def test_all_about_equal_is_one_button(page: Page) -> None:
    rate_all(page)
    page.get_by_role("button", name="All about equal").click()
    submit(page)
    annotations(1)
    assert Annotation.objects.get().ranking == [[0, 1, 2, 3]]


def test_an_untouched_ranking_is_no_answer(page: Page) -> None:
    rate_all(page)
    submit(page)
    expect(page.get_by_role("alert")).to_contain_text("Rank the completions")
    assert not Annotation.objects.exists()


def test_a_mouse_drags_into_a_place_between_places_and_out(page: Page) -> None:
    page.locator("#ranking").fill("A B")
    drag(page, "C", '[data-tier="B"] .tier-items')
    expect(page.locator('[data-tier="BC"], [data-tier="CB"]')).to_have_count(1)
    page.locator("#ranking").fill("A B C")
    drag(page, "C", "#tiers .tier-gap >> nth=0")
    expect(page.locator("#ranking")).to_have_value("C A B")
    drag(page, "A", "#tiers [data-rest]")
    expect(page.locator("#ranking")).to_have_value("C B")
    saved(page)


def test_a_strict_protocol_keeps_places_apart(open_as: OpenAs, lena: User, project: Project, live_server: Any) -> None:
    batch_with_tasks(project, protocol_make(project, ties_allowed=False, strength_steps=0), tasks=1, k=3)
    page = start(open_as(lena), live_server)
    expect(page.get_by_role("button", name="All about equal")).to_have_count(0)
    page.locator("#ranking").fill("A B")
    drag(page, "C", '[data-tier="A"] .tier-items')
    expect(page.locator("#ranking")).to_have_value(re.compile("C"))
    assert sorted(typed(page).split()) == ["A", "B", "C"]
    saved(page)


@pytest.fixture
def phone(browser: Browser, lena: User, batch: Batch, live_server: Any) -> Iterator[Page]:
    context = browser.new_context(viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True)
    context.add_cookies([signed_in(lena, live_server.url)])
    page = context.new_page()
    page.set_default_timeout(10_000)
    yield start(page, live_server)
    context_close(context)
    wait_until_quiet()


def touch(page: Page, way: list[tuple[float, float]], rest_ms: int) -> None:
    """Put a finger down, let it rest, move it along, and lift it."""
    hand = page.context.new_cdp_session(page)

    def send(kind: str, points: list[tuple[float, float]]) -> None:
        hand.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": [{"x": x, "y": y} for x, y in points]})

    send("touchStart", way[:1])
    page.wait_for_timeout(rest_ms)
    for (from_x, from_y), (to_x, to_y) in pairwise(way):
        for step in range(1, 11):
            send("touchMove", [(from_x + (to_x - from_x) * step / 10, from_y + (to_y - from_y) * step / 10)])
            page.wait_for_timeout(20)
    page.wait_for_timeout(150)
    send("touchEnd", [])


def middle(page: Page, selector: str) -> tuple[float, float]:
    box = page.locator(selector).bounding_box()
    assert box
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2


def ready_to_drag(page: Page) -> None:
    page.locator("#tiers").evaluate("board => board.scrollIntoView({ block: 'center' })")
    page.touchscreen.tap(5, 5)
    until(lambda: bool(page.evaluate("Boolean(window.Sortable)")), "the library for dragging")
    page.wait_for_timeout(200)


def test_a_finger_that_rests_on_a_chip_drags_it(phone: Page) -> None:
    phone.locator("#ranking").fill("A B")
    ready_to_drag(phone)
    touch(phone, [middle(phone, '[data-chip="C"] .letter'), middle(phone, '[data-tier="A"] .tier-items')], rest_ms=300)
    expect(phone.locator('[data-tier="AC"], [data-tier="CA"]')).to_have_count(1)
    saved(phone)


def test_a_finger_that_scrolls_over_the_board_reorders_nothing(phone: Page) -> None:
    phone.locator("#ranking").fill("A B C D")
    ready_to_drag(phone)
    x, y = middle(phone, '[data-tier="C"] .tier-name')
    before = phone.evaluate("scrollY")
    touch(phone, [(x, y), (x, y + 200)], rest_ms=0)
    phone.wait_for_timeout(300)
    expect(phone.locator("#ranking")).to_have_value("A B C D")
    assert phone.evaluate("scrollY") != before
    saved(phone)


def test_two_completions_have_eight_steps_and_none_at_first(
    open_as: OpenAs, lena: User, project: Project, live_server: Any
) -> None:
    batch_with_tasks(project, protocol_make(project, strength_steps=8, likert_points=0), tasks=1, k=2)
    page = start(open_as(lena), live_server)
    expect(page.get_by_role("radio", checked=True)).to_have_count(0)
    steps = page.locator('input[name="preference"]')
    expect(steps).to_have_count(8)
    page.keyboard.press("h")
    expect(steps.nth(3)).to_be_checked()
    page.keyboard.press("h")
    expect(steps.nth(2)).to_be_checked()
    expect(page.locator("#order")).to_have_text("A slightly better")
    for _ in range(3):
        page.keyboard.press("l")
    expect(steps.nth(5)).to_be_checked()
    steps.nth(5).focus()
    page.keyboard.press("ArrowRight")
    expect(steps.nth(6)).to_be_checked()
    submit(page)
    annotations(1)
    annotation = Annotation.objects.get()
    assert annotation.ranking == [[slot] for slot in reversed(annotation.order_shown)]
    assert annotation.edges[0][3] == 3


def test_nine_steps_have_a_middle_with_its_key(open_as: OpenAs, lena: User, project: Project, live_server: Any) -> None:
    batch_with_tasks(project, protocol_make(project, strength_steps=9, likert_points=0), tasks=1, k=2)
    page = start(open_as(lena), live_server)
    page.keyboard.press("e")
    expect(page.get_by_label("About equal", exact=True)).to_be_checked()
    expect(page.locator("#about-preference")).to_contain_text("I would not care which one a user received.")
    page.keyboard.press("Control+Enter")
    annotations(1)
    assert Annotation.objects.get().ranking == [[0, 1]]
