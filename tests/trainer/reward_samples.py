"""A snapshot with all that a reward model can learn from, and tiny models of many families to learn it."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from transformers import (
    AlbertConfig,
    AlbertForMaskedLM,
    AlbertForSequenceClassification,
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    BertConfig,
    BertForMaskedLM,
    BertForSequenceClassification,
    DebertaV2Config,
    DebertaV2ForMaskedLM,
    DebertaV2ForSequenceClassification,
    GPTNeoXConfig,
    ModernBertConfig,
    ModernBertForMaskedLM,
    ModernBertForSequenceClassification,
    OPTConfig,
    PreTrainedModel,
    Qwen2Config,
    RobertaConfig,
    RobertaForMaskedLM,
    RobertaForSequenceClassification,
)

from tests.trainer.models import SIZES, byte_tokenizer
from tests.trainer.snapshot_samples import completion_row, prompt_row
from trainer.data.snapshots import snapshot_write
from trainer.records import Manifest

SMALL: dict[str, Any] = SIZES | {"pad_token_id": 0}
DEBERTA = {"relative_attention": True, "pos_att_type": ["p2c", "c2p"], "position_buckets": 8, "pooler_hidden_size": 16}
MODERN = {"global_attn_every_n_layers": 1, "cls_token_id": 2, "sep_token_id": 3, "bos_token_id": 2, "eos_token_id": 3}
# How to build a language model and a classifier of each family of encoders.
ENCODERS: dict[str, tuple[Callable[[], Any], Any, Any]] = {
    "bert": (lambda: BertConfig(**SMALL), BertForMaskedLM, BertForSequenceClassification),
    "roberta": (lambda: RobertaConfig(**SMALL), RobertaForMaskedLM, RobertaForSequenceClassification),
    "deberta": (
        lambda: DebertaV2Config(**SMALL, **DEBERTA),
        DebertaV2ForMaskedLM,
        DebertaV2ForSequenceClassification,
    ),
    "modernbert": (
        lambda: ModernBertConfig(**SMALL, **MODERN),
        ModernBertForMaskedLM,
        ModernBertForSequenceClassification,
    ),
    "albert": (lambda: AlbertConfig(**SMALL, embedding_size=8), AlbertForMaskedLM, AlbertForSequenceClassification),
}
DECODERS: dict[str, Callable[[], Any]] = {
    "qwen": lambda: Qwen2Config(**SMALL, num_key_value_heads=1),
    "neox": lambda: GPTNeoXConfig(**SMALL),
    "opt": lambda: OPTConfig(**SMALL, ffn_dim=32, word_embed_proj_dim=16),
}
FAMILIES = (*ENCODERS, *DECODERS)


def family_make(folder: Path, family: str, *, trained: bool) -> Path:
    """A tiny random model of a family with its tokenizer: a language model, or a classifier with one label."""
    torch.manual_seed(0)
    if family in ENCODERS:
        config_make, language_model, classifier = ENCODERS[family]
        config = config_make()
        config.num_labels = 1
        model: PreTrainedModel = (classifier if trained else language_model)(config)
    else:
        config = DECODERS[family]()
        config.num_labels = 1
        kind: Any = AutoModelForSequenceClassification if trained else AutoModelForCausalLM
        model = kind.from_config(config)
    model.save_pretrained(folder)
    byte_tokenizer().save_pretrained(folder)
    return folder


def reward_snapshot_make(folder: Path, *, train: int = 12, held_out: int = 4, demonstrations: bool = True) -> Manifest:
    """Rankings of three answers by two annotators with strengths, ratings and yes/no questions.

    Every third prompt has the tag safety; of prompt 2 all answers are tied, and of prompt 3 two; prompt 4 was not
    ranked as a whole; of prompt 5 nothing was rated. The rankings of the second annotator weigh 3.
    """
    numbers = range(1, train + held_out + 1)
    prompts = [
        {**prompt_row(number, "train" if number <= train else "validation"), "tags": ["safety"] * (number % 3 == 0)}
        for number in numbers
    ]
    tables: dict[str, Any] = {
        "prompts": prompts,
        "completions": [completion_row(number, index) for number in numbers for index in range(3)],
        "comparisons": [_comparison(number, annotator) for number in numbers for annotator in (0, 1)],
        "ratings": [row for number in numbers if number != 5 for row in _ratings(number)],
        "demonstrations": [
            {"demonstration": n, "prompt": n, "annotator": "a", "group": "", "text": f"Yes, {n}."} for n in numbers
        ]
        if demonstrations
        else [],
    }
    return snapshot_write(folder, options={}, tables=tables, as_of="", counts={}, protocols={}, annotators={})


def _tiers(number: int, annotator: int) -> list[list[int]]:
    """What an annotator thinks of a prompt's answers, best first."""
    if number == 2:
        return [[0, 1, 2]]
    order = [(place + number + annotator * (number % 4 == 1)) % 3 for place in range(3)]
    return [[order[0], order[1]], [order[2]]] if number == 3 else [[place] for place in order]


def _comparison(number: int, annotator: int) -> dict[str, Any]:
    tiers = _tiers(number, annotator)
    rank = {place: tier for tier, places in enumerate(tiers) for place in places}
    edges = []
    for i in range(3):
        for j in range(i + 1, 3):
            better, worse = (i, j) if rank[i] <= rank[j] else (j, i)
            apart = rank[worse] - rank[better]
            edges.append(
                {
                    "i": better,
                    "j": worse,
                    "outcome": ">" if apart else "=",
                    "strength": 2 * apart or None,
                    "weight": 1.0,
                }
            )
    row = {"comparison": f"c{number:02}.{annotator}", "task": 2 * number + annotator, "prompt": number, "protocol": 1}
    row |= {"annotator": f"a{annotator}", "group": ("training", "held_out")[annotator], "edges": edges}
    return row | {
        "completions": [number * 10 + place for place in range(3)],
        "ranking": None if number == 4 else tiers,
        "weight": 1.0 + 2.0 * annotator,
        "rationale": "",
        "shown": [],
    }


def _ratings(number: int) -> list[dict[str, Any]]:
    rank = {place: tier for tier, places in enumerate(_tiers(number, 0)) for place in places}
    return [
        {"comparison": f"c{number:02}.0", "prompt": number, "completion": number * 10 + place, "annotator": "a0"}
        | {"likert": 7 - 2 * rank[place], "likert_points": 7, "protocol": 1}
        | {"answers": f'{{"honest": "{"yes" if rank[place] == 0 else "no"}", "rude": "na"}}'}
        for place in range(3)
    ]


def logistic(value: float) -> float:
    """σ."""
    return 1 / (1 + math.exp(-value))
