"""The import format: what is read, and what is said about what cannot be."""

import json
import subprocess
import sys
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from labelapp.datasets.fields import NESTING_LIMIT, RowError
from labelapp.datasets.rows import ROW_FIELDS, CompletionRow, DemonstrationRow, Row, row_parse


def parse(**fields: Any) -> Row:
    """A row with these fields, and a prompt where neither prompt nor messages are given."""
    if "prompt" not in fields and "messages" not in fields:
        fields["prompt"] = "How do I prune a pear tree?"
    return row_parse(json.dumps(fields).encode())


def refusal(**fields: Any) -> tuple[str, str]:
    """The field and the reason for which the row is refused."""
    with pytest.raises(RowError) as refused:
        parse(**fields)
    return refused.value.field, refused.value.reason


def refused_line(line: bytes | str) -> RowError:
    with pytest.raises(RowError) as refused:
        row_parse(line if isinstance(line, bytes) else line.encode())
    return refused.value


A = {"id": "a", "text": "In late winter.", "model": "tiny-1"}
TURN = {"role": "user", "content": "Hello"}


def test_a_prompt_is_a_conversation_of_one_turn() -> None:
    prompt = parse(prompt="Why?").prompt
    assert prompt.messages == [{"role": "user", "content": "Why?"}]
    assert (prompt.external_id, prompt.source, prompt.author, prompt.language) == ("", "", "", "")
    assert (prompt.sensitivity, prompt.tags) == ([], [])


def test_everything_about_a_prompt_is_read() -> None:
    prompt = parse(
        id=17, source=" forum ", author="user-3", language="EN-us", sensitivity=["Medical"], tags=["b", "a", "b"]
    ).prompt
    assert (prompt.external_id, prompt.source, prompt.author) == ("17", "forum", "user-3")
    assert (prompt.language, prompt.sensitivity, prompt.tags) == ("en-US", ["medical"], ["a", "b"])


def test_nulls_and_blanks_are_as_if_missing() -> None:
    assert parse(**dict.fromkeys(ROW_FIELDS) | {"prompt": "Why?"}) == parse(prompt="Why?")
    assert parse(id=" ", source="", author="", language="") == parse()


def test_messages_are_kept_as_they_are() -> None:
    messages = [{"role": "system", "content": " Be brief. "}, {"role": "assistant", "content": "Hi"}, TURN]
    assert parse(messages=messages).prompt.messages == messages


def test_completions_are_read() -> None:
    row = parse(completions=[A | {"sampling": {"temperature": 0.7, "stop": ["\n"]}, "seed": -5}])
    assert row.completions == [
        CompletionRow("a", "In late winter.", "tiny-1", {"temperature": 0.7, "stop": ["\n"]}, -5)
    ]


@pytest.mark.parametrize("model", [None, "human", "Human", " "])
def test_people_are_the_model_human(model: str | None) -> None:
    assert parse(completions=[{"text": "Never.", "model": model}]).completions[0].model == "human"


def test_demonstrations_are_read() -> None:
    row = parse(demonstrations=[{"annotator": 4, "text": "In March."}])
    assert row.demonstrations == [DemonstrationRow("4", "In March.")]


def test_a_language_may_be_named() -> None:
    assert parse(language="German").prompt.language == "de"


@pytest.mark.parametrize(
    ("fields", "where", "why"),
    [
        ({"prompt": None}, "prompt", "missing"),
        ({"prompt": ""}, "prompt", "empty"),
        ({"prompt": " \n"}, "prompt", "empty"),
        ({"prompt": 3}, "prompt", "Expected text, found a number"),
        ({"prompt": ["Hi"]}, "prompt", "goes under messages"),
        ({"prompt": "a\x00b"}, "prompt", "NUL character (\\u0000) stands at position 2"),
        ({"prompt": "ab\ud800"}, "prompt", "a lone surrogate) stands at position 3"),
        ({"prompt": "x" * 1_000_001}, "prompt", "1,000,001 characters long; at most 1,000,000"),
        ({"prompt": "Hi", "messages": [TURN]}, "prompt", "either prompt or messages"),
        ({"messages": []}, "messages", "at least one user turn"),
        ({"messages": "Hi"}, "messages", "Expected a list"),
        ({"messages": ["Hi"]}, "messages[0]", "Expected an object in {}, found text"),
        ({"messages": [{"role": "user"}]}, "messages[0].content", "missing"),
        ({"messages": [TURN | {"role": "prompter"}]}, "messages[0].role", "one of system, user, assistant"),
        ({"messages": [TURN | {"role": ["user"]}]}, "messages[0].role", "found a list"),
        ({"messages": [TURN | {"name": "Bo"}]}, "messages[0].name", "no such field"),
        ({"messages": [TURN, TURN | {"role": "assistant"}]}, "messages[1].role", "as a completion"),
        ({"promt": "Hi"}, "promt", "Did you mean prompt?"),
        ({"zzz": 1}, "zzz", "the fields are id, prompt, messages"),
        ({"id": 1.5}, "id", "Expected text, found a number"),
        ({"id": True}, "id", "found true or false"),
        ({"id": 10**30}, "id", "too large"),
        ({"author": "x" * 201}, "author", "at most 200"),
        ({"author": "\x00"}, "author", "NUL"),
        ({"language": "klingonese"}, "language", "“klingonese” is not a language code"),
        ({"tags": "garden"}, "tags", "Expected a list"),
        ({"tags": ["a", ""]}, "tags[1]", "empty"),
        ({"tags": ["x" * 51]}, "tags[0]", "at most 50"),
        ({"tags": [str(number) for number in range(51)]}, "tags", "at most 50"),
        ({"sensitivity": [None]}, "sensitivity[0]", "missing"),
    ],
)
def test_it_says_what_is_wrong_with_a_prompt(fields: dict[str, Any], where: str, why: str) -> None:
    field, reason = refusal(**fields)
    assert field == where
    assert why in reason


@pytest.mark.parametrize(
    ("change", "where", "why"),
    [
        ({"text": None}, ".text", "missing"),
        ({"text": " "}, ".text", "empty"),
        ({"text": 3}, ".text", "Expected text"),
        ({"text": "\udfff"}, ".text", "\\udfff"),
        ({"model": 4.5}, ".model", "Expected text"),
        ({"model": "x" * 201}, ".model", "at most 200"),
        ({"id": {}}, ".id", "found an object"),
        ({"seed": "7"}, ".seed", "found “7”"),
        ({"seed": 2**63}, ".seed", "Expected a whole number"),
        ({"seed": True}, ".seed", "found true or false"),
        ({"sampling": [1]}, ".sampling", "Expected an object"),
        ({"sampling": {"a": 1e308 * 10}}, "", "Infinity is not JSON"),
        ({"sampling": {"a": 10**400}}, ".sampling", "too large"),
        ({"sampling": {"a": "\x00"}}, ".sampling", "NUL"),
        ({"sampling": {"\ud800": 1}}, ".sampling", "lone surrogate"),
        ({"sampling": {"a": [[[[[[1]]]]]]}}, ".sampling", f"more than {NESTING_LIMIT} levels"),
        ({"modle": "x"}, ".modle", "Did you mean model?"),
    ],
)
def test_it_says_what_is_wrong_with_a_completion(change: dict[str, Any], where: str, why: str) -> None:
    field, reason = refusal(completions=[A, A | {"id": "b"} | change])
    assert field == (f"completions[1]{where}" if where else "")
    assert why in reason


def test_a_completion_names_its_model() -> None:
    assert refusal(completions=[{"text": "Never."}])[0] == "completions[0].model"


def test_numbers_too_large_for_a_float_are_refused() -> None:
    line = '{"prompt": "Hi", "completions": [{"text": "x", "model": "m", "sampling": {"t": 1e999}}]}'
    assert refused_line(line).field == "completions[0].sampling"


def test_ids_of_completions_differ() -> None:
    field, reason = refusal(completions=[A, A | {"id": "b"}, A])
    assert field == "completions[2].id"
    assert "completions[0] has the id “a” too" in reason
    assert refusal(completions=[A | {"id": 1}, A | {"id": "1"}])[0] == "completions[1].id"


def test_an_annotator_demonstrates_once_per_row() -> None:
    twice = [{"annotator": "ann", "text": "One"}, {"annotator": "ann", "text": "Two"}]
    assert refusal(demonstrations=twice) == (
        "demonstrations[1]",
        "“ann” has a demonstration in this row already. Keep one of them.",
    )


@pytest.mark.parametrize(
    ("line", "why"),
    [
        (b"", "not JSON"),
        (b'{"prompt": "Hi"', "not JSON"),
        (b'{"prompt": "Hi"} x', "Extra data at character 18"),
        (b'[{"prompt": "Hi"}]', "Expected an object in {}, found a list"),
        (b"null", "found null"),
        (b'"prompt"', "found text"),
        (b'{"prompt": "\xff"}', "Byte 13 is not UTF-8"),
        (b'{"prompt": "a\nb"}', "Invalid control character"),
        (b'{"prompt": NaN}', "NaN is not JSON"),
        (b'{"prompt": "a", "prompt": "b"}', "“prompt” stands twice"),
        (b'{"id": ' + b"9" * 5000 + b"}", "thousands of digits"),
        (b"[" * 100_000, "nested too deeply"),
        ('{"prompt": "Hi"}'.encode("utf-16"), "not UTF-8"),
    ],
)
def test_it_says_what_is_wrong_with_a_line(line: bytes, why: str) -> None:
    refused = refused_line(line)
    assert refused.field == ""
    assert why in refused.reason


def test_messages_can_be_shown_anywhere() -> None:
    """Names that come back in a message hold no control characters and no book."""
    error = refused_line(json.dumps({"\x1b[31m" + "x" * 5000: 1}))
    assert str(error).isprintable()
    assert len(str(error)) < 300


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(codec=None), max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
SHAPES = st.fixed_dictionaries(
    {},
    optional={
        **dict.fromkeys(ROW_FIELDS, JSON),
        "prompt": st.just("Hi") | JSON,
        "completions": st.lists(st.fixed_dictionaries({"text": st.just("x") | JSON, "model": JSON}) | JSON, max_size=3),
        "rankings": st.lists(st.fixed_dictionaries({"annotator": JSON, "order": JSON}) | JSON, max_size=2),
        "preferences": st.lists(st.fixed_dictionaries({"annotator": JSON, "a": JSON, "b": JSON}) | JSON, max_size=2),
        "ratings": st.lists(st.fixed_dictionaries({"annotator": JSON, "completion": JSON}) | JSON, max_size=2),
    },
)


@given(JSON | SHAPES)
@example([])
def test_no_json_raises_anything_but_a_row_error(value: Any) -> None:
    _parse_or_refuse(json.dumps(value).encode())


@given(st.binary(max_size=100) | st.text(max_size=100).map(lambda text: text.encode(errors="replace")))
def test_no_bytes_raise_anything_but_a_row_error(line: bytes) -> None:
    _parse_or_refuse(line)


def _parse_or_refuse(line: bytes) -> None:
    result = _result(line)
    assert result.prompt.messages if isinstance(result, Row) else result[1].encode()


@given(st.dictionaries(st.sampled_from(ROW_FIELDS), st.text(min_size=1, max_size=5)))
def test_reading_is_repeatable(fields: dict[str, str]) -> None:
    line = json.dumps(fields).encode()
    assert _result(line) == _result(line)


def _result(line: bytes) -> Row | tuple[str, str]:
    try:
        return row_parse(line)
    except RowError as error:
        return error.field, error.reason


def test_it_needs_no_settings_and_no_database() -> None:
    code = (
        "import os; os.environ.pop('DJANGO_SETTINGS_MODULE', None)\n"
        "from labelapp.datasets.rows import row_parse\n"
        "from django.conf import settings\n"
        'row_parse(b\'{"prompt": "Hi", "language": "en"}\')\n'
        "assert not settings.configured"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
