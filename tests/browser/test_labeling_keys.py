"""The labeling page by keyboard alone, and what its fields do beyond those of a browser."""

import json
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from labelapp.models import Annotation, Batch, Project, Question, Rating, TaskSkip, User
from tests.browser.labeling_page import OpenAs, annotations, other_task, saved, start, task_of
from tests.factories import batch_with_tasks, protocol_make

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def batch(project: Project) -> Batch:
    protocol = protocol_make(project)
    Question.objects.create(protocol=protocol, key="made-up", text="Makes something up", help="False or groundless.",
                            severity="minor", position=0)  # fmt: skip
    return batch_with_tasks(project, protocol, tasks=3)


@pytest.fixture
def page(open_as: OpenAs, lena: User, batch: Batch, live_server: Any) -> Page:
    return start(open_as(lena), live_server)


def rating(page: Page, letter: str, value: int) -> Any:
    return page.locator(f'input[name="likert-{letter}"][value="{value}"]')


def said(page: Page, letter: str, key: str, value: str) -> Any:
    return page.locator(f'input[name="answer-{letter}-{key}"][value="{value}"]')


def press(page: Page, *keys: str) -> None:
    for key in keys:
        page.keyboard.press(key)


def test_a_whole_answer_takes_sixteen_keys(page: Page) -> None:
    keys = ["q", "4", "w", "5", "6", "2", "Shift+n", "r", "d", "c", "a", "=", "b", "Control+Enter"]
    assert sum(len(key.split("+")) for key in keys) <= 16
    press(page, *keys)
    annotations(1)
    annotation = Annotation.objects.get()
    a, b, c, d = annotation.order_shown
    assert annotation.ranking == [[d], [c], sorted([a, b])]
    found = {each.slot: each for each in Rating.objects.all()}
    assert [found[slot].likert for slot in (a, b, c, d)] == [4, 5, 6, 2]
    assert found[a].answers == {"made-up": "yes", "harmful": "no", "constraint": None}
    assert found[b].answers == {"made-up": "no", "harmful": "yes", "constraint": None}
    assert found[a].in_bulk == ["harmful"]
    assert sorted(found[c].in_bulk) == ["harmful", "made-up"]


def test_a_digit_rates_and_goes_on_to_what_is_not_rated(page: Page) -> None:
    press(page, "j", "j", "3")
    expect(rating(page, "B", 3)).to_be_checked()
    expect(page.locator("#completion-C")).to_be_focused()
    press(page, "5", "6", "7")
    expect(rating(page, "A", 7)).to_be_checked()
    expect(page.locator("#completion-A")).to_be_focused()
    press(page, "k", "1")
    expect(rating(page, "D", 1)).to_be_checked()
    saved(page)


def test_arrows_with_shift_move_the_completion_and_equals_ties_it(page: Page) -> None:
    page.locator("#ranking").fill("A B C D")
    page.keyboard.press("Escape")
    press(page, "j", "j", "Shift+ArrowUp")
    expect(page.locator("#ranking")).to_have_value("A C B D")
    press(page, "=")
    expect(page.locator("#ranking")).to_have_value("A=C B D")
    press(page, "Shift+ArrowDown", "Shift+ArrowDown")
    expect(page.locator("#ranking")).to_have_value("A B C D")
    press(page, "e")
    expect(page.locator("#ranking")).to_have_value("A=B=C=D")
    saved(page)


def test_a_flag_is_set_and_taken_back_by_its_letter(page: Page) -> None:
    press(page, "j", "q")
    expect(said(page, "A", "made-up", "yes")).to_be_checked()
    expect(page.locator("#said")).to_have_text("A: Makes something up")
    press(page, "q")
    expect(page.locator('input[name="answer-A-made-up"]:checked')).to_have_count(0)
    saved(page)


def test_an_answer_is_taken_back_by_pressing_it_again(page: Page) -> None:
    no = said(page, "B", "constraint", "na")
    no.click(force=True)
    expect(no).to_be_checked()
    no.click(force=True)
    expect(no).not_to_be_checked()
    no.focus()
    press(page, "Space")
    expect(no).to_be_checked()
    press(page, "Backspace")
    expect(no).not_to_be_checked()
    saved(page)


def test_no_faults_answers_only_what_is_open_and_bad(page: Page) -> None:
    said(page, "A", "made-up", "yes").check(force=True)
    page.locator('[data-none="A"]').click()
    expect(said(page, "A", "harmful", "no")).to_be_checked()
    expect(said(page, "A", "made-up", "yes")).to_be_checked()
    expect(page.locator('input[name="answer-A-constraint"]:checked')).to_have_count(0)
    expect(page.locator('input[name="bulk-A"]')).to_have_value("harmful")
    expect(page.locator('input[name="bulk-B"]')).to_have_value("")
    said(page, "A", "harmful", "yes").check(force=True)
    expect(page.locator('input[name="bulk-A"]')).to_have_value("")
    saved(page)


def test_keys_typed_into_texts_are_texts(page: Page) -> None:
    page.locator("#leave > summary").click()
    page.locator("#note").press_sequentially("jest 5 dne")
    expect(page.locator("#note")).to_have_value("jest 5 dne")
    expect(page.locator("input[name^=likert]:checked")).to_have_count(0)
    assert not TaskSkip.objects.exists()
    saved(page)


def test_keys_of_other_scripts_stand_where_the_latin_ones_do(page: Page) -> None:
    """On a Russian keyboard the key of j gives о, that of q gives й; while a word is composed no key counts."""
    strike = """([key, code, composing]) => document.activeElement.dispatchEvent(
        new KeyboardEvent("keydown", { key, code, isComposing: composing, bubbles: true, cancelable: true }))"""
    page.evaluate(strike, ["о", "KeyJ", False])
    expect(page.locator("#completion-A")).to_be_focused()
    page.evaluate(strike, ["й", "KeyQ", True])
    expect(page.locator('input[name="answer-A-made-up"]:checked')).to_have_count(0)
    page.evaluate(strike, ["й", "KeyQ", False])
    expect(said(page, "A", "made-up", "yes")).to_be_checked()
    page.evaluate(strike, ["٦", "Digit6", False])
    expect(rating(page, "A", 6)).to_be_checked()
    saved(page)


def test_distressing_skips_with_one_key(page: Page) -> None:
    before = task_of(page)
    press(page, "Shift+d")
    other_task(page, before)
    assert TaskSkip.objects.get().reason == "distressing"


def test_skip_opens_its_reasons(page: Page) -> None:
    press(page, "s")
    expect(page.get_by_role("button", name="The prompt is too unclear to judge")).to_be_focused()
    press(page, "Escape")
    expect(page.locator("#leave")).not_to_have_attribute("open", "")


def test_the_panel_opens_beside_the_task_and_gives_the_focus_back(page: Page) -> None:
    press(page, "j", "?")
    panel = page.locator("#panel")
    expect(panel.get_by_role("heading", name="Guidelines", exact=True).first).to_be_focused()
    expect(panel.get_by_text("Go to the next completion")).to_be_visible()
    press(page, "Escape")
    expect(panel).to_be_hidden()
    expect(page.locator("#completion-A")).to_be_focused()


def test_two_completions_are_compared_word_by_word(page: Page) -> None:
    press(page, "j", "j", "d")
    panel = page.locator("#panel")
    expect(panel.locator("ins, del").first).to_be_visible()
    panel.get_by_label("To completion").select_option("D")
    expect(panel.locator("ins").first).to_be_visible()
    press(page, "Escape")
    expect(page.locator("#completion-B")).to_be_focused()


def test_own_keys_hold_and_off_is_off(open_as: OpenAs, lena: User, batch: Batch, live_server: Any, page: Page) -> None:
    User.objects.filter(pk=lena.pk).update(shortcuts={"next_completion": "q"})
    page.reload()
    press(page, "q", "w")
    expect(page.locator("#completion-A")).to_be_focused()
    assert json.loads(page.locator("#shortcuts").text_content() or "")["next_completion"] == "q"
    expect(page.locator("#completion-A [data-key='made-up']")).not_to_have_attribute("data-flag-key", "q")
    User.objects.filter(pk=lena.pk).update(shortcuts={"off": True})
    page.reload()
    press(page, "j", "5")
    expect(page.locator("input[name='likert-A']:checked")).to_have_count(0)
    expect(page.locator("kbd.key:visible")).to_have_count(0)


def test_every_control_is_reached_and_left_by_tab(page: Page) -> None:
    """From the first completion to the end of the bar: nothing holds the focus, and nothing hides it."""
    page.locator("#completion-A").focus()
    seen = []
    for _ in range(120):
        page.keyboard.press("Tab")
        at = page.evaluate(
            """() => { const now = document.activeElement; const box = now.getBoundingClientRect();
            const bar = document.querySelector(".bar").getBoundingClientRect();
            const name = now.id || now.name || now.textContent.trim();
            return [name, now.closest(".bar") !== null, box.bottom <= bar.top + 1]; }"""
        )
        seen.append(at[0])
        assert at[1] or at[2], f"{at[0]} is under the bar"
        if at[0] == "submit":
            break
    assert "submit" in seen
    assert "ranking" in seen
