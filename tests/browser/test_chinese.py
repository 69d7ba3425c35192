"""A labeler who works in Chinese: the switch, a whole task by keyboard, and no English left over."""

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from django.urls import reverse
from playwright.sync_api import Page, expect

from labelapp.models import Annotation, Project, Protocol, User
from labelapp.projects.defaults import DEFAULT_PROTOCOL
from labelapp.projects.services import protocol_create
from tests.browser.labeling_page import SLOW, annotations, other_task, saved, task_of
from tests.browser.test_pages import axe_page, check
from tests.conftest import PASSWORD
from tests.factories import batch_with_tasks

__all__ = ["axe_page"]  # the fixture of the other pages
pytestmark = pytest.mark.django_db(transaction=True)

RATIONALE = "B 更准确\uff0c而且说明了原因。"
NAMES = re.compile(
    r"Prefloop|Garden helper|General quality|Lena|lena@example\.com|Batch \d|question \d|English"
    r"|Markdown|UTC|Ctrl|Shift|Enter|Esc(ape)?|Alt|Command|Mac|Tab"
)
SPOKEN = """() => {
  const content = ".prose, .word-diff, kbd, body [lang], option, script, style, template, "
    + ".guidelines-toc a[data-level], .guidelines-part :is(h2, h3, h4, .change-text)";
  const shown = (node) => node.checkVisibility({ visibilityProperty: true });
  const said = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const parent = walker.currentNode.parentElement;
    if (!parent.closest(content) && shown(parent)) said.push(walker.currentNode.data);
  }
  for (const element of document.querySelectorAll("[aria-label], [title], [placeholder]")) {
    if (element.closest(content) || !shown(element)) continue;
    for (const name of ["aria-label", "title", "placeholder"]) said.push(element.getAttribute(name) ?? "");
  }
  return [document.title, ...said];
}"""


@pytest.fixture
def chinese(project: Project) -> Protocol:
    """The default protocol, whose questions speak Chinese too."""
    spec = replace(DEFAULT_PROTOCOL, asks_rationale=True, asks_confidence=True)
    protocol = protocol_create(project=project, spec=spec, actor=None)
    batch_with_tasks(project, protocol, tasks=3)
    return protocol


def in_chinese(page: Page) -> None:
    """Nothing that the page itself says is English."""
    expect(page.locator('html[lang="zh-hans"]')).to_have_count(1)
    english = [text.strip() for text in page.evaluate(SPOKEN) if re.search(r"[A-Za-z]{2,}", NAMES.sub("", text))]
    assert english == [], (page.url, english)


def test_a_day_in_chinese(page: Page, live_server: Any, lena: User, chinese: Protocol) -> None:
    page.set_default_timeout(SLOW)
    page.goto(live_server.url + reverse("account_login"))
    page.get_by_role("button", name="简体中文").press("Enter")
    expect(page.get_by_role("heading", name="登录")).to_be_visible()
    assert page.url == live_server.url + reverse("account_login")
    in_chinese(page)
    page.get_by_label("电子邮件").fill(lena.email)
    page.get_by_label("密码").fill(PASSWORD)
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="你好\uff0cLena")).to_be_visible()
    in_chinese(page)
    for name in ("my_work", "guidelines", "practice", "profile"):
        page.goto(live_server.url + reverse(name, args=["garden-helper"]))
        in_chinese(page)
    page.goto(live_server.url + reverse("shortcuts"))
    in_chinese(page)


def test_a_task_is_done_in_chinese_by_keyboard_alone(
    open_as: Callable[[User], Page], lena: User, chinese: Protocol, live_server: Any
) -> None:
    page = open_as(lena)
    page.set_default_timeout(SLOW)
    page.get_by_role("button", name="简体中文").press("Enter")
    page.get_by_role("link", name="开始标注").press("Enter")
    expect(page.locator("form#task")).to_be_visible()
    in_chinese(page)
    before = task_of(page)
    for digit in "5632":
        page.keyboard.press(digit)
    page.keyboard.press("Shift+n")
    page.keyboard.press("r")
    page.keyboard.type("b a c=d")
    page.locator("#rationale").focus()
    page.keyboard.insert_text(RATIONALE)
    saved(page)
    in_chinese(page)
    page.keyboard.press("Control+Enter")
    other_task(page, before)
    annotations(1)
    annotation = Annotation.objects.get()
    a, b, c, d = annotation.order_shown
    assert annotation.rationale == RATIONALE
    assert annotation.ranking == [[b], [a], sorted([c, d])]
    in_chinese(page)


def test_what_goes_wrong_is_said_in_chinese_and_the_way_back_is_english(
    open_as: Callable[[User], Page], lena: User, chinese: Protocol, live_server: Any
) -> None:
    page = open_as(lena)
    page.set_default_timeout(SLOW)
    page.get_by_role("button", name="简体中文").click()
    page.goto(live_server.url + reverse("label", args=["garden-helper"]))
    page.locator("#submit").click()
    expect(page.locator("[role=alert]").first).to_be_visible()
    in_chinese(page)
    page.goto(live_server.url + "/projects/nowhere/")
    in_chinese(page)
    page.get_by_role("button", name="English").click()
    expect(page.get_by_role("heading", name="There is no such page")).to_be_visible()


def test_axe_finds_nothing_in_chinese(
    axe_page: Callable[[User | None], Page], lena: User, chinese: Protocol, live_server: Any
) -> None:
    page = axe_page(lena)
    page.context.add_cookies([{"name": "django_language", "value": "zh-hans", "url": live_server.url}])
    for name in ("home", "label", "my_work", "guidelines"):
        check(page, live_server.url + reverse(name, args=[] if name == "home" else ["garden-helper"]))
    page.context.clear_cookies(name="sessionid")
    check(page, live_server.url + reverse("account_login"))
