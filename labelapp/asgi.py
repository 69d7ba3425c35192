"""The door for uvicorn. Django stores a request's whole body before any view runs, so its size is checked here."""

import os
import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from asgiref.sync import sync_to_async
from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "labelapp.settings")
django_application = get_asgi_application()

from django.conf import settings  # noqa: E402 (the models below need Django to be set up)
from django.contrib.sessions.models import Session  # noqa: E402
from django.db import connection  # noqa: E402
from django.http.cookie import parse_cookie  # noqa: E402
from django.utils import timezone  # noqa: E402

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Mapping[str, Any]], Awaitable[None]]

UPLOAD_PATH = re.compile(r"/projects/[\w-]+/imports/new/")
"""The one page that takes large bodies; it streams them on."""


async def application(scope: Scope, receive: Receive, send: Send) -> None:
    """Pass a request on to Django when its body is of a size that its page may take, else answer it here."""
    headers = dict(scope["headers"])
    length = headers.get(b"content-length")
    if length is None and headers.get(b"transfer-encoding"):
        await _refuse(send, 411, "Send the length of the body (Content-Length).")
    elif int(length or 0) > settings.DATA_UPLOAD_MAX_MEMORY_SIZE and not await _may_upload(scope, headers):
        await _refuse(send, 413, "This is too large. Large files go through a project's import page, signed in.")
    else:
        await django_application(scope, receive, send)


async def _may_upload(scope: Scope, headers: dict[bytes, bytes]) -> bool:
    if not UPLOAD_PATH.fullmatch(scope["path"]):
        return False
    key = parse_cookie(headers.get(b"cookie", b"").decode("latin-1")).get(settings.SESSION_COOKIE_NAME, "")
    return await sync_to_async(_session_lives)(key)


def _session_lives(key: str) -> bool:
    try:
        return Session.objects.filter(session_key=key, expire_date__gt=timezone.now()).exists()
    finally:
        connection.close()  # no request has begun whose end would give it back to the pool


async def _refuse(send: Send, status: int, words: str) -> None:
    body = words.encode() + b"\n"
    headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": [*headers, (b"connection", b"close")]})
    await send({"type": "http.response.body", "body": body})
