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


class Browser:
    """One keep-alive connection with cookies; HTTP/1.1, bodies with a length only."""

    def __init__(self, host: str, port: int) -> None:
        self.host, self.port = host, port
        self.cookies: dict[str, str] = {}
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def get(self, path: str) -> Answer:
        """Status, headers and body."""
        return await self._request("GET", path, b"")

    async def post(self, path: str, fields: dict[str, str]) -> Answer:
        """Status, headers and body of a posted form."""
        return await self._request("POST", path, urlencode(fields).encode())

    def drop(self) -> None:
        """Forget the connection, as after a fault."""
        if self._streams:
            self._streams[1].close()
        self._streams = None

    async def _request(self, method: str, path: str, body: bytes) -> Answer:
        """Ask on the open connection; one that the server closed while it was idle is opened again once."""
        if self._streams is not None:
            with suppress(ConnectionError):
                return await self._exchange(*self._streams, method, path, body)
        self._streams = await asyncio.open_connection(self.host, self.port)
        return await self._exchange(*self._streams, method, path, body)

    async def _exchange(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, method: str, path: str, body: bytes
    ) -> Answer:
        cookies = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        head = (
            f"{method} {path} HTTP/1.1\r\nHost: {self.host}:{self.port}\r\nCookie: {cookies}\r\n"
            f"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {len(body)}\r\n"
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
    """A task as the page gave it."""

    pk: int
    slip: str
    letters: str

    def answer(self) -> dict[str, str]:
        """A complete judgement: the order shown, all rated 4; of two, the first by far."""
        return {
            "ranking": " ".join(self.letters),
            "preference": "1",
            **{f"likert-{letter}": "4" for letter in self.letters},
        }


class Labeler:
    """One person at their browser. With `retry`, every request is repeated until the server answers it."""

    def __init__(
        self, email: str, password: str, *, slug: str, host: str, port: int, record: Record, retry: bool = False
    ) -> None:
        self.email, self.password, self.slug, self.record, self.retry = email, password, slug, record, retry
        self.browser = Browser(host, port)
        self.token = ""
        self.may_come_back = False

    async def sign_in(self) -> None:
        """Through the sign-in page, as everybody. Raises RuntimeError when it is refused."""
        _, _, html = await self._asked(lambda: self.browser.get("/accounts/login/"))
        fields = {"login": self.email, "password": self.password, "csrfmiddlewaretoken": _found(TOKEN, html)}
        status, _, _ = await self._asked(lambda: self.browser.post("/accounts/login/", fields))
        if status != 302:
            raise RuntimeError(f"{self.email} could not sign in: {status}")

    async def next_task(self) -> Task | None:
        """The next task, or None when there is none."""
        start = time.perf_counter()
        status, _, html = await self._asked(lambda: self.browser.get(f"/projects/{self.slug}/label/"))
        self.record.next_ms.append((time.perf_counter() - start) * 1000)
        action = ACTION.search(html)
        if status != 200:
            self.record.errors.append(f"next: {status}")
        self.may_come_back = action is None and "may come back" in html
        if action is None:
            return None
        self.token = _found(TOKEN, html)
        return Task(pk=int(action[1]), slip=_found(SLIP, html), letters=_found(LETTERS, html))

    async def draft(self, task: Task, ranking: str, revision: int) -> None:
        """Save a draft and note what the server called saved."""
        fields = {"ranking": ranking, "revision": str(revision), **self._slip(task)}
        status, _, _ = await self._asked(lambda: self.browser.post(f"/label/{task.pk}/draft/", fields))
        if status == 200:
            self.record.drafts[self.email, task.pk] = ranking
        elif not (status == 409 and self.retry):  # a repeat of what was saved before the connection broke
            self.record.errors.append(f"draft: {status}")

    async def submit(self, task: Task) -> bool:
        """Submit and note the acknowledgement."""
        start = time.perf_counter()
        fields = {**task.answer(), **self._slip(task), "active_seconds": "1", "paid_seconds": "1"}
        status, _, _ = await self._asked(lambda: self.browser.post(f"/label/{task.pk}/submit/", fields))
        self.record.submit_ms.append((time.perf_counter() - start) * 1000)
        if status == 302:
            self.record.submitted.append((self.email, task.pk))
            self.record.drafts.pop((self.email, task.pk), None)
            return True
        self.record.errors.append(f"submit: {status}")
        return False

    def _slip(self, task: Task) -> dict[str, str]:
        return {"seating": task.slip, "csrfmiddlewaretoken": self.token}

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
