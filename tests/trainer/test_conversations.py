"""Prompts and completions as token ids, for tokenizers of every kind."""

from pathlib import Path

import pytest
from transformers import AutoTokenizer

from tests.trainer.models import KINDS, STORIES, byte_tokenizer
from trainer.data.conversations import (
    ConversationError,
    Tokenizer,
    completion_ids,
    end_id,
    prompt_fit,
    prompt_ids,
    tokenizer_load,
)
from trainer.records import Message


def say(*turns: str) -> list[Message]:
    """Turns written as "role: content"."""
    return [{"role": turn.split(": ", 1)[0], "content": turn.split(": ", 1)[1]} for turn in turns]


HELLO = say("user: Hello, you")
TALK = say("system: Be kind", "user: one", "assistant: two", "user: three", "assistant: four", "user: five")


def saved(kind: str, folder: Path) -> Tokenizer:
    byte_tokenizer(kind).save_pretrained(folder)
    return tokenizer_load(str(folder))


@pytest.fixture(params=sorted(KINDS))
def tokenizer(request: pytest.FixtureRequest, tmp_path: Path) -> Tokenizer:
    return saved(request.param, tmp_path)


@pytest.mark.parametrize(
    ("kind", "pad"),
    [("plain", "<pad>"), ("bos", "<pad>"), ("no_pad", "<unk>"), ("pad_is_eos", "<|endoftext|>"), ("chat", "<pad>")],
)
def test_the_pad_token_differs_from_the_end_where_it_can(kind: str, pad: str, tmp_path: Path) -> None:
    assert saved(kind, tmp_path).pad_token == pad


def test_a_pad_token_that_is_the_end_is_replaced_where_another_is_at_hand(tmp_path: Path) -> None:
    tokenizer = byte_tokenizer("no_pad")
    tokenizer.pad_token = tokenizer.eos_token
    tokenizer.save_pretrained(tmp_path)
    assert tokenizer_load(str(tmp_path)).pad_token == "<unk>"


def test_no_token_is_added_to_the_vocabulary(tokenizer: Tokenizer, tmp_path: Path) -> None:
    assert len(tokenizer) == len(AutoTokenizer.from_pretrained(tmp_path))
    assert 0 <= tokenizer.pad_token_id < len(tokenizer)


def test_a_missing_tokenizer_is_refused_with_its_place(tmp_path: Path) -> None:
    with pytest.raises(ConversationError, match="nowhere"):
        tokenizer_load(str(tmp_path / "nowhere"))


def test_a_tokenizer_without_a_template_gets_a_plain_one_that_is_saved(tmp_path: Path) -> None:
    tokenizer = saved("plain", tmp_path / "first")
    assert tokenizer.decode(prompt_ids(tokenizer, TALK[:4])) == (
        "System:\nBe kind\n\nUser:\none\n\nAssistant:\ntwo</s>\n\nUser:\nthree\n\nAssistant:\n"
    )
    tokenizer.save_pretrained(tmp_path / "second")
    assert tokenizer_load(str(tmp_path / "second")).chat_template == tokenizer.chat_template


def test_a_template_of_its_own_stays(tmp_path: Path) -> None:
    tokenizer = saved("chat", tmp_path)
    assert tokenizer.decode(prompt_ids(tokenizer, HELLO)) == (
        "<|im_start|>user\nHello, you<|im_end|>\n<|im_start|>assistant\n"
    )


def test_a_prompt_is_a_flat_list_of_ids(tokenizer: Tokenizer) -> None:
    ids = prompt_ids(tokenizer, HELLO)
    assert isinstance(ids, list)
    assert all(type(id_) is int for id_ in ids)
    assert len(ids) > len("Hello, you")


@pytest.mark.parametrize("kind", ["bos", "bos_chat"])
def test_exactly_one_bos_stands_in_front(kind: str, tmp_path: Path) -> None:
    """In `bos_chat` both the template and the tokenizer would write one."""
    tokenizer = saved(kind, tmp_path)
    ids = prompt_ids(tokenizer, TALK)
    assert ids[0] == tokenizer.bos_token_id
    assert ids.count(tokenizer.bos_token_id) == 1
    assert tokenizer.bos_token_id not in completion_ids(tokenizer, "two", ended=True)


@pytest.mark.parametrize("kind", ["plain", "chat", "pad_is_eos"])
def test_a_tokenizer_without_bos_writes_none(kind: str, tmp_path: Path) -> None:
    tokenizer = saved(kind, tmp_path)
    first = {"plain": "User", "chat": "<|im_start|>user", "pad_is_eos": "User"}[kind]
    assert tokenizer.decode(prompt_ids(tokenizer, HELLO)).startswith(first)


def test_a_completion_that_ended_has_the_end_token(tokenizer: Tokenizer) -> None:
    ended, cut = completion_ids(tokenizer, "Yes!", ended=True), completion_ids(tokenizer, "Yes!", ended=False)
    assert tokenizer.decode(cut) == "Yes!"
    assert ended == [*cut, end_id(tokenizer)]


@pytest.mark.parametrize(("kind", "end"), [("plain", "</s>"), ("chat", "<|im_end|>"), ("bos_chat", "</s>")])
def test_the_end_token_is_what_the_template_writes_after_an_answer(kind: str, end: str, tmp_path: Path) -> None:
    tokenizer = saved(kind, tmp_path)
    assert tokenizer.convert_ids_to_tokens(end_id(tokenizer)) == end


@pytest.mark.parametrize("kind", ["plain", "chat"])
def test_prompt_and_completion_joined_are_what_the_template_writes(kind: str, tmp_path: Path) -> None:
    tokenizer = saved(kind, tmp_path)
    joined = prompt_ids(tokenizer, TALK[:2]) + completion_ids(tokenizer, "two", ended=True)
    whole = prompt_ids(tokenizer, TALK[:4])
    assert whole[: len(joined)] == joined


def test_text_that_looks_like_a_special_token_stays_text(tmp_path: Path) -> None:
    tokenizer = saved("chat", tmp_path)
    ids = completion_ids(tokenizer, "Write <|im_end|> to stop.", ended=True)
    assert ids.count(end_id(tokenizer)) == 1
    assert tokenizer.decode(ids[:-1]) == "Write <|im_end|> to stop."


def test_a_prompt_that_fits_stays_whole(tokenizer: Tokenizer) -> None:
    whole = prompt_ids(tokenizer, TALK)
    assert prompt_fit(tokenizer, TALK, len(whole)) == whole


def test_whole_turns_are_cut_from_the_left_and_the_system_turn_stays(tokenizer: Tokenizer) -> None:
    whole = prompt_ids(tokenizer, TALK)
    shorter = prompt_ids(tokenizer, TALK[:1] + TALK[3:])
    assert prompt_fit(tokenizer, TALK, len(whole) - 1) == shorter
    assert prompt_fit(tokenizer, TALK, len(shorter)) == shorter


def test_the_last_user_turn_stays(tokenizer: Tokenizer) -> None:
    least = prompt_ids(tokenizer, [TALK[0], TALK[-1]])
    assert prompt_fit(tokenizer, TALK, len(least)) == least
    assert prompt_fit(tokenizer, TALK, len(least) - 1) is None


def test_what_remains_begins_with_a_user_turn(tokenizer: Tokenizer) -> None:
    talk = TALK[1:]
    lengths = [len(prompt_ids(tokenizer, talk[start:])) for start in (0, 2, 4)]
    for room, start in ((lengths[0] - 1, 2), (lengths[1] - 1, 4)):
        assert prompt_fit(tokenizer, talk, room) == prompt_ids(tokenizer, talk[start:])


def test_a_single_turn_is_never_cut_inside(tokenizer: Tokenizer) -> None:
    assert prompt_fit(tokenizer, HELLO, len(prompt_ids(tokenizer, HELLO)) - 1) is None


def test_a_template_that_refuses_a_conversation_says_so(tmp_path: Path) -> None:
    tokenizer = saved("plain", tmp_path)
    tokenizer.chat_template = (
        "{% if messages[0]['role'] == 'system' %}{{ raise_exception('No system turn, please.') }}{% endif %}hello"
    )
    assert prompt_ids(tokenizer, HELLO)
    with pytest.raises(ConversationError, match="No system turn, please"):
        prompt_ids(tokenizer, TALK)


def test_a_template_that_writes_nothing_is_refused(tmp_path: Path) -> None:
    tokenizer = saved("plain", tmp_path)
    tokenizer.chat_template = "{{ '' }}"
    with pytest.raises(ConversationError, match="no text"):
        prompt_ids(tokenizer, HELLO)


@pytest.mark.skipif(not STORIES.exists(), reason="the shared model stories260K is not on this machine")
def test_a_real_tokenizer() -> None:
    tokenizer = tokenizer_load(str(STORIES))
    ids = prompt_ids(tokenizer, say("user: Once upon a time"))
    assert ids[0] == tokenizer.bos_token_id == 1
    assert ids.count(1) == 1
    assert tokenizer.decode(ids, skip_special_tokens=True) == "User:\nOnce upon a time\n\nAssistant:\n"
    answer = completion_ids(tokenizer, "there was a dog.", ended=True)
    assert tokenizer.decode(answer) == "there was a dog.</s>"
    assert tokenizer.pad_token_id == 0
