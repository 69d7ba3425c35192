"""From conversations to token ids: one way to write a prompt, for training, sampling and scoring alike.

Prompt and completion are turned into tokens apart and joined as ids, so that a completion has the same tokens
wherever it stands. Which positions count is found from lengths, never from what a token is.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import cast

from jinja2 import TemplateError
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from trainer.records import Message
from trainer.runs import InputError

Tokenizer = PreTrainedTokenizerBase

# For tokenizers that bring no chat template. An assistant's turn ends as the model learns to end it.
DEFAULT_TEMPLATE = (
    "{% for message in messages %}"
    "{{ message['role'] | capitalize }}:\n{{ message['content'] }}"
    "{% if message['role'] == 'assistant' %}{{ eos_token }}{% endif %}{{ '\\n\\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}Assistant:\n{% endif %}"
)
PAD_NAMES = ("<pad>", "[PAD]", "<|pad|>", "<|finetune_right_pad_id|>", "<|endoftext|>", "<unk>", "[UNK]")
_MARK = "some answer"


class ConversationError(InputError):
    """A conversation or a tokenizer that cannot be used; the message says which and why."""


def tokenizer_load(model: str) -> Tokenizer:
    """The tokenizer of a model folder or hub id, with a pad token and a chat template.

    The pad token differs from the end token where the vocabulary allows; no token is added to it. A tokenizer without
    a chat template gets a plain one, which is saved with it. Raises ConversationError when there is no tokenizer.
    """
    try:
        tokenizer = cast(Tokenizer, AutoTokenizer.from_pretrained(model, trust_remote_code=False))
    except (OSError, ValueError, KeyError) as error:
        raise ConversationError(f"No tokenizer can be loaded from {model}: {error}") from error
    pad = _pad_token(tokenizer)
    if pad != tokenizer.pad_token:
        tokenizer.pad_token = pad
    if tokenizer.chat_template is None:
        tokenizer.chat_template = DEFAULT_TEMPLATE
    return tokenizer


def prompt_ids(tokenizer: Tokenizer, messages: Sequence[Message]) -> list[int]:
    """A conversation that waits for the assistant, as ids; exactly one BOS (CLS) in front where the tokenizer uses one.

    Raises ConversationError when the chat template refuses the conversation or makes nothing of it.
    """
    text = _render(tokenizer, messages, waiting=True)
    ids = _encode(tokenizer, text)
    bos, used = _begin_id(tokenizer), _adds_bos(tokenizer)
    while ids and bos is not None and ids[0] == bos:
        ids, used = ids[1:], True
    if not ids:
        raise ConversationError("The chat template makes no text of the conversation.")
    return [cast(int, bos), *ids] if used else ids


def completion_ids(tokenizer: Tokenizer, text: str, ended: bool) -> list[int]:
    """A completion as ids, with the end token that the model must learn when it ended.

    Text that looks like a special token stays text: a completion must not end in the middle of what somebody wrote.
    """
    ids = _encode(tokenizer, text, split_special_tokens=True)
    end = end_id(tokenizer)
    return [*ids, end] if ended and end is not None else ids


def prompt_fit(tokenizer: Tokenizer, messages: Sequence[Message], room: int) -> list[int] | None:
    """The prompt in at most `room` tokens: whole turns are cut from the left until it fits.

    A system turn in front stays, and so does the last user turn with what follows it. What remains begins with a
    user turn. None when even the least does not fit. Raises ConversationError as `prompt_ids` does.
    """
    for kept in conversation_shorter(messages):
        ids = prompt_ids(tokenizer, kept)
        if len(ids) <= room:
            return ids
    return None


def end_id(tokenizer: Tokenizer) -> int | None:
    """The token that ends an assistant's turn: what the chat template writes there, else the end token."""
    return _end_id(tokenizer, cast(str | None, tokenizer.chat_template))


def conversation_shorter(messages: Sequence[Message]) -> list[list[Message]]:
    """The conversation, and what may remain of it when turns are cut from the left, from long to short."""
    head = [message for message in messages[:1] if message["role"] == "system"]
    turns = list(messages[len(head) :])
    users = [number for number, turn in enumerate(turns) if turn["role"] == "user"]
    return [list(messages)] + [head + turns[number:] for number in users if number > 0]


def _render(tokenizer: Tokenizer, messages: Sequence[Message], *, waiting: bool) -> str:
    turns = [{"role": message["role"], "content": message["content"]} for message in messages]
    try:
        # As text: what this returns as ids, and whether it adds a BOS, has changed between versions.
        return cast(str, tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=waiting))
    except (TemplateError, ValueError) as error:
        raise ConversationError(f"The chat template refuses the conversation: {error}") from error


def _encode(tokenizer: Tokenizer, text: str, *, split_special_tokens: bool = False) -> list[int]:
    ids = tokenizer(text, add_special_tokens=False, split_special_tokens=split_special_tokens, verbose=False).input_ids
    return cast(list[int], ids)


@lru_cache(maxsize=8)
def _adds_bos(tokenizer: Tokenizer) -> bool:
    bos = _begin_id(tokenizer)
    return bos is not None and cast(list[int], tokenizer("a").input_ids)[:1] == [bos]


def _begin_id(tokenizer: Tokenizer) -> int | None:
    """The token that texts begin with; BERT has another name for it, and reads texts there."""
    return cast(int | None, tokenizer.bos_token_id if tokenizer.bos_token_id is not None else tokenizer.cls_token_id)


@lru_cache(maxsize=8)
def _end_id(tokenizer: Tokenizer, template: str | None) -> int | None:
    end = cast(int | None, tokenizer.eos_token_id if tokenizer.eos_token_id is not None else tokenizer.sep_token_id)
    if template is None:
        return end
    turns: list[Message] = [{"role": "user", "content": "question"}, {"role": "assistant", "content": _MARK}]
    try:
        _, found, rest = _render(tokenizer, turns, waiting=False).rpartition(_MARK)
    except ConversationError:
        return end
    after = _encode(tokenizer, rest)[:1] if found else []
    special = {number for number, token in tokenizer.added_tokens_decoder.items() if token.special}
    return after[0] if after and after[0] in special else end


def _pad_token(tokenizer: Tokenizer) -> str:
    """A token to fill rows with. It is never looked at: masks come from lengths."""
    end = tokenizer.eos_token
    given = tokenizer.pad_token
    if given is not None and given != end:
        return cast(str, given)
    vocabulary = tokenizer.get_vocab()
    candidates = [name for name in PAD_NAMES if name in vocabulary] + [tokenizer.unk_token, given, end]
    distinct = [name for name in candidates if name is not None and name != end]
    if distinct:
        return cast(str, distinct[0])
    return cast(str, end if end is not None else tokenizer.convert_ids_to_tokens(0))
