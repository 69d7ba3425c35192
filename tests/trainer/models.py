"""Models of a few thousand random weights and tokenizers of single bytes, made in a folder: no download, no network."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import (
    AutoModelForCausalLM,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    PretrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)

SHARED = Path(__file__).resolve().parents[2].parent / "shared"
STORIES = SHARED / "models" / "stories260K"

CHAT_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
BOS_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}[{{ message['role'] }}]{{ message['content'] }}{% endfor %}"
    "{% if add_generation_prompt %}[assistant]{% endif %}"
)

# Special tokens of each kind of tokenizer; byte b has the id b + len(special tokens).
KINDS: dict[str, dict[str, str]] = {
    "plain": {"pad_token": "<pad>", "eos_token": "</s>"},
    "pad_is_eos": {"pad_token": "<|endoftext|>", "eos_token": "<|endoftext|>"},
    "no_pad": {"eos_token": "</s>", "unk_token": "<unk>"},
    "bos": {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>"},
    "bos_chat": {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>"},
    "chat": {"eos_token": "<|endoftext|>", "pad_token": "<pad>"},
}
TEMPLATES = {"chat": CHAT_TEMPLATE, "bos_chat": BOS_TEMPLATE}
VOCABULARY = 264
SIZES: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "max_position_embeddings": 64,
    "initializer_range": 0.2,
}
"""Of the smallest model of any family; weights so far from zero that a difference shows."""


def byte_tokenizer(kind: str = "plain") -> PreTrainedTokenizerFast:
    """A tokenizer with one token for each byte; a kind of KINDS: `bos` and `bos_chat` add a BOS by themselves."""
    special = list(dict.fromkeys(KINDS[kind].values())) + (["<|im_start|>", "<|im_end|>"] if kind == "chat" else [])
    symbols = sorted(pre_tokenizers.ByteLevel.alphabet())
    backend = Tokenizer(models.BPE({token: number for number, token in enumerate(special + symbols)}, []))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    backend.decoder = decoders.ByteLevel()
    backend.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in special])
    if kind.startswith("bos"):
        backend.post_processor = processors.TemplateProcessing(
            single="<s> $A", pair="<s> $A $B", special_tokens=[("<s>", backend.token_to_id("<s>"))]
        )
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, **KINDS[kind])
    if kind in TEMPLATES:
        tokenizer.chat_template = TEMPLATES[kind]
    return tokenizer


def tiny_llama(
    folder: Path, vocab: int = VOCABULARY, *, tokenizer: str = "plain", positions: int = 512, seed: int = 0
) -> Path:
    """A Llama of two layers and 16 dimensions with random weights, saved with its tokenizer."""
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=vocab,
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        max_position_embeddings=positions,
        initializer_range=0.2,
        pad_token_id=None,
    )
    return _save(LlamaForCausalLM(config), folder, tokenizer)


def tiny_gpt2(
    folder: Path, vocab: int = VOCABULARY, *, tokenizer: str = "plain", positions: int = 512, seed: int = 0
) -> Path:
    """A GPT-2 of two layers and 16 dimensions with random weights and its usual dropout, saved with its tokenizer."""
    torch.manual_seed(seed)
    config = GPT2Config(vocab_size=vocab, n_embd=16, n_layer=2, n_head=2, n_positions=positions, initializer_range=0.2)
    return _save(GPT2LMHeadModel(config), folder, tokenizer)


def saved(make: Callable[[], PretrainedConfig], folder: Path, *, seed: int = 0) -> Path:
    """A language model of any configuration with random weights, saved with a tokenizer of bytes."""
    torch.manual_seed(seed)
    return _save(AutoModelForCausalLM.from_config(make()), folder, "plain")


TINY = {"llama": tiny_llama, "gpt2": tiny_gpt2}


def _save(model: PreTrainedModel, folder: Path, kind: str) -> Path:
    tokenizer = byte_tokenizer(kind)
    model.config.bos_token_id = tokenizer.bos_token_id
    model.config.eos_token_id = tokenizer.eos_token_id
    model.generation_config.bos_token_id = tokenizer.bos_token_id
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
