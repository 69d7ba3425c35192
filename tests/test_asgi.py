"""The door: which bodies get in, and where they are put."""

import asyncio
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.test import Client
from django.utils import timezone
from pytest_django.fixtures import Settings

from labelapp.models import Membership, Project, Role, User

LARGE = settings.DATA_UPLOAD_MAX_MEMORY_SIZE + 1
UPLOAD = "/projects/garden-helper/imports/new/"
OPEN_FILES = Path("/proc/self/fd")

SignIn = Callable[[User], Client]


@pytest.fixture(autouse=True)
def _other_tests_keep_their_temporary_files(monkeypatch: pytest.MonkeyPatch) -> None:
    """The door moves those of its process, which is the tests' own here."""
    monkeypatch.setattr(tempfile, "tempdir", tempfile.tempdir)


def ask(path: str, headers: dict[str, str], body: Iterable[bytes] = ()) -> tuple[int, str]:
    """One POST through the door; returns status and text."""
    from labelapp.asgi import application

    scope = {
        **{"type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "POST", "scheme": "http"},
        **{"path": path, "raw_path": path.encode(), "query_string": b"", "root_path": ""},
        **{"server": ("testserver", 80), "client": ("127.0.0.1", 1)},
        "headers": [(name.encode(), value.encode()) for name, value in {"host": "testserver", **headers}.items()],
    }
    sent: list[dict[str, Any]] = []
    asked = chain(({"body": chunk, "more_body": True} for chunk in body), [{"more_body": False}])

    async def receive() -> dict[str, Any]:
        if message := next(asked, None):
            return {"type": "http.request", **message}
        await asyncio.sleep(60)
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        sent.append(message)

    # In a thread of its own: browser tests of the same session leave a running loop in this one.
    with ThreadPoolExecutor(1) as pool:
        pool.submit(asyncio.run, application(scope, receive, send)).result()
    return sent[0]["status"], b"".join(message.get("body", b"") for message in sent[1:]).decode()


def headers_of(client: Client, length: int = LARGE) -> dict[str, str]:
    cookie = "sessionid=" + client.cookies["sessionid"].value
    return {"content-length": str(length), "cookie": cookie, "content-type": "text/plain"}


@pytest.mark.parametrize("path", ["/accounts/login/", "/label/1/submit/", UPLOAD, UPLOAD + "x"])
def test_a_large_body_of_a_stranger_is_refused_unread(db: None, path: str) -> None:
    status, words = ask(path, {"content-length": str(LARGE)})
    assert status == 413
    assert "too large" in words


@pytest.mark.parametrize("length", [{}, {"content-length": "3"}])
def test_a_body_in_chunks_is_refused_whatever_its_length_is_said_to_be(length: dict[str, str]) -> None:
    assert ask("/accounts/login/", {"transfer-encoding": "chunked", **length})[0] == 411


@pytest.mark.parametrize("length", ["many", "-1", "", "1.5", "+3", "1_0", "9" * 5000])
def test_a_length_that_is_no_number_of_bytes_is_refused(length: str) -> None:
    status, words = ask("/accounts/login/", {"content-length": length})
    assert status == 400
    assert "whole number of bytes" in words


@pytest.mark.parametrize("cookie", ["sessionid=x", "sessionid=" + "x" * 32, "other=1", "sessionid"])
def test_a_forged_session_uploads_nothing(db: None, cookie: str) -> None:
    assert ask(UPLOAD, {"content-length": str(LARGE), "cookie": cookie})[0] == 413


@pytest.mark.django_db(transaction=True)
def test_an_admin_gets_through_to_the_import_page_alone(client_of: SignIn, omar: User) -> None:
    headers = headers_of(client_of(omar))
    assert ask("/label/1/submit/", headers)[0] == 413
    assert ask(UPLOAD, headers)[0] == 403  # Django's own answer: the form's token is missing


@pytest.mark.django_db(transaction=True)
def test_nobody_else_who_is_signed_in_gets_through(client_of: SignIn, stan: User, lena: User, rita: User) -> None:
    for user in (stan, lena, rita):
        status, words = ask(UPLOAD, headers_of(client_of(user)))
        assert status == 413
        assert "signed in as an admin of the project" in words


@pytest.mark.django_db(transaction=True)
def test_an_admin_uploads_to_no_project_of_others(client_of: SignIn, omar: User) -> None:
    Project.objects.create(name="Other", slug="other")
    headers = headers_of(client_of(omar))
    assert ask("/projects/other/imports/new/", headers)[0] == 413
    assert ask("/projects/none/imports/new/", headers)[0] == 413


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("way", ["ended", "lowered", "deactivated", "new password", "signed out"])
def test_an_admin_who_is_none_any_more_uploads_nothing(client_of: SignIn, omar: User, way: str) -> None:
    client = client_of(omar)
    headers = headers_of(client)
    match way:
        case "ended":
            Membership.objects.filter(user=omar).update(ended_at=timezone.now())
        case "lowered":
            Membership.objects.filter(user=omar).update(role=Role.REVIEWER)
        case "deactivated":
            User.objects.filter(pk=omar.pk).update(is_active=False)
        case "new password":
            omar.set_password("another horse")
            omar.save()
        case "signed out":
            client.logout()
    assert ask(UPLOAD, headers)[0] == 413


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("megabytes", [3, 5])
def test_an_upload_has_a_limit_that_is_named(client_of: SignIn, omar: User, settings: Settings, megabytes: int) -> None:
    settings.UPLOAD_LIMIT = megabytes * 1024**2
    client = client_of(omar)
    assert ask(UPLOAD, headers_of(client, settings.UPLOAD_LIMIT))[0] == 403
    status, words = ask(UPLOAD, headers_of(client, settings.UPLOAD_LIMIT + 1))
    assert status == 413
    assert f"up to {megabytes} MB" in words


@pytest.mark.django_db(transaction=True)
def test_a_small_body_passes() -> None:
    assert ask("/accounts/login/", {"content-length": "3", "content-type": "text/plain"}, [b"a=b"])[0] == 403


def test_temporary_files_of_the_web_process_stand_in_the_folder_of_uploads() -> None:
    asking = "import tempfile, labelapp.asgi; print(tempfile.gettempdir())"
    said = subprocess.check_output([sys.executable, "-c", asking], cwd=settings.BASE_DIR, text=True)
    assert said.strip() == str(settings.FILE_UPLOAD_TEMP_DIR)


def _open_files() -> Iterator[str]:
    for descriptor in OPEN_FILES.iterdir():
        with suppress(OSError):
            yield str(descriptor.readlink())


@pytest.mark.django_db(transaction=True)
@pytest.mark.skipif(not OPEN_FILES.exists(), reason="open files are listed on Linux")
def test_a_body_too_large_for_memory_is_a_temporary_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    size = settings.FILE_UPLOAD_MAX_MEMORY_SIZE + 1
    put: list[str] = []

    def body() -> Iterator[bytes]:
        monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
        yield b"x" * size
        put.extend(name for name in _open_files() if name.startswith(str(tmp_path)))

    ask("/accounts/login/", {"content-length": str(size), "content-type": "text/plain"}, body())
    assert put
