"""Pages that are closed for certain.

A Chromium that is just going to another page forgets that it was asked to close this one. Playwright asks once, whether
a page or a whole context is to be closed, and then waits for ever.
"""

import time
from contextlib import suppress

from playwright.sync_api import BrowserContext, Page, TimeoutError

ASK_AGAIN_MS = 1_000


def page_close(page: Page, seconds: float = 60.0) -> None:
    """Ask until it is closed. What its test does with requests that are still under way is of no account any more."""
    if page.is_closed():
        return
    page.unroute_all(behavior="ignoreErrors")
    browser = page.context.browser
    assert browser is not None
    target = page.context.new_cdp_session(page).send("Target.getTargetInfo")["targetInfo"]["targetId"]
    session = browser.new_browser_cdp_session()
    deadline = time.monotonic() + seconds
    while not page.is_closed():
        assert time.monotonic() < deadline, f"{page.url} does not close"
        with suppress(TimeoutError), page.expect_event("close", timeout=ASK_AGAIN_MS):
            session.send("Target.closeTarget", {"targetId": target})
    session.detach()


def pages_close(context: BrowserContext) -> None:
    """Close all pages of a context."""
    context.unroute_all(behavior="ignoreErrors")
    for page in context.pages:
        page_close(page)


def context_close(context: BrowserContext) -> None:
    """Close its pages, then itself."""
    pages_close(context)
    context.close()
