"""What the labeling page weighs, how soon it can be read, and how many keys an answer takes: in Chromium, over HTTP.

    python benchmarks/page_weight.py

A labeler signs in at a real server, opens the page with an empty cache, and answers some tasks by pressing keys: a
ranking of four, four ratings, two flags and “no faults” for the rest. What was stored is compared with what was
pressed. Bytes are those on the wire, headers included, as the browser's own network log counts them. Drafts are
counted apart. Prints one JSON line.

Keys: `cold_kb, cold_requests` (an empty cache, until the network is quiet), `first_text_ms` (from asking for the page
to the first completion on the screen, median), `first_byte_ms` (how much of that was the server's), `next_kb,
next_requests` (all that a following task costs, from being shown to the next one being shown, drafts apart),
`keystrokes` (keys struck, Shift and Control counted as keys too), `next_ms` (from the last key to the next task's
text), `draft_kb, draft_requests` (per task), `drag_kb` (what the first move of a mouse adds, once).
"""

import argparse
import json
import os
import random
import shutil
import statistics
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from benchmarks.rig.database import fresh_database
from benchmarks.rig.project import PASSWORD, SLUG, build
from benchmarks.rig.web import web_server
from labelapp.ops.server import free_port

KEYS = ["q", "4", "t", "5", "6", "2", "Shift+n", "r", "d", "c", "a", "=", "b", "Control+Enter"]
"""Two flags on the way through the ratings of A to D, “no faults” for all the rest, and the ranking D, C, A = B."""
FLAGS = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]
WORDS = 160
"""Words in a completion, about as many as answers of chat models have."""
READABLE = """
    (() => {
      const look = () => {
        const text = document.querySelector(".completion-text");
        if (text?.getClientRects().length && document.styleSheets.length) {
          requestAnimationFrame(() => { window.readableAt = performance.now(); });
        } else requestAnimationFrame(look);
      };
      requestAnimationFrame(look);
    })();
"""


@dataclass
class Traffic:
    """What went over the wire since it was last emptied."""

    sizes: dict[str, float] = field(default_factory=dict)
    addresses: dict[str, str] = field(default_factory=dict)

    def watch(self, page: Page) -> None:
        """Listen to a page's network log."""
        log = page.context.new_cdp_session(page)
        log.send("Network.enable")
        log.on("Network.requestWillBeSent", self._asked)
        log.on(
            "Network.loadingFinished", lambda event: self.sizes.update({event["requestId"]: event["encodedDataLength"]})
        )

    def _asked(self, event: dict[str, Any]) -> None:
        if event["request"]["url"].startswith("http"):
            self.addresses[event["requestId"]] = event["request"]["url"]

    def take(self, *, drafts: bool = False) -> tuple[int, float]:
        """Requests and KB of drafts, or of all others."""
        sent = {key: size for key, size in self.sizes.items() if size}  # what the cache answers costs nothing
        chosen = [key for key, url in self.addresses.items() if key in sent and url.endswith("/draft/") == drafts]
        return len(chosen), sum(sent[key] for key in chosen) / 1000

    def clear(self) -> None:
        """Begin anew."""
        self.sizes.clear()
        self.addresses.clear()


def texts_of_usual_length() -> tuple[str, ...]:
    """Four completions that have little in common."""
    source = random.Random(4)
    words = ["water", "soil", "prune", "branch", "late", "winter", "deeply", "often", "morning", "root", "leaf", "cut",
             "before", "carefully", "should", "because", "the", "a", "and", "to", "in", "of", "it", "when"]  # fmt: skip
    texts = []
    for _ in "ABCD":
        lines = [" ".join(source.choices(words, k=WORDS // 4)).capitalize() + "." for _ in range(4)]
        texts.append(f"{lines[0]}\n\n- **{lines[1]}**\n- {lines[2]}\n\n{lines[3]}")
    return tuple(texts)


def sign_in(browser: Browser, url: str, email: str) -> Any:
    """The cookies of somebody who signed in by the form."""
    context = browser.new_context()
    page = context.new_page()
    page.goto(f"{url}/accounts/login/")
    page.fill("input[name=login]", email)
    page.fill("input[name=password]", PASSWORD)
    page.click("main form button[type=submit]")
    page.wait_for_url(f"{url}/")
    state = context.storage_state()
    context.close()
    return state


def opened(context: BrowserContext, url: str) -> tuple[Page, Traffic, float]:
    """The labeling page with an empty cache, and the milliseconds until its first completion could be read."""
    page, traffic = context.new_page(), Traffic()
    traffic.watch(page)
    page.add_init_script(READABLE)
    page.goto(f"{url}/projects/{SLUG}/label/")
    page.wait_for_function("window.readableAt")
    page.wait_for_load_state("networkidle")
    return page, traffic, page.evaluate("window.readableAt")


def answered(page: Page) -> float:
    """Answer the task with keys alone; returns the milliseconds from the last key to the text of the next."""
    task = page.get_attribute("form#task", "data-task")
    for key in KEYS[:-1]:
        page.keyboard.press(key)
    page.wait_for_timeout(2500)  # a person reads on; what is saved and fetched meanwhile is counted
    start = time.perf_counter()
    page.keyboard.press(KEYS[-1])
    page.wait_for_selector(f'form#task:not([data-task="{task}"]) .completion-text')
    return (time.perf_counter() - start) * 1000


def check(tasks: int) -> None:
    """Hold what is stored against what was pressed. Raises AssertionError."""
    from labelapp.models import Annotation

    annotations = list(Annotation.objects.prefetch_related("ratings"))
    assert len(annotations) == tasks, f"{len(annotations)} of {tasks} answers were stored"
    for annotation in annotations:
        a, b, c, d = annotation.order_shown
        assert annotation.ranking == [[d], [c], sorted([a, b])], annotation.ranking
        ratings = {rating.slot: rating for rating in annotation.ratings.all()}
        assert [ratings[slot].likert for slot in (a, b, c, d)] == [4, 5, 6, 2]
        flags = {
            slot: [key for key, value in rating.answers.items() if value == "yes"] for slot, rating in ratings.items()
        }
        assert [len(flags[slot]) for slot in (a, b, c, d)] == [1, 1, 0, 0], flags
        assert all(rating.in_bulk for rating in ratings.values())


def measure(*, opens: int, tasks: int) -> dict[str, float | int]:
    """The whole benchmark on a database of its own."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    executable = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    with fresh_database("page") as _database:
        [email] = build(labelers=1, tasks=tasks + 4, overlap=1, k=4, texts=texts_of_usual_length())
        with web_server(port), sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=executable, args=FLAGS)
            state = sign_in(browser, url, email)
            colds = [cold(browser, state, url) for _ in range(opens)]
            following = [*_days_work(browser, state, url, tasks)]
            drag_kb = dragged(browser, state, url)
            browser.close()
        os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "true"
        check(tasks)
    steady = following[1:]
    return {
        "cold_kb": round(max(kb for _, kb, *_ in colds), 1),
        "cold_requests": max(count for count, *_ in colds),
        "first_text_ms": round(statistics.median(ms for _, _, ms, _ in colds)),
        "first_byte_ms": round(statistics.median(ms for *_, ms in colds)),
        "next_kb": round(max(kb for _, kb, _, _, _ in steady), 1),
        "next_requests": max(count for count, _, _, _, _ in steady),
        "keystrokes": sum(len(key.split("+")) for key in KEYS),
        "next_ms": round(statistics.median(ms for *_, ms in steady)),
        "draft_kb": round(statistics.median(kb for _, _, _, kb, _ in steady), 1),
        "draft_requests": round(statistics.median(count for _, _, count, _, _ in steady)),
        "drag_kb": round(drag_kb, 1),
    }


def cold(browser: Browser, state: Any, url: str) -> tuple[int, float, float, float]:
    """Requests, KB, and milliseconds to the first text and to the first byte, of one opening."""
    context = browser.new_context(storage_state=state)
    page, traffic, ms = opened(context, url)
    byte_ms = page.evaluate("performance.getEntriesByType('navigation')[0].responseStart")
    context.close()
    return *traffic.take(), ms, byte_ms


def _days_work(browser: Browser, state: Any, url: str, tasks: int) -> list[tuple[int, float, int, float, float]]:
    """Requests and KB, those of drafts, and the milliseconds to the next, of one task after the other."""
    context = browser.new_context(storage_state=state)
    page, traffic, _ = opened(context, url)
    found = []
    for _ in range(tasks):
        traffic.clear()
        ms = answered(page)
        page.wait_for_load_state("networkidle")
        page.wait_for_timeout(500)
        found.append((*traffic.take(), *traffic.take(drafts=True), ms))
    context.close()
    return found


def dragged(browser: Browser, state: Any, url: str) -> float:
    """KB that come with the first move of a mouse."""
    context = browser.new_context(storage_state=state)
    page, traffic, _ = opened(context, url)
    traffic.clear()
    page.mouse.move(200, 200)
    page.mouse.move(220, 220)
    page.wait_for_timeout(1000)
    _, kb = traffic.take()
    context.close()
    return kb


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="2 openings and 3 tasks")
    options = parser.parse_args()
    print(json.dumps(measure(opens=2 if options.quick else 7, tasks=3 if options.quick else 8)))


if __name__ == "__main__":
    main()
