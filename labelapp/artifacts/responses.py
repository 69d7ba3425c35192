"""Artifacts as downloads."""

from collections.abc import AsyncIterator
from pathlib import Path

from asgiref.sync import sync_to_async
from django.core.handlers.asgi import ASGIRequest
from django.http import FileResponse, HttpRequest, StreamingHttpResponse
from django.utils.http import content_disposition_header

from labelapp.artifacts.blobs import BLOCK
from labelapp.artifacts.services import artifact_localise
from labelapp.errors import DomainError
from labelapp.models import Artifact

CONTENT_TYPE = "application/octet-stream"


def artifact_response(request: HttpRequest, artifact: Artifact) -> StreamingHttpResponse:
    """The content as a download, in constant memory. Raises DomainError when it is gone, damaged, or a
    folder.
    """
    if artifact.is_folder:
        raise DomainError(f"“{artifact.name}” is a folder, not a file; it cannot be downloaded as one.")
    path = artifact_localise(artifact)
    if not isinstance(request, ASGIRequest):
        return FileResponse(path.open("rb"), as_attachment=True, filename=artifact.name, content_type=CONTENT_TYPE)
    # Under ASGI a FileResponse would be read into memory whole before its first byte is sent.
    disposition = content_disposition_header(as_attachment=True, filename=artifact.name) or "attachment"
    headers = {"Content-Disposition": disposition, "Content-Length": str(artifact.size)}
    return StreamingHttpResponse(_blocks(path), content_type=CONTENT_TYPE, headers=headers)


async def _blocks(path: Path) -> AsyncIterator[bytes]:
    file = await sync_to_async(lambda: path.open("rb"))()
    try:
        while block := await sync_to_async(file.read)(BLOCK):
            yield block
    finally:
        await sync_to_async(file.close)()
