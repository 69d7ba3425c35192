"""The door for uvicorn. Django stores a request's whole body before any view runs, so its size is checked here."""

import os
import re
import tempfile

import django
from asgiref.sync import sync_to_async

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "labelapp.settings")
django.setup(set_prefix=False)

from django.conf import settings  # noqa: E402 (the models below need Django to be set up)
from django.contrib.auth import get_user  # noqa: E402
from django.contrib.sessions.backends.db import SessionStore  # noqa: E402
from django.db import connection  # noqa: E402
from django.http import Http404, HttpRequest  # noqa: E402
from django.http.cookie import parse_cookie  # noqa: E402
from django.template.loader import get_template  # noqa: E402
from django.urls import reverse  # noqa: E402

from labelapp.accounts.access import membership_for  # noqa: E402
from labelapp.errors import DeniedError  # noqa: E402
from labelapp.models import Role  # noqa: E402
from labelapp.threaded import Receive, Scope, Send, ThreadedHandler  # noqa: E402

# What the first request of each process would wait for: all pages are imported, the labeling page is parsed.
reverse("home")
for page in ("labeling/task.html", "labeling/form.html"):
    get_template(page)

# Django stores a body wherever Python puts temporary files; there is no setting for it.
tempfile.tempdir = str(settings.FILE_UPLOAD_TEMP_DIR)

django_application = ThreadedHandler(settings.REQUEST_THREADS)

UPLOAD_PATH = re.compile(r"/projects/([\w-]+)/imports/new/")
"""The one page that takes large bodies."""
LENGTH = re.compile(rb"[0-9]{1,18}")


async def application(scope: Scope, receive: Receive, send: Send) -> None:
    """Pass a request on to Django when its body is of a size that its page may take, else answer it here."""
    headers = dict(scope["headers"])
    length = headers.get(b"content-length", b"0")
    if b"transfer-encoding" in headers:
        await _refuse(send, 411, "Send the length of the body (Content-Length), and the body in one piece.")
    elif not LENGTH.fullmatch(length):
        await _refuse(send, 400, "The length of the body (Content-Length) must be a whole number of bytes.")
    elif refusal := await _too_large(scope, headers, int(length)):
        await _refuse(send, 413, refusal)
    else:
        await django_application(scope, receive, send)


async def _too_large(scope: Scope, headers: dict[bytes, bytes], length: int) -> str:
    """Say why a body of this length is not taken; nothing when it is."""
    upload = UPLOAD_PATH.fullmatch(scope["path"])
    if upload and length > settings.UPLOAD_LIMIT:
        megabytes = settings.UPLOAD_LIMIT // 1024**2
        return f"This file is too large: the site takes up to {megabytes} MB. Split it, or import it on the server."
    if length <= settings.DATA_UPLOAD_MAX_MEMORY_SIZE:
        return ""
    key = parse_cookie(headers.get(b"cookie", b"").decode("latin-1")).get(settings.SESSION_COOKIE_NAME, "")
    if upload and await sync_to_async(_may_import)(key, upload[1]):
        return ""
    return "This is too large. Large files go through a project's import page, signed in as an admin of the project."


def _may_import(session_key: str, slug: str) -> bool:
    """Whether the session is of somebody who administers the project, as the page itself will ask."""
    request = HttpRequest()
    request.session = SessionStore(session_key)
    try:
        membership_for(get_user(request), slug, at_least=Role.ADMIN)
    except (Http404, DeniedError):
        return False
    else:
        return True
    finally:
        connection.close()  # no request has begun whose end would give it back to the pool


async def _refuse(send: Send, status: int, words: str) -> None:
    body = words.encode() + b"\n"
    headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": [*headers, (b"connection", b"close")]})
    await send({"type": "http.response.body", "body": body})
