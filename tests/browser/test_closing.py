from typing import Any

from playwright.sync_api import Browser

from tests.browser.closing import context_close, page_close


def test_pages_on_their_way_to_another_are_closed(browser: Browser, live_server: Any) -> None:
    """Of pages that are asked once, about one in four stays open here."""
    for wait in range(12):
        context = browser.new_context()
        page = context.new_page()
        page.goto(live_server.url)
        page.evaluate("() => { setTimeout(() => { location.href = '/accounts/login/?again'; }); }")
        page.wait_for_timeout(5 * wait)
        page_close(page)
        assert page.is_closed()
        context_close(context)


def test_a_request_that_a_test_still_holds_is_let_go(browser: Browser, live_server: Any) -> None:
    """Otherwise what comes next would meet the error of a test that has passed."""
    context = browser.new_context()
    page = context.new_page()
    held: list[Any] = []

    def hold(route: Any) -> None:
        held.append(route)
        page.wait_for_event("close")
        raise RuntimeError("The page is gone.")

    page.route("**/?held", hold)
    page.goto(live_server.url)
    page.evaluate("() => { fetch('/?held'); }")
    while not held:
        page.wait_for_timeout(20)
    context_close(context)
    after = browser.new_context()
    after.new_page().wait_for_timeout(300)
    context_close(after)


def test_a_context_is_closed_with_all_its_pages(browser: Browser) -> None:
    context = browser.new_context()
    pages = [context.new_page() for _ in range(3)]
    page_close(pages[0])
    page_close(pages[0])  # one that is closed stays closed
    context_close(context)
    assert all(page.is_closed() for page in pages)
    assert context not in browser.contexts
