"""Folders as downloads, under both kinds of server."""

import asyncio
import io
import tarfile
from typing import Any

import pytest
from django.core.handlers.asgi import ASGIRequest
from django.http import StreamingHttpResponse
from django.test import AsyncRequestFactory, RequestFactory

from labelapp.artifacts.archives import folder_response
from labelapp.artifacts.blobs import BLOCK
from labelapp.artifacts.services import artifact_write
from labelapp.errors import DomainError
from labelapp.models import Artifact, Project
from tests.factories import folder_make

# One that fills units of 512 bytes, one that does not, one of several blocks, one without content, one with a name
# that needs more than one header.
FILES = {"even.txt": "x" * 1024, "odd.txt": "grün", "large.bin": "p" * (BLOCK + 1), "empty.txt": "", "n" * 150: "long"}


@pytest.fixture
def folder(project: Project, settings: Any, tmp_path: Any) -> Artifact:
    settings.ARTIFACT_ROOT = tmp_path
    return folder_make(project, FILES)


async def _collect(response: StreamingHttpResponse) -> bytes:
    stream: Any = response.streaming_content
    return b"".join([chunk async for chunk in stream])


def sent(response: StreamingHttpResponse, *, asynchronous: bool) -> bytes:
    return asyncio.run(_collect(response)) if asynchronous else b"".join(response)


@pytest.mark.parametrize("factory", [RequestFactory(), AsyncRequestFactory()])
def test_a_folder_comes_as_one_file_with_all_of_its_own(folder: Artifact, factory: Any) -> None:
    request = factory.get("/")
    response = folder_response(request, folder)
    content = sent(response, asynchronous=isinstance(request, ASGIRequest))
    assert response.headers["Content-Length"] == str(len(content))
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        found = {member.name: archive.extractfile(member) for member in archive.getmembers()}
        texts = {name: file.read().decode() for name, file in found.items() if file}
    assert texts == {f"weights/{name}": text for name, text in FILES.items()}


def test_the_same_folder_gives_the_same_bytes(folder: Artifact) -> None:
    first, second = (b"".join(folder_response(RequestFactory().get("/"), folder)) for _ in range(2))
    assert first == second


def test_the_download_has_the_name_of_the_folder(folder: Artifact) -> None:
    response = folder_response(RequestFactory().get("/"), folder)
    assert response.headers["Content-Disposition"] == 'attachment; filename="weights.tar"'


def test_a_file_is_no_folder(project: Project, settings: Any, tmp_path: Any) -> None:
    settings.ARTIFACT_ROOT = tmp_path
    file = artifact_write(chunks=[b"x"], project=project, kind=Artifact.Kind.LOG, name="log.txt")
    with pytest.raises(DomainError, match="is a file, not a folder"):
        folder_response(RequestFactory().get("/"), file)
