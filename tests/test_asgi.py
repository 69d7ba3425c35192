import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.conf import settings
from django.test import Client

from labelapp.asgi import application
from labelapp.models import User

LARGE = settings.DATA_UPLOAD_MAX_MEMORY_SIZE + 1
UPLOAD = "/projects/garden-helper/imports/new/"


def ask(path: str, headers: dict[str, str], body: bytes = b"") -> tuple[int, str]:
    """One POST through the door; returns status and text. A body that is asked for is all there at once."""
    scope = {
        **{"type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "POST", "scheme": "http"},
        **{"path": path, "raw_path": path.encode(), "query_string": b"", "root_path": ""},
        **{"server": ("testserver", 80), "client": ("127.0.0.1", 1)},
        "headers": [(name.encode(), value.encode()) for name, value in {"host": "testserver", **headers}.items()],
    }
    sent: list[dict[str, Any]] = []
    asked = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive() -> dict[str, Any]:
        if asked:
            return asked.pop()
        await asyncio.sleep(60)
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        sent.append(message)

    # In a thread of its own: browser tests of the same session leave a running loop in this one.
    with ThreadPoolExecutor(1) as pool:
        pool.submit(asyncio.run, application(scope, receive, send)).result()
    return sent[0]["status"], b"".join(message.get("body", b"") for message in sent[1:]).decode()


@pytest.mark.parametrize("path", ["/accounts/login/", "/label/1/submit/", UPLOAD, UPLOAD + "x"])
def test_a_large_body_of_a_stranger_is_refused_unread(db: None, path: str) -> None:
    status, words = ask(path, {"content-length": str(LARGE)})
    assert status == 413
    assert "too large" in words


def test_a_body_without_a_length_is_refused() -> None:
    assert ask("/accounts/login/", {"transfer-encoding": "chunked"})[0] == 411


def test_a_forged_session_uploads_nothing(db: None) -> None:
    assert ask(UPLOAD, {"content-length": str(LARGE), "cookie": "sessionid=x"})[0] == 413


@pytest.mark.django_db(transaction=True)
def test_someone_signed_in_gets_through_to_the_import_page_alone(
    client_of: Callable[[User], Client], stan: User
) -> None:
    cookie = "sessionid=" + client_of(stan).cookies["sessionid"].value
    headers = {"content-length": str(LARGE), "cookie": cookie, "content-type": "text/plain"}
    assert ask("/label/1/submit/", headers)[0] == 413
    assert ask(UPLOAD, headers)[0] == 403  # Django's own answer: the form's token is missing


@pytest.mark.django_db(transaction=True)
def test_a_small_body_passes() -> None:
    assert ask("/accounts/login/", {"content-length": "3", "content-type": "text/plain"}, b"a=b")[0] == 403
