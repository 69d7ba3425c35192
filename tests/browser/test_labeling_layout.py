"""How the labeling page looks: whole texts side by side or stacked, nothing cut off or covered, no jumps."""

from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect

from labelapp.models import Annotation, Annotator, Batch, Completion, Project, Prompt, Protocol, User
from tests.browser.closing import context_close
from tests.browser.conftest import signed_in, wait_until_quiet
from tests.browser.labeling_page import ADDRESS, OpenAs, annotations, rate_all, saved, start, submit, until
from tests.factories import batch_with_tasks, completion_make, prompt_make, protocol_make

pytestmark = pytest.mark.django_db(transaction=True)
LONG = "\n\n".join(f"Paragraph {number}: " + "water, soil and light. " * 6 for number in range(90))


def batch_of(project: Project, texts: list[str], *, prompt: dict[str, Any] | None = None, **fields: Any) -> Batch:
    """A task with these completions."""
    protocol = protocol_make(project, **fields)
    batch = batch_with_tasks(project, protocol, tasks=0, k=len(texts))
    made = prompt_make(project, "How do I prune a pear tree?", **(prompt or {}))
    for text in texts:
        completion_make(made, text)
    from labelapp.labeling.services.batches import PromptChoice, tasks_create

    tasks_create(batch=batch, prompt_ids=[made.pk], choice=PromptChoice(), probability=1.0, salt=project.salt)
    return batch


def columns(page: Page) -> int:
    """How many cards stand in the first row."""
    tops = page.locator(".completion").evaluate_all("cards => cards.map((card) => card.getBoundingClientRect().top)")
    return sum(abs(top - tops[0]) < 2 for top in tops)


def card_with(page: Page, text: str) -> Any:
    return page.locator(".completion").filter(has_text=text)


@pytest.mark.parametrize(("k", "wide", "middle"), [(2, 2, 2), (3, 3, 2), (4, 4, 2), (6, 3, 2), (9, 3, 2)])
def test_cards_stand_side_by_side_where_the_window_allows(
    open_as: OpenAs, lena: User, project: Project, live_server: Any, k: int, wide: int, middle: int
) -> None:
    batch_with_tasks(project, protocol_make(project), tasks=1, k=k)
    page = open_as(lena)
    for width, expected in ((1440, wide), (800, middle), (390, 1)):
        page.set_viewport_size({"width": width, "height": 844})
        page.goto(live_server.url + ADDRESS)
        assert columns(page) == expected, f"{k} completions at {width} px"
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        for card in page.locator(".completion").all():
            assert card.evaluate("card => card.scrollWidth <= card.clientWidth + 1")


def test_every_text_is_there_in_full(open_as: OpenAs, lena: User, project: Project, live_server: Any) -> None:
    batch_of(project, [LONG, "Short.", "| a | b |\n|---|---|\n| 1 | 2 |\n\n```python\nx = 1\n```\n\n$x^2$"])
    page = start(open_as(lena), live_server)
    expect(page.locator(".completion-text").get_by_text("Paragraph 89")).to_have_count(1)
    for text in page.locator(".completion-text").all():
        assert text.evaluate("text => text.scrollHeight <= text.clientHeight + 1")
    expect(page.locator(".completion-text math")).to_have_count(1)
    expect(page.locator(".completion-text table")).to_have_count(1)


def test_a_long_text_folds_and_stays_folded(open_as: OpenAs, lena: User, project: Project, live_server: Any) -> None:
    batch_of(project, [LONG, "Short."], strength_steps=0)
    page = start(open_as(lena), live_server)
    button = page.get_by_role("button", name="Fold")
    expect(button).to_have_count(1)
    high = page.evaluate("document.documentElement.scrollHeight")
    button.click()
    expect(page.get_by_role("button", name="Show all")).to_have_attribute("aria-expanded", "false")
    assert page.evaluate("document.documentElement.scrollHeight") < high - 1000
    page.reload()
    page.get_by_role("button", name="Show all").click()
    page.reload()
    expect(page.get_by_role("button", name="Fold")).to_have_count(1)


def test_the_reading_position_stays_while_one_ranks_and_rates(
    open_as: OpenAs, lena: User, project: Project, live_server: Any
) -> None:
    batch_of(project, [LONG, LONG + " More.", LONG + " Most."])
    page = start(open_as(lena), live_server)
    page.mouse.wheel(0, 1500)
    until(lambda: page.evaluate("scrollY") > 1000, "scrolling")
    page.wait_for_timeout(200)
    at = page.evaluate("scrollY")
    for key in ("r", "c", "a", "=", "b", "Escape", "4", "3", "Shift+ArrowUp", "e", "n"):
        page.keyboard.press(key)
        assert page.evaluate("scrollY") == at, f"{key} moved the page"
    saved(page)


def test_the_raw_text_is_copied(open_as: OpenAs, lena: User, project: Project, live_server: Any) -> None:
    batch_of(project, ["**Bold** `x`\n\n- a", "\nSecond <b>&amp;"], strength_steps=0)
    page = open_as(lena)
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    start(page, live_server)
    card_with(page, "Bold").get_by_role("button", name="Copy").click()
    expect(page.get_by_role("button", name="Copied")).to_be_visible()
    assert page.evaluate("navigator.clipboard.readText()") == "**Bold** `x`\n\n- a"
    assert card_with(page, "Second").locator("textarea").input_value() == "\nSecond <b>&amp;"


def test_each_text_has_its_own_direction(open_as: OpenAs, lena: User, project: Project, live_server: Any) -> None:
    batch_of(project, ["قلّم الشجرة في الشتاء.", "Prune in winter."], strength_steps=0)
    page = start(open_as(lena), live_server)
    direction = "text => getComputedStyle(text.querySelector('p')).direction"
    assert card_with(page, "قلّم").locator(".completion-text").evaluate(direction) == "rtl"
    assert card_with(page, "Prune").locator(".completion-text").evaluate(direction) == "ltr"


def test_at_two_hundred_percent_the_bar_leaves_room_to_read(
    open_as: OpenAs, lena: User, project: Project, protocol: Protocol, live_server: Any
) -> None:
    batch_with_tasks(project, protocol, tasks=1)
    page = open_as(lena)
    page.set_viewport_size({"width": 720, "height": 450})
    start(page, live_server)
    bar = page.locator(".bar").bounding_box()
    assert bar
    assert bar["height"] < 450 / 3
    assert page.evaluate("document.documentElement.scrollWidth") <= 720


def test_a_sensitive_task_is_veiled_until_shown(
    open_as: OpenAs, lena: User, project: Project, live_server: Any
) -> None:
    Annotator.objects.filter(user=lena).update(accepts_sensitive=["violence"])
    batch_of(project, ["One.", "Two.", "Three."], prompt={"sensitivity": ["violence"]})
    page = start(open_as(lena), live_server)
    expect(page.get_by_text("It contains: Violence and gore.")).to_be_visible()
    expect(page.locator(".completion-text").get_by_text("One.")).to_be_hidden()
    expect(page.get_by_role("button", name="Skip it: this is distressing")).to_be_visible()
    page.locator(".veil > summary").click()
    expect(page.locator(".completion-text").get_by_text("One.")).to_be_visible()
    expect(page.locator("#submit")).to_be_visible()


def test_two_stages_rate_first_and_then_rank(open_as: OpenAs, lena: User, project: Project, live_server: Any) -> None:
    batch_with_tasks(project, protocol_make(project, layout="two_stage"), tasks=1)
    page = start(open_as(lena), live_server)
    expect(page.locator("#ranking")).to_have_count(0)
    rate_all(page, "5")
    page.get_by_role("button", name="Next: rank them").click()
    expect(page.locator("form#task[data-stage=rank]")).to_have_count(1)
    expect(page.get_by_text("You rated it: 5 / 7")).to_have_count(4)
    page.keyboard.press("e")
    page.keyboard.press("Control+Enter")
    annotations(1)
    assert Annotation.objects.get().ranking == [[0, 1, 2, 3]]


def test_one_completion_is_rated_alone(open_as: OpenAs, lena: User, project: Project, live_server: Any) -> None:
    batch_with_tasks(project, protocol_make(project, asks_ranking=False, likert_points=2), tasks=1, k=1)
    page = start(open_as(lena), live_server)
    page.keyboard.press("2")
    submit(page)
    annotations(1)
    assert Annotation.objects.get().ratings.get().likert == 2


def test_the_best_is_improved_from_its_own_text(
    open_as: OpenAs, lena: User, project: Project, live_server: Any
) -> None:
    batch_of(project, ["First.", "Second.", "Third."], asks_edit=True, likert_points=0)
    page = start(open_as(lena), live_server)
    page.locator("#ranking").fill("B A C")
    page.locator("#edit-fold > summary").click()
    page.get_by_role("button", name="Start from its text").click()
    best = page.locator("#raw-B").input_value()
    expect(page.get_by_label("The improved text")).to_have_value(best)
    expect(page.get_by_label("Which one")).to_have_value("B")
    page.get_by_label("The improved text").fill(f"{best} And better.")
    submit(page)
    annotations(1)
    edit = Annotation.objects.get().edit
    assert isinstance(edit, Completion)
    assert edit.text == f"{best} And better."


CASES: dict[str, dict[str, Any]] = {
    "everything": {"asks_confidence": True, "asks_rationale": True, "asks_edit": True, "guidelines": "# Be kind"},
    "two": {"strength_steps": 9},
    "stages": {"layout": "two_stage"},
    "thumbs": {"likert_points": 2},
}


@pytest.mark.parametrize("case", CASES)
def test_axe_finds_nothing_on_a_page_in_use(
    browser: Browser, lena: User, project: Project, live_server: Any, case: str
) -> None:
    """Ranked, marked, with the menu and the panel open; light and dark, wide and narrow."""
    batch_of(project, [LONG, "Two.", *(["Three.", "Four."] if case != "two" else [])], **CASES[case])
    context = browser.new_context(bypass_csp=True, reduced_motion="reduce")
    context.add_cookies([signed_in(lena, live_server.url)])
    page = start(context.new_page(), live_server)
    for key in ("1", "7", "r", "a", "b", "c", "Escape", "?"):
        page.keyboard.press(key)
    page.wait_for_timeout(600)
    for scheme, width in (("light", 1440), ("dark", 390)):
        page.emulate_media(color_scheme=scheme)
        page.set_viewport_size({"width": width, "height": 900})
        found = Axe().run(page)
        assert found.violations_count == 0, f"{case} at {width} px, {scheme}:\n{found.generate_report()}"
        page.keyboard.press("Escape")
        page.locator("#leave > summary").click()
    saved(page)
    context_close(context)
    wait_until_quiet()


def test_no_name_of_a_model_is_on_the_page(open_as: OpenAs, lena: User, project: Project, live_server: Any) -> None:
    batch_of(project, ["One.", "Two.", "Three."])
    assert Prompt.objects.get().completions.first().model_version.name == "tiny-1"  # type: ignore[union-attr]
    page = start(open_as(lena), live_server)
    assert "tiny-1" not in page.content()
