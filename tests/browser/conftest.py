"""Real Chromium against a real server. Without a Chromium these tests are skipped, and say so."""

import os
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.db import connection
from django.test import Client
from playwright.sync_api import BrowserContext, Page

from labelapp.models import User
from tests.browser.closing import pages_close

# Playwright's synchronous interface runs an event loop, which makes Django think that it is in async code.
os.environ.setdefault("DJANGO_ALLOW_ASYNC_UNSAFE", "true")
CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
# Playwright's own, which ours replace; and the pages that each window keeps ready below its hidden address bar.
DISABLED_FEATURES = [
    *["AvoidUnnecessaryBeforeUnloadCheckSync", "DestroyProfileOnBrowserClose", "HttpsUpgrades", "LensOverlay"],
    *["HttpsFirstBalancedModeAutoEnable", "MediaRouter", "PaintHolding", "ThirdPartyStoragePartitioning"],
    *["AvoidCorsURLLoaderRestartOnRedirect", "OptimizationHints", "NetworkTimeServiceQuerying", "AimEnabled"],
    *["PreconnectToSearch", "WebUIOmniboxPopup", "WebUIOmniboxAimPopup", "SpareRendererForSitePerProcess"],
]
FLAGS = [
    *["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"],
    *[
        "--disable-background-networking",
        "--disable-component-update",
        f"--disable-features={','.join(DISABLED_FEATURES)}",
    ],
]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything in this folder is a browser test."""
    missing = pytest.mark.skip(reason="no Chromium found: install one, or name it in CHROMIUM")
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.browser)
            if CHROMIUM is None:
                item.add_marker(missing)


@pytest.fixture(scope="session")
def browser_type_launch_args() -> dict[str, Any]:
    return {"executable_path": CHROMIUM, "args": FLAGS}


@pytest.fixture
def context(context: BrowserContext) -> Iterator[BrowserContext]:
    """One whose pages are closed for certain."""
    yield context
    pages_close(context)


def wait_until_quiet(seconds: float = 60.0) -> None:
    """Wait for what a page sent with its last breath: emptying the tables would meet it half-way."""
    deadline = time.monotonic() + seconds
    quiet = 0
    while quiet < 3:
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT state, wait_event, query FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid() AND state <> 'idle'"
            )
            busy = cursor.fetchall()
        quiet = 0 if busy else quiet + 1
        assert not busy or time.monotonic() < deadline, f"the server does not come to rest: {busy}"
        time.sleep(0.05)


def signed_in(user: User, url: str) -> dict[str, str]:
    """The cookie of somebody who signed in."""
    client = Client()
    client.force_login(user)
    cookie = client.cookies[settings.SESSION_COOKIE_NAME]
    return {"name": cookie.key, "value": cookie.value, "url": url}


@pytest.fixture
def open_as(context: BrowserContext, live_server: Any) -> Iterator[Callable[[User], Page]]:
    """A page signed in as somebody; console errors and failed CSP checks fail the test."""
    pages: list[tuple[Page, list[str]]] = []

    def sign_in(user: User) -> Page:
        context.add_cookies([signed_in(user, live_server.url)])
        page = context.new_page()
        errors: list[str] = []
        page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.set_default_timeout(10_000)
        pages.append((page, errors))
        page.goto(live_server.url)
        return page

    yield sign_in
    pages_close(context)
    wait_until_quiet()
    for _, errors in pages:
        # Refusals and lost connections are what some tests are about; scripts and CSP must never complain.
        assert [error for error in errors if not error.startswith("Failed to load resource")] == []
