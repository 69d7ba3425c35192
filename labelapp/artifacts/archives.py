"""Folders as downloads: one tar file, made while it is sent."""

import tarfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

from asgiref.sync import sync_to_async
from django.core.handlers.asgi import ASGIRequest
from django.http import HttpRequest, StreamingHttpResponse
from django.utils.http import content_disposition_header

from labelapp.artifacts.blobs import BLOCK
from labelapp.artifacts.services import artifact_localise
from labelapp.errors import DomainError
from labelapp.models import Artifact

CONTENT_TYPE = "application/x-tar"
UNIT = 512
"""Everything in a tar file begins at a multiple of this; two empty units end it."""


def folder_response(request: HttpRequest, artifact: Artifact) -> StreamingHttpResponse:
    """A folder's content as a tar file, in constant memory. Raises DomainError when it is gone, or no folder."""
    if not artifact.is_folder:
        raise DomainError(f"“{artifact.name}” is a file, not a folder.")
    folder = artifact_localise(artifact)
    members = [(_header(path, folder, artifact.name), path) for path in sorted(folder.rglob("*")) if path.is_file()]
    size = sum(len(header) + _padded(path.stat().st_size) for header, path in members) + 2 * UNIT
    disposition = content_disposition_header(as_attachment=True, filename=f"{artifact.name}.tar") or "attachment"
    headers = {"Content-Disposition": disposition, "Content-Length": str(size)}
    blocks = _blocks(members)
    # Under ASGI an iterator that is not asynchronous would be read into memory whole before its first byte is sent.
    content = _sent(blocks) if isinstance(request, ASGIRequest) else blocks
    return StreamingHttpResponse(content, content_type=CONTENT_TYPE, headers=headers)


def _header(path: Path, folder: Path, name: str) -> bytes:
    """What stands before a file. The same content gives the same bytes."""
    member = tarfile.TarInfo(f"{name}/{path.relative_to(folder).as_posix()}")
    member.size = path.stat().st_size
    return member.tobuf(tarfile.PAX_FORMAT)


def _blocks(members: list[tuple[bytes, Path]]) -> Iterator[bytes]:
    for header, path in members:
        yield header
        size = 0
        with path.open("rb") as file:
            while block := file.read(BLOCK):
                size += len(block)
                yield block
        yield bytes(_padded(size) - size)
    yield bytes(2 * UNIT)


async def _sent(blocks: Iterator[bytes]) -> AsyncIterator[bytes]:
    def following() -> bytes | None:
        return next(blocks, None)

    while (block := await sync_to_async(following)()) is not None:
        yield block


def _padded(size: int) -> int:
    return -(-size // UNIT) * UNIT
