"""Artifacts as downloads, under both kinds of server."""

import asyncio
from typing import Any

import pytest
from django.core.handlers.asgi import ASGIRequest
from django.http import StreamingHttpResponse
from django.test import AsyncRequestFactory, RequestFactory

from labelapp.artifacts.blobs import BLOCK
from labelapp.artifacts.responses import artifact_response
from labelapp.artifacts.services import artifact_localise, artifact_write
from labelapp.errors import DomainError
from labelapp.models import Artifact, Project

CONTENT = b"pears " * BLOCK


@pytest.fixture
def artifact(project: Project) -> Artifact:
    return artifact_write(chunks=[CONTENT], project=project, kind=Artifact.Kind.REJECTS, name='grün "x".jsonl')


async def _collect(response: StreamingHttpResponse) -> list[bytes]:
    stream: Any = response.streaming_content
    return [chunk async for chunk in stream]


def test_asgi_streams_in_blocks(artifact: Artifact) -> None:
    request = AsyncRequestFactory().get("/")
    assert isinstance(request, ASGIRequest)
    response = artifact_response(request, artifact)
    chunks = asyncio.run(_collect(response))
    assert b"".join(chunks) == CONTENT
    assert max(map(len, chunks)) == BLOCK
    assert response.headers["Content-Length"] == str(len(CONTENT))


@pytest.mark.parametrize("factory", [RequestFactory(), AsyncRequestFactory()])
def test_it_is_a_download_and_no_page(factory: RequestFactory, artifact: Artifact) -> None:
    response = artifact_response(factory.get("/"), artifact)
    assert response.headers["Content-Type"] == "application/octet-stream"
    assert response.headers["Content-Disposition"].startswith("attachment; filename")
    response.close()


def test_wsgi_gives_the_same_content(artifact: Artifact) -> None:
    response = artifact_response(RequestFactory().get("/"), artifact)
    assert b"".join(response) == CONTENT


def test_a_missing_file_is_said_before_anything_is_sent(artifact: Artifact) -> None:
    artifact_localise(artifact).unlink()
    with pytest.raises(DomainError, match="is missing"):
        artifact_response(RequestFactory().get("/"), artifact)
