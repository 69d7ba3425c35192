"""Labelers over HTTP: a small raw client, and people who take tasks, save drafts, submit, die and come back late."""

import asyncio
import re
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from urllib.parse import urlencode

ACTION = re.compile(r'action="/label/(\d+)/submit/"')
SLIP = re.compile(r'name="seating" value="([^"]+)"')
TOKEN = re.compile(r'name="csrfmiddlewaretoken" value="([^"]+)"')
LETTERS = re.compile(r'data-letters="([A-Z]+)"')

Answer = tuple[int, dict[str, str], str]
SCRIPT = "X-Requested-With: fetch\r\n"


class Browser:
    """One keep-alive connection with cookies; HTTP/1.1, bodies with a length only."""

    def __init__(self, host: str, port: int) -> None:
        self.host, self.port = host, port
        self.cookies: dict[str, str] = {}
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def get(self, path: str, extra: str = "") -> Answer:
        """Status, headers and body; `extra` are more header lines."""
        return await self._request("GET", path, b"", extra)

    async def post(self, path: str, fields: dict[str, str], extra: str = "") -> Answer:
        """Status, headers and body of a posted form."""
        return await self._request("POST", path, urlencode(fields).encode(), extra)

    def drop(self) -> None:
        """Forget the connection, as after a fault."""
        if self._streams:
            self._streams[1].close()
        self._streams = None

    async def _request(self, method: str, path: str, body: bytes, extra: str) -> Answer:
        """Ask on the open connection; one that the server closed while it was idle is opened again once."""
        if self._streams is not None:
            with suppress(ConnectionError):
                return await self._exchange(*self._streams, method, path, body, extra)
        self._streams = await asyncio.open_connection(self.host, self.port)
        return await self._exchange(*self._streams, method, path, body, extra)

    async def _exchange(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        method: str,
        path: str,
        body: bytes,
        extra: str,
    ) -> Answer:
        cookies = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        head = (
            f"{method} {path} HTTP/1.1\r\nHost: {self.host}:{self.port}\r\nCookie: {cookies}\r\n"
            f"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {len(body)}\r\n{extra}"
        )
        writer.write(head.encode() + b"\r\n" + body)
        status = int((await self._line(reader)).split()[1])
        headers: dict[str, str] = {}
        while line := await self._line(reader):
            name, _, value = line.partition(":")
            if name.lower() == "set-cookie":
                key, _, cookie = value.strip().partition(";")[0].partition("=")
                self.cookies[key] = cookie
            headers[name.lower()] = value.strip()
        content = await reader.readexactly(int(headers.get("content-length", "0")))
        if headers.get("connection") == "close":
            self.drop()
        return status, headers, content.decode()

    @staticmethod
    async def _line(reader: asyncio.StreamReader) -> str:
        line = await reader.readline()
        if not line:
            raise ConnectionError("the server closed the connection")
        return line.decode("latin-1").rstrip("\r\n")


@dataclass
class Record:
    """What the labelers saw and were told."""

    next_ms: list[float] = field(default_factory=list)
    submit_ms: list[float] = field(default_factory=list)
    submitted: list[tuple[str, int]] = field(default_factory=list)
    """(person, task) of every submit that was acknowledged."""
    drafts: dict[tuple[str, int], str] = field(default_factory=dict)
    """The last ranking that was called saved, by (person, task), until it is submitted."""
    errors: list[str] = field(default_factory=list)


@dataclass
class Task:
    """A task as its form gave it."""

    pk: int
    slip: str
    letters: str
    token: str

    @classmethod
    def read(cls, html: str) -> "Task | None":
        """The task of a form, if there is one in the HTML."""
        action = ACTION.search(html)
        if action is None:
            return None
        slip, letters, token = (_found(pattern, html) for pattern in (SLIP, LETTERS, TOKEN))
        return cls(pk=int(action[1]), slip=slip, letters=letters, token=token)

    def answer(self) -> dict[str, str]:
        """A complete judgement: the order shown, all rated 4; of two, the first by far."""
        return {
            "ranking": " ".join(self.letters),
            "preference": "1",
            **{f"likert-{letter}": "4" for letter in self.letters},
        }

    def slip_fields(self) -> dict[str, str]:
        """What a form carries beside what was entered."""
        return {"seating": self.slip, "csrfmiddlewaretoken": self.token}


class Labeler:
    """One person at their browser. With `retry`, every request is repeated until the server answers it."""

    def __init__(
        self, email: str, password: str, *, slug: str, host: str, port: int, record: Record, retry: bool = False
    ) -> None:
        self.email, self.password, self.slug, self.record, self.retry = email, password, slug, record, retry
        self.browser = Browser(host, port)
        self.shown: Task | None = None
        self.ahead: Task | None = None
        self.may_come_back = False

    async def sign_in(self) -> None:
        """Through the sign-in page, as everybody. Raises RuntimeError when it is refused."""
        _, _, html = await self._asked(lambda: self.browser.get("/accounts/login/"))
        fields = {"login": self.email, "password": self.password, "csrfmiddlewaretoken": _found(TOKEN, html)}
        status, _, _ = await self._asked(lambda: self.browser.post("/accounts/login/", fields))
        if status != 302:
            raise RuntimeError(f"{self.email} could not sign in: {status}")

    async def next_task(self) -> Task | None:
        """The next task: what came with the last submit, else the label page's; None when there is none."""
        if self.shown:
            shown, self.shown = self.shown, None
            return shown
        start = time.perf_counter()
        status, _, html = await self._asked(lambda: self.browser.get(f"/projects/{self.slug}/label/"))
        self.record.next_ms.append((time.perf_counter() - start) * 1000)
        if status != 200:
            self.record.errors.append(f"next: {status}")
        self.ahead, task = None, Task.read(html)
        self.may_come_back = task is None and "may come back" in html
        return task

    async def look_ahead(self) -> None:
        """Reserve the next task while this one is being worked on, unless there is one already."""
        if self.ahead is None:
            status, _, html = await self._asked(lambda: self.browser.get(f"/projects/{self.slug}/label/ahead/", SCRIPT))
            if status not in {200, 204}:
                self.record.errors.append(f"ahead: {status}")
            self.ahead = Task.read(html)

    async def draft(self, task: Task, ranking: str, revision: int) -> None:
        """Save a draft and note what the server called saved."""
        fields = {"ranking": ranking, "revision": str(revision), **self._kept(task)}
        status, _, body = await self._asked(lambda: self.browser.post(f"/label/{task.pk}/draft/", fields, SCRIPT))
        if status == 200:
            self.record.drafts[self.email, task.pk] = ranking
            if self.ahead and '"ahead": "kept"' not in body:
                self.ahead = None
        elif not (status == 409 and self.retry):  # a repeat of what was saved before the connection broke
            self.record.errors.append(f"draft: {status}")

    async def submit(self, task: Task) -> bool:
        """Submit and note the acknowledgement; its answer is the next task, or the one after that."""
        start = time.perf_counter()
        fields = {**task.answer(), **self._kept(task), "active_seconds": "1", "paid_seconds": "1"}
        status, headers, html = await self._asked(
            lambda: self.browser.post(f"/label/{task.pk}/submit/", fields, SCRIPT)
        )
        if status != 200 or "x-show" not in headers:
            self.record.errors.append(f"submit: {status}")
            return False
        self.record.submit_ms.append((time.perf_counter() - start) * 1000)
        self.record.submitted.append((self.email, task.pk))
        self.record.drafts.pop((self.email, task.pk), None)
        self._go_on(headers["x-show"], Task.read(html), self.record.submit_ms[-1])
        return True

    def _go_on(self, how: str, found: Task | None, waited: float) -> None:
        """Show what the answer to a submit says; "next" is done when a form is there to be read."""
        self.shown, self.ahead = (self.ahead, found) if how == "ahead" else (found, None)
        if self.shown:
            self.record.next_ms.append(waited)

    def _kept(self, task: Task) -> dict[str, str]:
        return {**task.slip_fields(), "ahead": str(self.ahead.pk) if self.ahead else ""}

    async def _asked(self, request: Callable[[], Awaitable[Answer]]) -> Answer:
        """The answer; with `retry`, asked for again while the server is away or fails, for two minutes at most."""
        for _ in range(240 if self.retry else 1):
            try:
                async with asyncio.timeout(30):
                    answer = await request()
                if answer[0] < 500 or not self.retry:
                    return answer
            except (OSError, TimeoutError, asyncio.IncompleteReadError):
                self.browser.drop()
                if not self.retry:
                    raise
            await asyncio.sleep(0.5)
        raise TimeoutError(f"{self.email}: the server did not come back")


def _found(pattern: re.Pattern[str], html: str) -> str:
    match = pattern.search(html)
    if match is None:
        raise RuntimeError(f"The page has no {pattern.pattern}")
    return match[1]
