"""Typed readers of the fields of an import row. Each returns a checked value, or raises RowError with its path."""

import difflib
from collections.abc import Collection, Mapping
from typing import cast

NAME_LIMIT = 200
WORD_LIMIT = 50
WORDS_LIMIT = 50
TEXT_LIMIT = 1_000_000
NESTING_LIMIT = 5
LARGEST_INTEGER = 2**63 - 1
LARGEST_NUMBER = 1e300
KINDS = {
    str: "text",
    bool: "true or false",
    int: "a number",
    float: "a number",
    list: "a list",
    dict: "an object",
    type(None): "null",
}
"""What people call the JSON types."""


class RowError(Exception):
    """A row cannot be imported. `field` is the path to what is wrong ("" for the whole row), `reason` why, and what
    would mend it.
    """

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(f"{field}: {reason}" if field else reason)
        self.field = field
        self.reason = reason


def kind_of(value: object) -> str:
    """The JSON type of a value, as people call it."""
    return KINDS.get(type(value), type(value).__name__)


def read_object(value: object, path: str, known: Collection[str]) -> Mapping[str, object]:
    """An object with no other than the known fields."""
    if not isinstance(value, dict):
        raise RowError(path, f"Expected an object in {{}}, found {kind_of(value)}.")
    for key in value:
        if key not in known:
            raise RowError(_join(path, shown(key)), _unknown(key, known))
    return value


def read_list(value: object, path: str) -> list[object]:
    """A list; missing or null counts as empty."""
    if value is None:
        return []
    if not isinstance(value, list):
        raise RowError(path, f"Expected a list in [], found {kind_of(value)}.")
    return value


def read_text(value: object, path: str, *, limit: int = TEXT_LIMIT) -> str:
    """Text with at least one visible character, at most `limit` characters long."""
    if not isinstance(value, str):
        raise RowError(path, "It is missing." if value is None else f"Expected text, found {kind_of(value)}.")
    check_characters(value, path)
    if not value.strip():
        raise RowError(path, "It is empty. Give it a text, or remove it.")
    if len(value) > limit:
        raise RowError(path, f"It is {len(value):,} characters long; at most {limit:,} are possible. Shorten it.")
    return value


def read_name(value: object, path: str, *, limit: int = NAME_LIMIT) -> str:
    """An id or name: short text, or a whole number, which is taken as text. Surrounding white space is dropped."""
    if isinstance(value, int) and not isinstance(value, bool):
        if abs(value) > LARGEST_INTEGER:
            raise RowError(path, "This number is too large for an id. Write it as text.")
        return str(value)
    return read_text(value, path, limit=limit).strip()


def read_optional_name(value: object, path: str, *, limit: int = NAME_LIMIT) -> str:
    """As `read_name`; missing, null or blank text is the empty text."""
    if value is None or (isinstance(value, str) and not value.strip()):
        return ""
    return read_name(value, path, limit=limit)


def read_words(value: object, path: str) -> list[str]:
    """A list of short words, each once, in alphabetical order."""
    words = read_list(value, path)
    if len(words) > WORDS_LIMIT:
        raise RowError(path, f"There are {len(words):,} of them; at most {WORDS_LIMIT} are possible.")
    return sorted({read_name(word, f"{path}[{index}]", limit=WORD_LIMIT) for index, word in enumerate(words)})


def read_whole(value: object, path: str, low: int, high: int) -> int:
    """A whole number within bounds, both included."""
    if not isinstance(value, int) or isinstance(value, bool):
        raise RowError(path, f"Expected a whole number from {low:,} to {high:,}, found {_found(value)}.")
    if not low <= value <= high:
        raise RowError(path, f"Expected a whole number from {low:,} to {high:,}, found {_short(value)}.")
    return value


def read_choice(value: object, path: str, choices: Collection[str]) -> str:
    """One of a few words."""
    if not isinstance(value, str) or value not in choices:
        raise RowError(path, f"Expected one of {', '.join(choices)}; found {_found(value)}.")
    return value


def read_json(value: object, path: str) -> dict[str, object]:
    """A free-form object that the database can hold; missing or null counts as empty."""
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise RowError(path, f"Expected an object in {{}}, found {kind_of(value)}.")
    _check_storable(value, path, NESTING_LIMIT)
    return cast(dict[str, object], value)


def shown(text: str) -> str:
    """Text as it may stand in a message: printable, at most 40 characters."""
    plain = "".join(character if character.isprintable() else "�" for character in text[:40])
    return plain if len(text) <= 40 else plain + "…"


def check_characters(text: str, path: str) -> None:
    """Refuse what no database text can hold: NUL characters and halves of surrogate pairs."""
    if "\x00" in text:
        raise RowError(path, f"A NUL character (\\u0000) stands at position {text.index(chr(0)) + 1}. Remove it.")
    if text.isascii():
        return
    try:
        text.encode()
    except UnicodeEncodeError as error:
        half = f"\\u{ord(text[error.start]):04x}"
        reason = f"Half a character ({half}, a lone surrogate) stands at position {error.start + 1}. Remove it."
        raise RowError(path, reason) from None


def _check_storable(value: object, path: str, depth: int) -> None:
    if isinstance(value, str):
        check_characters(value, path)
    elif isinstance(value, int | float) and not -LARGEST_NUMBER < value < LARGEST_NUMBER:
        raise RowError(path, "This number is too large.")
    elif isinstance(value, dict | list):
        if not depth:
            raise RowError(path, f"It is nested more than {NESTING_LIMIT} levels deep.")
        if isinstance(value, dict):
            for key in value:
                check_characters(key, path)
        for item in value.values() if isinstance(value, dict) else value:
            _check_storable(item, path, depth - 1)


def _join(path: str, key: str) -> str:
    return f"{path}.{key}" if path else key


def _unknown(key: str, known: Collection[str]) -> str:
    close = difflib.get_close_matches(key[:NAME_LIMIT], known, n=1)
    if close:
        return f"There is no such field. Did you mean {close[0]}?"
    return f"There is no such field here; the fields are {', '.join(known)}. Remove it."


def _found(value: object) -> str:
    return f"“{shown(value)}”" if isinstance(value, str) else _short(value)


def _short(value: object) -> str:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return str(value) if abs(value) < 10**20 else "a very large number"
    return kind_of(value)
