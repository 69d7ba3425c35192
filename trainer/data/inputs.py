"""The files of prompts and completions that commands read: JSON lines, checked one by one before anything runs."""

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, cast

from trainer.config import option_fields
from trainer.records import CompletionLine, Message, PromptLine
from trainer.runs import InputError, RunFolder

FINISH_REASONS = ("stop", "length", "")
MOST_N = next(int(field.most or 0) for field in option_fields("sample") if field.name == "n")


def prompts_read(path: Path) -> list[PromptLine]:
    """The lines of a file of prompts. Raises InputError that names file, line and field."""
    checks = {"prompt": _number, "messages": _messages, "n": _count}
    return cast(list[PromptLine], _lines(path, checks, key="prompt", optional=("n",)))


def completions_read(path: Path) -> list[CompletionLine]:
    """The lines of a file of completions. Raises InputError that names file, line and field."""
    checks = {"completion": _number, "messages": _messages, "text": _text, "finish_reason": _finish_reason}
    optional = ("finish_reason", "tags")
    return cast(list[CompletionLine], _lines(path, checks | {"tags": _tags}, key="completion", optional=optional))


def file_digest(path: Path) -> str:
    """The SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def unchanged_check(folder: RunFolder, digest: str, path: Path) -> None:
    """Raise InputError when a run is resumed with another content of its file than it began with."""
    if folder.resolved.get("input_sha256", digest) != digest:
        raise InputError(
            f"{path} has changed since this run began. Put the old file back, or choose another --output to begin anew."
        )


Check = Callable[[Any], str | None]


def _lines(path: Path, checks: Mapping[str, Check], *, key: str, optional: tuple[str, ...]) -> list[dict[str, Any]]:
    lines, seen = [], dict[int, int]()
    try:
        texts = path.read_text(encoding="utf-8").split("\n")
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not UTF-8 text: byte {error.start} cannot be read.") from error
    for number, text in enumerate(texts, start=1):
        if not text.strip():
            continue
        where = f"{path}, line {number}"
        line = _line(text, checks, optional, where)
        if line[key] in seen:
            raise InputError(f"{where}, {key}: {line[key]} was there already, in line {seen[line[key]]}.")
        seen[line[key]] = number
        lines.append(line)
    if not lines:
        raise InputError(f"{path} is empty; it needs a JSON object with {', '.join(checks)} in each line.")
    return lines


def _line(text: str, checks: Mapping[str, Check], optional: tuple[str, ...], where: str) -> dict[str, Any]:
    try:
        line = json.loads(text)
    except ValueError as error:
        raise InputError(f"{where}: this is no JSON: {error}.") from error
    if not isinstance(line, dict):
        raise InputError(f"{where}: must be a JSON object with {', '.join(checks)}.")
    for name in line.keys() - checks.keys():
        raise InputError(f"{where}, {name}: is no field of this file; it has {', '.join(checks)}.")
    for name, check in checks.items():
        if name not in line and name not in optional:
            raise InputError(f"{where}, {name}: is missing.")
        if name in line and (problem := check(line[name])) is not None:
            raise InputError(f"{where}, {name}: {problem}")
    return line


def _number(value: Any) -> str | None:
    return None if type(value) is int else f"must be a whole number, not {value!r}."


def _count(value: Any) -> str | None:
    return None if type(value) is int and 1 <= value <= MOST_N else f"must be 1 to {MOST_N}, not {value!r}."


def _text(value: Any) -> str | None:
    if not isinstance(value, str):
        return f"must be a text, not {value!r}."
    try:
        value.encode()
    except UnicodeEncodeError:
        return "holds half a character (a lone surrogate), which no tokenizer reads."
    return None


def _finish_reason(value: Any) -> str | None:
    return None if value in FINISH_REASONS else f"must be stop, length or empty, not {value!r}."


def _tags(value: Any) -> str | None:
    texts = isinstance(value, list) and not any(map(_text, value))
    return None if texts else f"must be a list of texts, not {value!r}."


def _messages(value: Any) -> str | None:
    if not isinstance(value, list) or not value:
        return "must be a list of one message or more."
    for number, message in enumerate(value):
        if not isinstance(message, dict) or message.keys() != Message.__annotations__.keys():
            return f"number {number} must be an object with role and content."
        if not message["role"] or any(_text(text) for text in message.values()):
            return f"role and content of number {number} must be texts that can be written as UTF-8."
    return None
