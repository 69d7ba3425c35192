"""Lines of a plain or gzipped file in constant memory, whatever the file holds."""

import gzip
import io
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Self

LINE_LIMIT = 16 * 1024 * 1024
"""Bytes of a row at the most."""
KEPT_OF_TOO_LONG = 2_000
BLOCK = 1 << 18
DAMAGED = (
    "The compressed file is damaged or ends too early: this line and all that follow are missing. "
    "Make the file again and import it; what is here already is not imported twice."
)
TOO_LONG = f"This line is longer than {LINE_LIMIT // 1024**2} MB. Split it into several rows."
GZIP = b"\x1f\x8b"
UTF8_MARK = b"\xef\xbb\xbf"
FOREIGN = {
    b"PK\x03\x04": "a zip archive: unpack it first",
    b"PAR1": "a Parquet file: write it out as JSON lines",
    b"BZh": "compressed with bzip2: use gzip, or unpack it first",
    b"\xfd7zXZ": "compressed with xz: use gzip, or unpack it first",
    b"\x28\xb5\x2f\xfd": "compressed with zstd: use gzip, or unpack it first",
    b"\xff\xfe": "text in UTF-16: save it as UTF-8",
    b"\xfe\xff": "text in UTF-16: save it as UTF-8",
}
"""How other files begin, and what to do with them."""


class UnreadableFileError(Exception):
    """The file as a whole is not what it should be. The text says what it is, and how to mend it."""


@dataclass(frozen=True, slots=True)
class Line:
    """One line that is not blank: its number from 1, its bytes, and why it cannot be read, or ""."""

    number: int
    content: bytes
    problem: str = ""


class LineReader:
    """Iterates over the lines of a file; use it as a context. `done` of `size` bytes of the file are behind it."""

    def __init__(self, path: Path) -> None:
        self.size = path.stat().st_size
        self._raw = path.open("rb")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._raw.close()

    @property
    def done(self) -> int:
        """Bytes of the file read so far, as they lie on disk."""
        return self._raw.tell()

    def __iter__(self) -> Iterator[Line]:
        """Yield each line but the blank ones. Raises UnreadableFileError for a file of another format."""
        lines = _lines(_unpacked(self._raw))
        number = 0
        while True:
            number += 1
            try:
                content, whole = next(lines)
            except StopIteration:
                return
            except (EOFError, zlib.error, gzip.BadGzipFile):
                yield Line(number, b"", DAMAGED)
                return
            if number == 1:
                content = content.removeprefix(UTF8_MARK)
            if not whole:
                yield Line(number, content, TOO_LONG)
            elif content and not content.isspace():
                yield Line(number, content)


def _unpacked(raw: io.BufferedReader) -> io.BufferedIOBase:
    start = raw.peek(8)
    for magic, what in FOREIGN.items():
        if start.startswith(magic):
            raise UnreadableFileError(f"This file is not JSON lines, it is {what}.")
    # No further buffer around it: that would swallow the last good lines of a truncated file.
    return gzip.GzipFile(fileobj=raw) if start.startswith(GZIP) else raw


def _lines(stream: io.BufferedIOBase) -> Iterator[tuple[bytes, bool]]:
    """Lines without their ends, and whether they are whole; of one that is too long only the beginning."""
    while content := stream.readline(LINE_LIMIT + 1):
        if content.endswith(b"\n") or len(content) <= LINE_LIMIT:
            yield content.rstrip(b"\r\n"), True
            continue
        yield content[:KEPT_OF_TOO_LONG], False
        del content
        while (rest := stream.readline(BLOCK)) and not rest.endswith(b"\n"):
            pass
