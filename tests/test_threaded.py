"""Requests on a few threads: answered, refused, failed, streamed and abandoned."""

import asyncio
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.urls import path

from labelapp.threaded import ThreadedHandler

closed = list[str]()


def plain(request: HttpRequest) -> HttpResponse:
    return HttpResponse(request.body.upper())


def failing(request: HttpRequest) -> HttpResponse:
    raise ValueError("out of ink")


async def _pieces() -> AsyncIterator[bytes]:
    try:
        for piece in (b"one ", b"two"):
            yield piece
            await asyncio.sleep(0.2)
    finally:
        closed.append("stream")


def streaming(request: HttpRequest) -> StreamingHttpResponse:
    return StreamingHttpResponse(_pieces())


urlpatterns = [path("plain/", plain), path("failing/", failing), path("streaming/", streaming)]


def ask(url: str, body: bytes = b"", *, leaves_after: float = 30) -> tuple[int, bytes]:
    """Status and body of one request, whose sender goes after so many seconds."""
    scope = {
        **{"type": "http", "method": "POST", "path": url, "raw_path": url.encode(), "query_string": b"", "headers": []},
        **{"server": ("testserver", 80), "client": ("127.0.0.1", 1), "scheme": "http"},
    }
    sent, asked = list[Any](), iter([{"type": "http.request", "body": body, "more_body": False}])

    async def receive() -> dict[str, Any]:
        if message := next(asked, None):
            return message
        await asyncio.sleep(leaves_after)
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        sent.append(message)

    with ThreadPoolExecutor(1) as pool:
        pool.submit(asyncio.run, ThreadedHandler(2)(scope, receive, send)).result()
    return sent[0]["status"], b"".join(message.get("body", b"") for message in sent[1:])


@pytest.fixture(autouse=True)
def _bare(settings: Any) -> None:
    settings.ROOT_URLCONF = __name__
    settings.MIDDLEWARE = []
    closed.clear()


def test_a_request_is_answered() -> None:
    assert ask("/plain/", b"ink") == (200, b"INK")


def test_a_failing_view_is_a_server_error() -> None:
    assert ask("/failing/")[0] == 500


def test_a_stream_is_sent_piece_by_piece_and_closed() -> None:
    assert ask("/streaming/") == (200, b"one two")
    assert closed == ["stream"]


def test_a_stream_ends_when_nobody_is_there_any_more() -> None:
    assert ask("/streaming/", leaves_after=0.05) == (200, b"one ")
    assert closed == ["stream"]
