"""Where the ranking and what was said of each completion disagree, the page says so, and only says so."""

import json
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from labelapp.models import Annotation, Project, User
from tests.browser.labeling_page import OpenAs, annotations, rate_all, saved, start
from tests.factories import batch_with_tasks, protocol_make

pytestmark = pytest.mark.django_db(transaction=True)


def opened(
    open_as: OpenAs, lena: User, project: Project, live_server: Any, group: str, k: int = 4, **fields: Any
) -> Page:
    """A task in one group, whatever group chance put it in."""
    batch_with_tasks(project, protocol_make(project, **fields), tasks=1, k=k)
    page = open_as(lena)

    def put(route: Any) -> None:
        answer = route.fetch()
        for other in ("shown", "control"):
            body = answer.text().replace(f'data-marks="{other}"', f'data-marks="{group}"')
            if body != answer.text():
                break
        route.fulfill(response=answer, body=body)

    page.route("**/projects/garden-helper/label/", put)
    return start(page, live_server)


def rate(page: Page, digits: str) -> None:
    for letter, digit in zip("ABCDEFGHI", digits, strict=False):
        page.locator(f'input[name="likert-{letter}"][value="{digit}"]').check(force=True)


def before(page: Page) -> dict[str, str]:
    found: dict[str, str] = json.loads(page.locator('input[name="before_marks"]').input_value() or "{}")
    return found


def card_marks(page: Page, letter: str) -> Any:
    return page.locator(f'[data-marks-of="{letter}"] .mark')


def test_a_rating_two_lower_is_marked_at_both_and_on_the_board(
    open_as: OpenAs, lena: User, project: Project, live_server: Any
) -> None:
    page = opened(open_as, lena, project, live_server, "shown")
    rate(page, "4756")
    page.locator("#ranking").fill("A B")
    expect(page.locator(".mark")).to_have_count(0)
    page.locator("#ranking").fill("A B D C")
    sentence = "A is ranked above B but rated 3 lower"
    expect(card_marks(page, "A").first).to_have_text(sentence)
    expect(card_marks(page, "B")).to_have_text(sentence)
    expect(page.locator("[data-board-marks]")).to_contain_text(sentence)
    expect(page.locator('[data-chip="A"][data-marked]')).to_have_count(1)
    expect(page.locator('[data-chip="C"][data-marked]')).to_have_count(0)
    expect(page.locator("#said")).to_contain_text(sentence)
    expect(page.get_by_role("dialog")).to_have_count(0)
    rate(page, "7756")
    expect(page.locator(".mark")).to_have_count(0)
    assert before(page)["likert-A"] == "4"
    assert before(page)["ranking"] == "A B D C"
    saved(page)


def test_one_point_apart_and_ties_are_no_contradiction(
    open_as: OpenAs, lena: User, project: Project, live_server: Any
) -> None:
    page = opened(open_as, lena, project, live_server, "shown")
    rate(page, "4517")
    page.locator("#ranking").fill("D A=B C")
    saved(page)
    page.wait_for_timeout(500)
    page.locator("#ranking").fill("D=C A B")
    page.wait_for_timeout(500)
    expect(page.locator(".mark").filter(has_text="C is ranked above D")).to_have_count(0)
    expect(page.locator(".mark").filter(has_text="A is ranked above B")).to_have_count(0)
    saved(page)


def test_a_severe_flag_above_a_clean_one_is_marked(
    open_as: OpenAs, lena: User, project: Project, live_server: Any
) -> None:
    page = opened(open_as, lena, project, live_server, "shown", likert_points=0)
    page.locator("#ranking").fill("A B=C=D")
    page.locator('input[name="answer-A-harmful"][value="yes"]').check(force=True)
    expect(card_marks(page, "B")).to_have_text("A has a severe flag but is ranked above B, which has none")
    expect(card_marks(page, "A").last).to_have_text("and 1 more like this")
    page.locator("#ranking").fill("B C=D A")
    expect(page.locator(".mark")).to_have_count(0)
    saved(page)


def test_the_control_group_sees_nothing_but_is_kept(
    open_as: OpenAs, lena: User, project: Project, live_server: Any
) -> None:
    page = opened(open_as, lena, project, live_server, "control")
    rate(page, "1777")
    page.locator("#ranking").fill("A B C D")
    expect(page.locator('input[name="before_marks"][value*="A B C D"]')).to_have_count(1)
    expect(page.locator(".mark, [data-marked]")).to_have_count(0)
    page.locator("#ranking").fill("D C B A")
    page.wait_for_timeout(500)
    assert before(page)["ranking"] == "A B C D"
    saved(page)


def test_a_mark_asks_for_no_further_key(open_as: OpenAs, lena: User, project: Project, live_server: Any) -> None:
    page = opened(open_as, lena, project, live_server, "shown")
    rate_all(page)
    rate(page, "17")
    page.locator("#ranking").fill("A B C D")
    expect(card_marks(page, "A").first).to_be_visible()
    page.keyboard.press("Control+Enter")
    annotations(1)
    annotation = Annotation.objects.get()
    assert annotation.before_marks is not None
    assert annotation.ranking == [[slot] for slot in annotation.order_shown]


def test_the_scale_of_two_is_marked_too(open_as: OpenAs, lena: User, project: Project, live_server: Any) -> None:
    page = opened(open_as, lena, project, live_server, "shown", k=2, strength_steps=8)
    rate(page, "26")
    page.keyboard.press("h")
    expect(card_marks(page, "B")).to_have_text("A is ranked above B but rated 4 lower")
    expect(page.locator("[data-board-marks]")).to_be_visible()
    page.keyboard.press("l")
    expect(page.locator(".mark")).to_have_count(0)
    saved(page)


def test_thumbs_differ_by_one(open_as: OpenAs, lena: User, project: Project, live_server: Any) -> None:
    page = opened(open_as, lena, project, live_server, "shown", k=3, likert_points=2)
    rate(page, "122")
    page.locator("#ranking").fill("A B C")
    expect(card_marks(page, "C")).to_have_text("A is ranked above C but has thumbs down where C has thumbs up")
    saved(page)
