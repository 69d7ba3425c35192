"""A random Llama, and random rankings that every trainer reads as the same tokens.

A token is a word of a tokenizer that splits at spaces, so that a trainer that reads texts comes out at the ids that
were drawn. `make` writes into a folder: `model`, `snapshot` as the product freezes it, and `rankings.json` with the
ids, the completions of each prompt best first.
"""

import json
import random
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path
from typing import Any, TypedDict

import torch
from tokenizers import AddedToken, Tokenizer, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast
from transformers.utils import logging

from trainer.data.snapshots import snapshot_write

VOCABULARY = 8192
PAD, END, UNKNOWN = "<pad>", "<end>", "<unknown>"
SPECIAL = (PAD, END, UNKNOWN)
PROMPT_TOKENS, COMPLETION_TOKENS = (64, 256), (16, 256)
TEMPLATE = (
    "{% for message in messages %}{{ message['content'] }}"
    "{% if message['role'] == 'assistant' %}{{ eos_token }}{% endif %}{% endfor %}"
)
SHAPE: dict[str, Any] = {
    "hidden_size": 512,
    "num_hidden_layers": 8,
    "num_attention_heads": 8,
    "num_key_value_heads": 4,
    "intermediate_size": 1376,
    "max_position_embeddings": 1024,
}


class Ranking(TypedDict):
    """A prompt and its completions, best first, as ids; each completion ends with the end token."""

    prompt: list[int]
    completions: list[list[int]]


def model_make(folder: Path) -> None:
    """Save a random Llama of 8 layers and 512 dimensions, in float32, with its tokenizer."""
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    torch.manual_seed(0)
    ends: dict[str, Any] = {
        "pad_token_id": SPECIAL.index(PAD),
        "eos_token_id": SPECIAL.index(END),
        "bos_token_id": None,
    }
    model = LlamaForCausalLM(LlamaConfig(vocab_size=VOCABULARY, **ends, **SHAPE))  # type: ignore[no-untyped-call]
    model.save_pretrained(folder)
    tokenizer_make().save_pretrained(folder)


def tokenizer_make() -> PreTrainedTokenizerFast:
    """One token for each word: the word of number n is `n`."""
    words = {word: number for number, word in enumerate([*SPECIAL, *map(str, range(len(SPECIAL), VOCABULARY))])}
    backend = Tokenizer(models.WordLevel(words, unk_token=UNKNOWN))
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    backend.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in SPECIAL])
    tokenizer = PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=backend, pad_token=PAD, eos_token=END, unk_token=UNKNOWN
    )
    tokenizer.chat_template = TEMPLATE
    return tokenizer


def rankings_draw(k: int, prompts: int) -> list[Ranking]:
    """Rankings of k completions each; the same for the same numbers.

    Lengths are uniform and spread evenly, so that few prompts have the padding of many.
    """
    chance = random.Random(1000 * k + prompts)

    def words(count: int) -> list[int]:
        return chance.choices(range(len(SPECIAL), VOCABULARY), k=count)

    prompt_lengths = lengths_draw(chance, *PROMPT_TOKENS, prompts)
    completion_lengths = iter(lengths_draw(chance, *COMPLETION_TOKENS, prompts * k))
    return [
        {
            "prompt": words(length),
            "completions": [[*words(next(completion_lengths) - 1), SPECIAL.index(END)] for _ in range(k)],
        }
        for length in prompt_lengths
    ]


def lengths_draw(chance: random.Random, least: int, most: int, count: int) -> list[int]:
    """Lengths from `least` to `most`, one drawn from each of `count` equal parts, in random order."""
    width = (most + 1 - least) / count
    drawn = [least + int(width * (part + chance.random())) for part in range(count)]
    return chance.sample(drawn, count)


def snapshot_make(folder: Path, rankings: Sequence[Ranking]) -> None:
    """The rankings as a snapshot, completions in the order in which they would be shown rather than by rank."""
    chance = random.Random(1)
    tables: dict[str, list[dict[str, Any]]] = {"prompts": [], "completions": [], "comparisons": []}
    for number, ranking in enumerate(rankings, start=1):
        k = len(ranking["completions"])
        shown = chance.sample(range(k), k)
        tables["prompts"].append(_prompt_row(number, ranking["prompt"]))
        tables["completions"] += [
            _completion_row(number, place, ranking["completions"][rank]) for place, rank in enumerate(shown)
        ]
        tables["comparisons"].append(_comparison_row(number, [shown.index(rank) for rank in range(k)]))
    snapshot_write(
        folder, options={}, tables=tables, as_of="2026-01-01T00:00:00Z", counts={}, protocols={}, annotators={}
    )


def text(ids: Sequence[int]) -> str:
    """Ids as the text that has them; the end token is not written."""
    return " ".join(str(number) for number in ids if number >= len(SPECIAL))


def sequences(rankings: Sequence[Ranking]) -> list[list[int]]:
    """Every prompt with every completion."""
    return [ranking["prompt"] + completion for ranking in rankings for completion in ranking["completions"]]


def make(folder: Path, k: int, prompts: int) -> list[Ranking]:
    """Write rankings and their snapshot into a folder, and return them."""
    rankings = rankings_draw(k, prompts)
    folder.mkdir(parents=True)
    (folder / "rankings.json").write_text(json.dumps(rankings))
    snapshot_make(folder / "snapshot", rankings)
    return rankings


def _prompt_row(number: int, prompt: Sequence[int]) -> dict[str, Any]:
    messages = [{"role": "user", "content": text(prompt)}]
    return {"prompt": number, "messages": messages, "split": "train", "source": "", "language": "", "tags": []}


def _completion_row(prompt: int, place: int, completion: Sequence[int]) -> dict[str, Any]:
    row = {"completion": 100 * prompt + place, "prompt": prompt, "model": ""}
    return row | {"text": text(completion), "finish_reason": "stop"}


def _comparison_row(prompt: int, order: Sequence[int]) -> dict[str, Any]:
    """`order` are places of completions, best first."""
    edges = [{"i": i, "j": j, "outcome": ">", "strength": None, "weight": 1.0} for i, j in combinations(order, 2)]
    row = {"comparison": f"c{prompt}", "task": prompt, "prompt": prompt, "annotator": "a", "group": "", "protocol": 1}
    completions = [100 * prompt + place for place in range(len(order))]
    return row | {
        "completions": completions,
        "edges": edges,
        "ranking": [[place] for place in order],
        "weight": 1.0,
    }
