"""The benchmark of the trainers: both sides must read the tokens that were drawn, and the floor must be exact."""

import json
import random
from pathlib import Path

import pytest
import torch
from transformers import LlamaConfig, LlamaModel

from benchmarks.peers.floor import row_of
from benchmarks.peers.measuring import sequences_digest
from benchmarks.peers.rankings import (
    COMPLETION_TOKENS,
    END,
    PROMPT_TOKENS,
    Ranking,
    lengths_draw,
    make,
    rankings_draw,
    sequences,
    text,
    tokenizer_make,
)
from trainer.data.groups import groups_from
from trainer.data.snapshots import snapshot_read


@pytest.fixture
def drawn(tmp_path: Path) -> tuple[Path, list[Ranking]]:
    return tmp_path / "k4", make(tmp_path / "k4", 4, 3)


def test_the_snapshot_is_read_as_the_tokens_that_were_drawn(drawn: tuple[Path, list[Ranking]]) -> None:
    folder, rankings = drawn
    groups, excluded = groups_from(snapshot_read(folder / "snapshot"), tokenizer_make(), split="train", max_length=1024)
    assert excluded.kept == 3
    assert [group.prompt_ids for group in groups] == [ranking["prompt"] for ranking in rankings]
    for group, ranking in zip(groups, rankings, strict=True):
        assert sorted(group.completions) == sorted(ranking["completions"])


def test_the_snapshot_ranks_as_was_drawn(drawn: tuple[Path, list[Ranking]]) -> None:
    folder, rankings = drawn
    groups, _ = groups_from(snapshot_read(folder / "snapshot"), tokenizer_make(), split="train", max_length=1024)
    for group, ranking in zip(groups, rankings, strict=True):
        rank = [ranking["completions"].index(completion) for completion in group.completions]
        assert len(group.edges) == 6
        assert all(edge.outcome == ">" and rank[edge.i] < rank[edge.j] for edge in group.edges)


def test_pairs_written_as_text_are_read_as_the_tokens_that_were_drawn() -> None:
    """As TRL reads them: prompt and completion in one text, with the end token behind it."""
    tokenizer = tokenizer_make()
    rankings = rankings_draw(3, 2)
    read = [
        tokenizer(f"{text(ranking['prompt'])} {text(completion)}{END}").input_ids
        for ranking in rankings
        for completion in ranking["completions"]
    ]
    assert read == sequences(rankings)


def test_rankings_are_the_same_every_time_and_as_long_as_they_should_be() -> None:
    rankings = rankings_draw(9, 2)
    assert rankings == rankings_draw(9, 2)
    assert json.loads(json.dumps(rankings)) == rankings
    for ranking in rankings:
        assert PROMPT_TOKENS[0] <= len(ranking["prompt"]) <= PROMPT_TOKENS[1]
        assert all(COMPLETION_TOKENS[0] <= len(part) <= COMPLETION_TOKENS[1] for part in ranking["completions"])


def test_lengths_are_spread_evenly() -> None:

    drawn = lengths_draw(random.Random(3), 16, 255, 8)  # 240 lengths in 8 parts of 30
    assert sorted((length - 16) // 30 for length in drawn) == list(range(8))


def test_a_digest_does_not_depend_on_order_or_repetition() -> None:
    assert sequences_digest([[1, 2], [3], [1, 2]]) == sequences_digest([[3], [1, 2]])
    assert sequences_digest([[1, 2], [3]]) != sequences_digest([[1], [2, 3]])


def test_the_floor_computes_what_rows_of_their_own_compute() -> None:
    torch.manual_seed(0)
    model = LlamaModel(
        LlamaConfig(
            vocab_size=20,
            hidden_size=16,
            intermediate_size=32,
            num_hidden_layers=2,
            num_attention_heads=2,
            num_key_value_heads=1,
        )
    ).eval()
    ranking: Ranking = {"prompt": [3, 4, 5], "completions": [[6, 7], [8], [9, 10, 11]]}
    with torch.no_grad():
        together = model(**row_of(ranking, torch.float32)._asdict(), use_cache=False).last_hidden_state[0]
        start = len(ranking["prompt"])
        for completion in ranking["completions"]:
            alone = model(input_ids=torch.tensor([ranking["prompt"] + completion])).last_hidden_state[0]
            torch.testing.assert_close(together[start : start + len(completion)], alone[3:], rtol=1e-4, atol=1e-5)
            start += len(completion)
