"""What the trainer writes into a folder, read while it writes."""

import json
import os
from pathlib import Path
from typing import Any

from labelapp.errors import DomainError
from trainer.records import LOG, REQUEST, Request

READ_LIMIT = 1 << 20
TAIL_BYTES = 16_384
TAIL_LINES = 30


def lines_read(path: Path, offset: int, limit_bytes: int = READ_LIMIT) -> tuple[list[dict[str, Any]], int]:
    """The complete JSON lines from a place on, about `limit_bytes` of them, and the place after the last one.

    A file that is not there yet has none. Raises DomainError when a complete line is no JSON object.
    """
    try:
        with path.open("rb") as file:
            file.seek(offset)
            content = file.read(limit_bytes)
            if len(content) == limit_bytes and b"\n" not in content:
                content += file.readline()
    except FileNotFoundError:
        return [], offset
    complete = content[: content.rfind(b"\n") + 1]
    try:
        lines = [json.loads(line) for line in complete.splitlines()]
    except ValueError as error:
        raise DomainError(f"{path} is damaged somewhere after byte {offset}: {error}.") from error
    return lines, offset + len(complete)


def request_write(folder: Path, request: Request) -> Path:
    """Write down what the trainer is to do in a folder, whole or not at all."""
    folder.mkdir(parents=True, exist_ok=True)
    path, aside = folder / REQUEST, folder / f"{REQUEST}.{os.getpid()}"
    aside.write_text(json.dumps(request, ensure_ascii=False, indent=1, sort_keys=True))
    aside.replace(path)
    return path


def log_tail(folder: Path, *, start: int = 0, lines: int = TAIL_LINES) -> str:
    """The last lines of what the trainer said for people, from the byte `start` on, as the database can hold them."""
    path = folder / LOG
    if not path.exists():
        return ""
    with path.open("rb") as file:
        file.seek(max(start, path.stat().st_size - TAIL_BYTES))
        text = file.read().decode(errors="replace").replace("\x00", "\ufffd")
    # A progress bar draws itself again and again on one line; its last state is what a screen would show.
    shown = [line.rstrip("\r").rsplit("\r", 1)[-1] for line in text.split("\n")]
    return "\n".join([line for line in shown if line.strip()][-lines:])
