"""Writing the ideal answer in a real browser: typed, pasted, previewed, lost and found again, on a desk and a phone."""

from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Page, Route, expect

from labelapp.models import Annotator, Batch, Demonstration, Draft, Project, Prompt, Protocol, User
from tests.browser.test_pages import axe_page, check
from tests.factories import batch_to_write, demonstration_make

__all__ = ["axe_page"]
OpenAs = Callable[[User], Page]
WRITE = "/projects/garden-helper/write/"
BOOK = "A pear tree is cut in late winter, above a bud that looks outwards. " * 4
pytestmark = pytest.mark.django_db(transaction=True)

# A paste as browsers report it, without the clipboard, which belongs to the machine.
PASTE = """(field, text) => {
  field.focus();
  const at = field.selectionStart;
  field.setRangeText(text, at, field.selectionEnd, "end");
  field.dispatchEvent(new InputEvent("input", { bubbles: true, inputType: "insertFromPaste", data: null }));
}"""


@pytest.fixture
def batch(project: Project, protocol: Protocol) -> Batch:
    return batch_to_write(project, protocol, tasks=2)


@pytest.fixture
def page(open_as: OpenAs, lena: User, batch: Batch, live_server: Any) -> Page:
    page = open_as(lena)
    page.goto(live_server.url + WRITE)
    expect(page.get_by_role("heading", name="Write the ideal answer")).to_be_visible()
    return page


def paste(page: Page, text: str) -> None:
    page.locator("#answer").evaluate(PASTE, text)


def saved(page: Page) -> None:
    expect(page.locator("#saved")).to_contain_text("Saved")


def sent(page: Page, count: int = 1) -> None:
    """Wait until so many answers are stored and the next page stands there."""
    page.wait_for_load_state("load")
    expect(page.locator("h1")).to_be_visible()
    assert Demonstration.objects.count() == count


def test_an_answer_is_typed_previewed_and_sent_with_the_keyboard(page: Page) -> None:
    page.locator("#answer").focus()
    page.keyboard.type("Cut it in **late winter**.")
    expect(page.locator("#count")).to_have_text("5 words")
    expect(page.locator("#preview strong")).to_have_text("late winter")
    saved(page)
    with page.expect_navigation():
        page.keyboard.press("Control+Enter")
    sent(page)
    made = Demonstration.objects.get()
    assert (made.text, made.pasted_share, made.surplus) == ("Cut it in **late winter**.", 0.0, False)
    assert made.active_seconds is not None
    expect(page.locator("#answer")).to_have_value("")


def test_a_draft_is_there_after_a_reload_and_on_another_device(
    page: Page, open_as: OpenAs, lena: User, live_server: Any
) -> None:
    page.get_by_label("Your answer").fill("Late winter")
    saved(page)
    page.reload()
    expect(page.get_by_label("Your answer")).to_have_value("Late winter")
    other = open_as(lena)
    other.goto(live_server.url + WRITE)
    expect(other.get_by_label("Your answer")).to_have_value("Late winter")


def test_what_was_typed_without_a_connection_survives_a_reload(page: Page) -> None:
    def cut(route: Route) -> None:
        route.abort()

    page.route("**/draft/", cut)
    page.get_by_label("Your answer").fill("Typed in a tunnel")
    expect(page.locator("#saved")).to_contain_text("trying again")
    page.unroute("**/draft/")
    page.route("**/draft/", cut)
    page.reload()
    expect(page.get_by_label("Your answer")).to_have_value("Typed in a tunnel")
    page.unroute("**/draft/")
    saved(page)
    assert Draft.objects.get().content["answer"] == "Typed in a tunnel"


def test_much_paste_is_asked_about_once_and_kindly(page: Page) -> None:
    page.locator("#answer").focus()
    page.keyboard.type("As the book says: ")
    paste(page, BOOK)
    page.get_by_role("button", name="Submit").last.click()
    source = page.get_by_label("Part of this was pasted. Where is it from?")
    expect(source).to_be_visible()
    expect(page.locator("[data-focus]")).to_have_attribute("data-tone", "info")
    assert not Demonstration.objects.exists()
    source.fill("A book of pears")
    with page.expect_navigation():
        page.get_by_role("button", name="Submit").last.click()
    sent(page)
    made = Demonstration.objects.get()
    assert made.pasted_source == "A book of pears"
    assert made.pasted_share == pytest.approx(len(BOOK) / (len(BOOK) + 18), abs=0.01)


def test_the_question_may_be_left_open(page: Page) -> None:
    paste(page, BOOK)
    page.keyboard.press("Control+Enter")
    expect(page.get_by_label("Part of this was pasted. Where is it from?")).to_be_visible()
    with page.expect_navigation():
        page.keyboard.press("Control+Enter")
    sent(page)
    assert Demonstration.objects.get().pasted_source == ""


def test_only_what_is_still_there_counts_as_pasted(page: Page) -> None:
    """Typed around, cut down, and written over: places move with the text."""
    answer = page.locator("#answer")
    paste(page, "0123456789")
    answer.press("Home")
    page.keyboard.type("ab")
    stretches = page.locator("input[name=pasted]")
    expect(stretches).to_have_value("2-12")
    answer.press("End")
    page.keyboard.type("z")
    for _ in range(4):
        page.keyboard.press("Backspace")
    expect(stretches).to_have_value("2-9")
    answer.press("Home")
    for _ in range(5):
        page.keyboard.press("ArrowRight")
    page.keyboard.type("XY")
    expect(stretches).to_have_value("2-5 7-11")
    saved(page)
    page.reload()
    expect(page.locator("input[name=pasted]")).to_have_value("2-5 7-11")
    page.locator("#answer").press("Control+a")
    page.keyboard.type("new")
    expect(page.locator("input[name=pasted]")).to_have_value("")
    saved(page)


def test_an_answer_is_corrected(page: Page, live_server: Any) -> None:
    page.get_by_label("Your answer").fill("In winter.")
    with page.expect_navigation():
        page.keyboard.press("Control+Enter")
    sent(page)
    first = Demonstration.objects.get()
    page.goto(f"{live_server.url}/write/{first.task_id}/")
    expect(page.get_by_role("heading", name="Correct your answer")).to_be_visible()
    expect(page.get_by_label("Your answer")).to_have_value("In winter.")
    page.get_by_label("Your answer").fill("In late winter.")
    with page.expect_navigation():
        page.get_by_role("button", name="Send the correction").click()
    sent(page, 2)
    assert Demonstration.objects.get(supersedes=first).text == "In late winter."


def test_a_prompt_is_passed_on(page: Page) -> None:
    task = page.url
    page.locator("#leave summary").click()
    with page.expect_navigation():
        page.get_by_role("button", name="It needs knowledge I do not have").click()
    page.wait_for_load_state("load")
    assert page.url != task
    expect(page.get_by_role("heading", name="Write the ideal answer")).to_be_visible()


def test_a_prompt_is_written_by_hand(open_as: OpenAs, lena: User, project: Project, live_server: Any) -> None:
    Project.objects.filter(pk=project.pk).update(asks_prompts=True, use_cases="Plan a garden")
    page = open_as(lena)
    page.goto(live_server.url + WRITE + "prompt/?kind=user_based")
    expect(page.get_by_text("Plan a garden", exact=True)).to_be_visible()
    page.get_by_label("Prompt", exact=True).fill("What grows beside tomatoes?")
    with page.expect_navigation():
        page.get_by_role("button", name="Send the prompt").click()
    expect(page.get_by_text("your prompt is kept")).to_be_visible()
    assert Prompt.objects.get().written_as == "user_based"


def test_the_pages_are_for_everyone(
    axe_page: Callable[[User | None], Page], lena: User, omar: User, project: Project, protocol: Protocol,
    live_server: Any,
) -> None:  # fmt: skip
    Project.objects.filter(pk=project.pk).update(asks_prompts=True, use_cases="Plan a garden")
    annotator = Annotator.objects.get(user=lena)
    Annotator.objects.filter(pk=annotator.pk).update(accepts_sensitive=["medical"])
    done = batch_to_write(project, protocol, tasks=1).tasks.get()
    demonstration_make(done, annotator, "In **winter**.\n\n| a | b |\n|---|---|\n| 1 | 2 |")
    page = axe_page(lena)
    check(page, live_server.url + WRITE)
    check(page, f"{live_server.url}/write/{done.pk}/correct/")
    batch_to_write(project, protocol, tasks=1, prompt={"sensitivity": ["medical"]})
    check(page, live_server.url + WRITE)
    for kind in ("plain", "few_shot", "user_based"):
        check(page, f"{live_server.url}{WRITE}prompt/?kind={kind}")
    admin = axe_page(omar)
    check(admin, live_server.url + WRITE + "settings/")
