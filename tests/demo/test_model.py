"""The demo's starting policy: small, whole, and able to read and write the demo's language."""

import json
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

import pytest

from labelapp.demo.language import answer_write, fluency, instructions, reads_well

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

MODEL = Path(__file__).resolve().parents[2] / "labelapp" / "demo" / "model" / "base"
TURNS = [
    {"role": "user", "content": "Write to Ada."},
    {"role": "assistant", "content": "Dear Ada,"},
    {"role": "user", "content": "Go on."},
]


@cache
def tokenizer() -> Any:
    return transformers.AutoTokenizer.from_pretrained(MODEL)


@cache
def model() -> Any:
    return transformers.AutoModelForCausalLM.from_pretrained(MODEL, dtype=torch.float32).eval()


def chat(messages: list[dict[str, str]], **options: Any) -> str:
    return str(tokenizer().apply_chat_template(messages, tokenize=False, **options))


def test_the_folder_is_small_enough_to_keep() -> None:
    files = [path for path in MODEL.iterdir() if path.is_file()]
    assert sum(path.stat().st_size for path in files) <= 4_000_000


def test_the_folder_holds_what_transformers_needs() -> None:
    kept = {path.name for path in MODEL.iterdir()}
    assert kept >= {"config.json", "generation_config.json", "model.safetensors", "tokenizer.json"}


def test_the_config_is_a_plain_llama() -> None:
    config = json.loads((MODEL / "config.json").read_text())
    assert config["model_type"] == "llama"
    assert config["vocab_size"] == len(tokenizer())
    assert config["dtype"] == "float32"
    assert [config[f"{name}_token_id"] for name in ("bos", "eos", "pad")] == [0, 1, 2]


def test_the_special_tokens_are_all_different() -> None:
    made = tokenizer()
    ids = [made.bos_token_id, made.eos_token_id, made.pad_token_id, made.unk_token_id]
    assert None not in ids
    assert len(set(ids)) == 4


def test_every_text_of_the_language_comes_back_from_its_tokens() -> None:
    random = Random(1)
    for wish in instructions(101, 1000):
        for text in (wish.text, answer_write(wish, random, random.random())):
            ids = tokenizer()(text, add_special_tokens=False)["input_ids"]
            assert tokenizer().decode(ids, skip_special_tokens=True) == text


@pytest.mark.parametrize("text", ["Grüße aus Köln!", "a  b\n\n c\t.", "你好", "x = {1: 'y'} , ok ?", "👋🏽", " lead"])
def test_foreign_text_comes_back_too(text: str) -> None:
    ids = tokenizer()(text, add_special_tokens=False)["input_ids"]
    assert tokenizer().decode(ids) == text


def test_a_word_of_the_language_is_one_token() -> None:
    assert len(tokenizer()(" lighthouse", add_special_tokens=False)["input_ids"]) == 1


def test_a_chat_has_its_turns_and_ends_every_answer() -> None:
    assert chat(TURNS) == "<|begin|><|user|>Write to Ada.<|assistant|>Dear Ada,<|end|><|user|>Go on."


def test_a_chat_can_wait_for_the_next_answer() -> None:
    assert chat(TURNS, add_generation_prompt=True) == chat(TURNS) + "<|assistant|>"


def test_a_chat_may_begin_with_a_system_message() -> None:
    asked = chat([{"role": "system", "content": "Be kind."}, *TURNS[:1]])
    assert asked == "<|begin|><|system|>Be kind.<|user|>Write to Ada."


def test_a_chat_marks_the_tokens_of_its_answers() -> None:
    made = tokenizer().apply_chat_template(TURNS, return_dict=True, return_assistant_tokens_mask=True)
    marked = [token for token, mine in zip(made["input_ids"], made["assistant_masks"], strict=True) if mine]
    assert tokenizer().decode(marked) == "Dear Ada,<|end|>"


def test_the_model_writes_english_and_ends() -> None:
    torch.manual_seed(0)
    wishes = instructions(102, 48)
    inputs = tokenizer().apply_chat_template(
        [wish.messages for wish in wishes], add_generation_prompt=True, padding=True, return_tensors="pt"
    )
    drawn = model().generate(**inputs, do_sample=True, top_k=0, max_new_tokens=96)[:, inputs["input_ids"].shape[1] :]
    texts = tokenizer().batch_decode(drawn, skip_special_tokens=True)
    assert (drawn == tokenizer().eos_token_id).any(dim=1).float().mean() > 0.95
    assert sum(map(fluency, texts)) / len(texts) > 0.95
    assert sum(map(reads_well, texts)) / len(texts) > 0.8
