"""Make the demo's starting policy: a tokenizer and a small Llama, trained on notes of mixed quality.

    python labelapp/demo/model/make.py [--seed 0] [--out labelapp/demo/model/base]

Takes about a minute and a half on two free cores, prints what it measured, and writes a folder that transformers loads.
It imports torch only when run, since the web process, which has none, must be able to import every module beside it.
"""

import argparse
import sys
import time
from pathlib import Path
from random import Random
from typing import Any

HERE = Path(__file__).resolve().parent
FOLDER = HERE / "base"
sys.path.insert(0, str(HERE.parents[2]))

from labelapp.demo.gold import gold_parts  # noqa: E402 (the path comes first)
from labelapp.demo.language import Instruction, answer_write, fluency, instructions  # noqa: E402

PAIRS, GOOD_FIRST, BATCH, RATE, HELD_OUT_SEED = 28_000, 10_000, 32, 3e-3, 1_000_001
VOCABULARY, LONGEST = 896, 512
SHAPE: dict[str, Any] = {
    "hidden_size": 96,
    "intermediate_size": 256,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "initializer_range": 0.08,
}
SPECIAL = {"bos_token": "<|begin|>", "eos_token": "<|end|>", "pad_token": "<|pad|>", "unk_token": "<|unknown|>"}
ROLES = ["<|system|>", "<|user|>", "<|assistant|>"]
CHAT = """\
{{- bos_token }}
{%- for message in messages %}
    {{- '<|' + message['role'] + '|>' }}
    {%- if message['role'] == 'assistant' %}
        {%- generation %}{{- message['content'] + eos_token }}{% endgeneration %}
    {%- else %}
        {{- message['content'] }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|assistant|>' }}
{%- endif %}"""


def pairs_write(seed: int, count: int) -> list[tuple[Instruction, str]]:
    """Instructions with one answer each: first by good writers, so that copying is soon learned, then by all sorts."""
    random = Random(seed)  # noqa: S311 (made-up text, no secret)
    wishes = enumerate(instructions(seed, count))
    return [(wish, answer_write(wish, random, random.uniform(index < GOOD_FIRST, 1.0))) for index, wish in wishes]


def tokenizer_make(texts: list[str]) -> Any:
    """A byte-level tokenizer of these texts: each of their words is one token, and any other text is spelled out."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    fast: Any = PreTrainedTokenizerFast
    inner = Tokenizer(models.BPE())
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=[*SPECIAL.values(), *ROLES],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    inner.train_from_iterator(texts, trainer)
    return fast(
        tokenizer_object=inner,
        **SPECIAL,
        additional_special_tokens=ROLES,
        chat_template=CHAT,
        model_max_length=LONGEST,
        padding_side="left",
        clean_up_tokenization_spaces=False,
    )


def model_make(tokenizer: Any) -> Any:
    """A small Llama with fresh weights."""
    from transformers import LlamaConfig, LlamaForCausalLM

    llama: Any = LlamaForCausalLM
    return llama(
        LlamaConfig(
            **SHAPE,
            vocab_size=VOCABULARY,
            max_position_embeddings=LONGEST,
            tie_word_embeddings=True,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )


def rows_encode(tokenizer: Any, pairs: list[tuple[Instruction, str]]) -> list[tuple[list[int], int]]:
    """Each pair's token ids, and how many of them are the prompt's."""
    chats = [wish.messages for wish, _ in pairs]
    prompts = tokenizer.apply_chat_template(chats, add_generation_prompt=True)["input_ids"]
    answers = tokenizer([answer for _, answer in pairs], add_special_tokens=False)["input_ids"]
    return [(p + a + [tokenizer.eos_token_id], len(p)) for p, a in zip(prompts, answers, strict=True)]


def batch_make(rows: list[tuple[list[int], int]], pad: int) -> tuple[Any, Any]:
    """Ids padded on the right, and labels that hold the completions alone."""
    import torch

    width = max(len(ids) for ids, _ in rows)
    ids = torch.tensor([row + [pad] * (width - len(row)) for row, _ in rows])
    labels = torch.tensor([[-100] * start + row[start:] + [-100] * (width - len(row)) for row, start in rows])
    return ids, labels


def train(model: Any, rows: list[tuple[list[int], int]], pad: int) -> float:
    """One pass over the rows; returns the mean loss of the last hundred steps."""
    import torch

    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE, weight_decay=0.01, betas=(0.9, 0.98))
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, len(rows) // BATCH, pct_start=0.1)
    losses: list[float] = []
    for start in range(0, len(rows) - BATCH + 1, BATCH):
        ids, labels = batch_make(rows[start : start + BATCH], pad)
        learned = labels[:, 1:] != -100
        hidden = model.model(input_ids=ids).last_hidden_state[:, :-1][learned]
        loss: Any = torch.nn.functional.cross_entropy(model.lm_head(hidden), labels[:, 1:][learned])
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        losses.append(loss.item())
        if len(losses) % 50 == 0:
            print(f"step {len(losses):4d}  loss {sum(losses[-50:]) / 50:.3f}", flush=True)
    return sum(losses[-100:]) / len(losses[-100:])


def sample(model: Any, tokenizer: Any, wishes: list[Instruction]) -> list[tuple[str, bool]]:
    """One answer to each, drawn at temperature 1, and whether it ended by itself."""
    import torch

    inputs = tokenizer.apply_chat_template(
        [wish.messages for wish in wishes], add_generation_prompt=True, padding=True, return_tensors="pt"
    )
    with torch.no_grad():
        drawn = model.generate(**inputs, do_sample=True, top_k=0, max_new_tokens=96)
    answers = drawn[:, inputs["input_ids"].shape[1] :]
    texts = tokenizer.batch_decode(answers, skip_special_tokens=True)
    return [(text, tokenizer.eos_token_id in ids) for text, ids in zip(texts, answers.tolist(), strict=True)]


def measure(model: Any, tokenizer: Any, count: int = 256) -> dict[str, float]:
    """Gold parts, fluency and endings of samples for held-out instructions."""
    wishes = instructions(HELD_OUT_SEED, count)
    drawn = sample(model, tokenizer, wishes)
    parts = [gold_parts(wish.text, text, finished=done) for wish, (text, done) in zip(wishes, drawn, strict=True)]
    means = {name: sum(part[name] for part in parts) / count for name in parts[0]}
    fluent = sum(fluency(text) for text, _ in drawn) / count
    ended = sum(done for _, done in drawn) / count
    return means | {"gold": sum(means.values()), "fluency": fluent, "ended": ended}


def main() -> None:
    import torch

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path, default=FOLDER)
    options = parser.parse_args()
    torch.manual_seed(options.seed)
    torch.set_num_threads(options.threads)
    pairs = pairs_write(options.seed, PAIRS)
    tokenizer = tokenizer_make([part for wish, answer in pairs for part in (wish.text, answer)])
    model = model_make(tokenizer)
    began = time.monotonic()
    loss = train(model, rows_encode(tokenizer, pairs), tokenizer.pad_token_id)
    print(f"{model.num_parameters():,} parameters, loss {loss:.3f}, trained in {time.monotonic() - began:.0f} s")
    model.resize_token_embeddings(len(tokenizer))  # rows that stand for no token could only be drawn by mistake
    model.save_pretrained(options.out)
    tokenizer.save_pretrained(options.out)
    for name, value in measure(model.eval(), tokenizer).items():
        print(f"{name:>10} {value:.3f}")


if __name__ == "__main__":
    main()
