"""The import format: one JSON object per line, read into typed rows. Pure: needs neither settings nor database.

`docs/import.md` describes the fields to people.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NoReturn

from labelapp.accounts.languages import language_parse
from labelapp.datasets.fields import (
    LARGEST_INTEGER,
    RowError,
    read_choice,
    read_json,
    read_list,
    read_name,
    read_object,
    read_optional_name,
    read_text,
    read_whole,
    read_words,
    shown,
)
from labelapp.datasets.judgements import Judgement, JudgementReader
from labelapp.generation.content import HUMAN
from labelapp.prompts.content import Message, PromptContent

ROW_FIELDS = (
    *("id", "prompt", "messages", "source", "author", "language", "sensitivity", "tags"),
    *("completions", "rankings", "preferences", "ratings", "demonstrations"),
)
MESSAGE_FIELDS = ("role", "content")
ROLES = ("system", "user", "assistant")
COMPLETION_FIELDS = ("id", "text", "model", "sampling", "seed")
DEMONSTRATION_FIELDS = ("annotator", "text")
LANGUAGE_LIMIT = 20


@dataclass(frozen=True, slots=True)
class CompletionRow:
    """An answer to the row's prompt. `id` is "" where the row gives none."""

    id: str
    text: str
    model: str
    sampling: dict[str, object]
    seed: int | None


@dataclass(frozen=True, slots=True)
class DemonstrationRow:
    """The answer that an annotator would want."""

    annotator: str
    text: str


@dataclass(frozen=True, slots=True)
class Row:
    """One line of an import file, checked."""

    prompt: PromptContent
    completions: list[CompletionRow]
    judgements: list[Judgement]
    demonstrations: list[DemonstrationRow]


def row_parse(line: bytes) -> Row:
    """Read one line. Raises RowError, and nothing else, when it cannot be imported."""
    fields = read_object(json_load(line), "", ROW_FIELDS)
    prompt = PromptContent(
        messages=_messages(fields),
        external_id=read_optional_name(fields.get("id"), "id"),
        source=read_optional_name(fields.get("source"), "source"),
        author=read_optional_name(fields.get("author"), "author"),
        language=_language(fields.get("language")),
        sensitivity=sorted({word.lower() for word in read_words(fields.get("sensitivity"), "sensitivity")}),
        tags=read_words(fields.get("tags"), "tags"),
    )
    completions = _completions(fields.get("completions"))
    labels = JudgementReader([(completion.id, completion.text) for completion in completions])
    return Row(prompt, completions, labels.read(fields), _demonstrations(fields.get("demonstrations")))


def json_load(line: bytes) -> object:
    """Read a line as JSON in the strict sense: UTF-8, no NaN, no field twice. Raises RowError."""
    try:
        text = line.decode()
    except UnicodeDecodeError as error:
        raise RowError("", f"Byte {error.start + 1} is not UTF-8. Save the file as UTF-8.") from None
    try:
        return DECODER.decode(text)
    except RecursionError:
        raise RowError("", "It is nested too deeply.") from None
    except json.JSONDecodeError as error:
        raise RowError("", f"This is not JSON: {error.msg} at character {error.pos + 1}.") from None
    except ValueError:
        raise RowError("", "It holds a number with thousands of digits.") from None


def _refuse_constant(name: str) -> NoReturn:
    raise RowError("", f"{name} is not JSON. Write null, or leave the field out.")


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    fields = dict(pairs)
    if len(fields) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise RowError("", f"The field “{shown(twice)}” stands twice in one object. Keep one of them.")
    return fields


DECODER = json.JSONDecoder(parse_constant=_refuse_constant, object_pairs_hook=_object)


def _messages(fields: Mapping[str, object]) -> list[Message]:
    """The conversation; a `prompt` is a conversation of one user turn."""
    if fields.get("prompt") is not None and fields.get("messages") is not None:
        raise RowError("prompt", "There are messages as well. Give either prompt or messages.")
    if fields.get("messages") is None:
        if isinstance(fields.get("prompt"), list):
            raise RowError("prompt", "Expected text, found a list. A conversation goes under messages.")
        return [{"role": "user", "content": read_text(fields.get("prompt"), "prompt")}]
    messages = [_message(item, f"messages[{i}]") for i, item in enumerate(read_list(fields["messages"], "messages"))]
    if not messages:
        raise RowError("messages", "It is empty. Give at least one user turn.")
    if messages[-1]["role"] != "user":
        reason = f"The last turn must be the user's; this one is the {messages[-1]['role']}'s."
        raise RowError(f"messages[{len(messages) - 1}].role", f"{reason} Give the answer as a completion.")
    return messages


def _message(item: object, path: str) -> Message:
    fields = read_object(item, path, MESSAGE_FIELDS)
    return {
        "role": read_choice(fields.get("role"), f"{path}.role", ROLES),
        "content": read_text(fields.get("content"), f"{path}.content"),
    }


def _language(value: object) -> str:
    name = read_optional_name(value, "language", limit=LANGUAGE_LIMIT)
    code = language_parse(name) if name else ""
    if code is None:
        raise RowError("language", f"“{shown(name)}” is not a language code. Use one like en or pt-BR.")
    return code


def _completions(value: object) -> list[CompletionRow]:
    completions: list[CompletionRow] = []
    seen: dict[str, int] = {}
    for index, item in enumerate(read_list(value, "completions")):
        completion = _completion(item, f"completions[{index}]")
        if completion.id and seen.setdefault(completion.id, index) != index:
            earlier = f"completions[{seen[completion.id]}] has the id “{shown(completion.id)}” too"
            raise RowError(f"completions[{index}].id", f"{earlier}. Give each completion of the row an id of its own.")
        completions.append(completion)
    return completions


def _completion(item: object, path: str) -> CompletionRow:
    fields = read_object(item, path, COMPLETION_FIELDS)
    if "model" not in fields:
        raise RowError(f"{path}.model", "It is missing. Name the model that wrote this; null says that people did.")
    model = read_optional_name(fields["model"], f"{path}.model")
    seed = fields.get("seed")
    return CompletionRow(
        id=read_optional_name(fields.get("id"), f"{path}.id"),
        text=read_text(fields.get("text"), f"{path}.text"),
        model=HUMAN if model.lower() in ("", HUMAN) else model,
        sampling=read_json(fields.get("sampling"), f"{path}.sampling"),
        seed=None if seed is None else read_whole(seed, f"{path}.seed", -LARGEST_INTEGER, LARGEST_INTEGER),
    )


def _demonstrations(value: object) -> list[DemonstrationRow]:
    demonstrations: dict[str, DemonstrationRow] = {}
    for index, item in enumerate(read_list(value, "demonstrations")):
        path = f"demonstrations[{index}]"
        fields = read_object(item, path, DEMONSTRATION_FIELDS)
        annotator = read_name(fields.get("annotator"), f"{path}.annotator")
        if annotator in demonstrations:
            raise RowError(path, f"“{shown(annotator)}” has a demonstration in this row already. Keep one of them.")
        demonstrations[annotator] = DemonstrationRow(annotator, read_text(fields.get("text"), f"{path}.text"))
    return list(demonstrations.values())
