"""What a prompt says, its identity, and its split. Pure: needs no database."""

import hashlib
import json
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

Split = Literal["train", "validation", "test"]
Message = dict[str, str]
VALIDATION_FROM, TEST_FROM = 0.90, 0.95


@dataclass(frozen=True, slots=True)
class PromptContent:
    """A prompt as it came in: messages of {role, content}, ending with a user turn, and what is known about them.

    `written_by` is the annotator, by id, who wrote it here, and `written_as` how (Prompt.WrittenAs).
    """

    messages: list[Message]
    external_id: str = ""
    source: str = ""
    author: str = ""
    language: str = ""
    sensitivity: list[str] = field(default_factory=list)
    tags: list[str] = field(default_factory=list)
    written_by: int | None = None
    written_as: str = ""


def content_hash(messages: Sequence[Message]) -> str:
    """SHA-256 (hex) of the canonical JSON of roles and contents.

    Contents count in Unicode's composed form (NFC) and without trailing white space; nothing else is evened out.
    """
    said = [[message["role"], unicodedata.normalize("NFC", message["content"]).rstrip()] for message in messages]
    return hashlib.sha256(json.dumps(said, ensure_ascii=False, separators=(",", ":")).encode()).hexdigest()


def split_of(salt: str, key: str) -> Split:
    """The split of an author, or of a prompt that has none: 90 % train, 5 % validation, 5 % test.

    The same salt and key give the same split for ever.
    """
    digest = hashlib.sha256(f"{salt}{key}".encode()).digest()
    share = int.from_bytes(digest[:8], "big") / 2**64
    if share < VALIDATION_FROM:
        return "train"
    return "validation" if share < TEST_FROM else "test"
