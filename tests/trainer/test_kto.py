"""Labels, their balance, and the mismatched pairs from which z0 is estimated."""

from pathlib import Path
from typing import Any

import pytest
import torch

from tests.trainer.models import tiny_llama
from tests.trainer.preference_samples import preference_run, ranking_row, rankings_make
from tests.trainer.snapshot_samples import events
from trainer import preference
from trainer.config import options_read
from trainer.data.batches import Feed
from trainer.data.conversations import tokenizer_load
from trainer.data.groups import Group
from trainer.data.snapshots import snapshot_read
from trainer.goals import Goal
from trainer.kto import Labels, balance_advice, labeled_from, pairs_make
from trainer.loop.material import Setup
from trainer.loop.references import References
from trainer.models.networks import completion_logprobs, policy_load
from trainer.preference import Policy

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a model and a snapshot whose answers are rated 5, 4, 3 (the middle) and 2 of 5."""
    folder = tmp_path_factory.mktemp("kto")
    tiny_llama(folder / "model")
    rankings_make(folder / "snapshot")
    return folder


def group(prompt: int, *lengths: int, weight: float = 1.0, ids: int = 0) -> Group:
    completions = [[prompt, *range(50, 49 + length)] for length in lengths]
    names = tuple(prompt * 10 + ids + place for place in range(len(lengths)))
    return Group(prompt, [1] * 4, completions, [], weight, names)


def labels_of(groups: list[Group], value: float | None = 1.0) -> Labels:
    return Labels({(one.prompt, one.ids): (value,) * len(one.ids) for one in groups})


def read(place: Path, kind: str) -> tuple[list[Group], Labels]:
    labels = Labels()
    tokenizer, snapshot = tokenizer_load(str(place / "model")), snapshot_read(place / "snapshot")
    return labeled_from(snapshot, tokenizer, kind, labels, split="train", max_length=512)[0], labels


def test_ratings_say_what_is_desirable_and_what_a_report_compares(place: Path) -> None:
    groups, labels = read(place, "ratings")
    assert [labels.of(one) for one in groups] == [(1.0, 1.0, 0.0)] * 8
    assert [(edge.i, edge.j) for edge in groups[0].edges] == [(0, 2), (1, 2)]
    assert labels.tensor(groups[:1], CPU).tolist() == [1.0, 1.0, 0.0]


def test_rankings_say_it_of_the_first_and_the_last(place: Path) -> None:
    groups, labels = read(place, "ranking")
    assert labels.of(groups[0]) == (1.0, None, None, 0.0)
    assert len(groups[0].edges) == 6
    assert torch.isnan(labels.tensor(groups[:1], CPU)).tolist() == [False, True, True, False]


def test_completions_that_nobody_compared_count_by_their_ratings(tmp_path: Path) -> None:
    tiny_llama(tmp_path / "model")
    rankings_make(tmp_path / "snapshot", rows=[ranking_row(1, [[0], [1]])])
    groups, _ = read(tmp_path, "ratings")
    assert len(groups) == 8
    preference_run(tmp_path, tmp_path / "run", loss="kto")
    assert events(tmp_path / "run", "eval")[0]["values"]["accuracy"] == 0.5


@pytest.mark.parametrize(
    ("desirable", "undesirable", "lambda_d", "lambda_u", "words"),
    [
        (10, 10, 1.0, 1.0, ""),
        (12, 9, 1.0, 1.0, ""),
        (10, 20, 2.0, 1.0, ""),
        (5, 10, 1.0, 1.0, "desirable_weight between 2 and 2.67"),
        (40, 10, 1.0, 2.0, "undesirable_weight between 3 and 4"),
        (0, 10, 1.0, 1.0, "Nothing desirable counts"),
        (10, 10, 1.0, 0.0, "Nothing undesirable counts"),
    ],
)
def test_advice_is_given_where_one_side_weighs_too_much(
    desirable: float, undesirable: float, lambda_d: float, lambda_u: float, words: str
) -> None:
    said = balance_advice(desirable, undesirable, lambda_d, lambda_u)
    assert words in said
    assert bool(said) is bool(words)


def test_the_log_says_how_labels_are_balanced(place: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    preference_run(place, tmp_path, loss="kto")
    said = capfd.readouterr().err
    assert "16 desirable, 8 undesirable" in said
    assert "undesirable_weight between 1.5 and 2" in said


def test_each_prompt_gets_a_completion_of_another_one() -> None:
    groups = [group(number, 3, 2, 4) for number in range(1, 9)]
    pairs = pairs_make(groups, labels_of(groups), seed=0, max_length=100)
    assert pairs.keys() == {(one.prompt, one.ids) for one in groups}
    owners = []
    for (prompt, _), pair in pairs.items():
        assert (pair.prompt, len(pair.completions)) == (prompt, 1)
        owners.append(pair.completions[0][0])
        assert owners[-1] != prompt
        assert pair.ids[0] // 10 == owners[-1]
    # Each prompt's are used once: the order is a permutation, and goes round.
    assert sorted(owners) == list(range(1, 9))


def test_pairs_are_fixed_by_the_seed() -> None:
    groups = [group(number, 3, 2) for number in range(1, 9)]
    drawn = [pairs_make(groups, labels_of(groups), seed=seed, max_length=100) for seed in (0, 0, 1)]
    assert drawn[0] == drawn[1]
    assert drawn[0] != drawn[2]


def test_pairs_are_of_labeled_completions_and_fit() -> None:
    groups = [group(1, 9, 9), group(2, 9, 9)]
    labels = Labels({(1, (10, 11)): (None, 1.0), (2, (20, 21)): (0.0, None)})
    pairs = pairs_make(groups, labels, seed=3, max_length=7)
    assert [pair.ids for pair in pairs.values()] == [(20,), (11,)] or [pair.ids for pair in pairs.values()] == [
        (11,),
        (20,),
    ]
    assert all(len(pair.prompt_ids) + len(pair.completions[0]) == 7 for pair in pairs.values())


def test_groups_of_one_prompt_are_no_mismatch_for_each_other() -> None:
    same = [group(1, 2, 2), group(1, 2, 2, ids=5)]
    assert pairs_make(same, labels_of(same), seed=0, max_length=50) == {}
    three = [*same, group(2, 2, 2)]
    pairs = pairs_make(three, labels_of(three), seed=0, max_length=50)
    assert all(pair.ids[0] // 10 != pair.prompt for pair in pairs.values())
    assert len(pairs) == 3


def policy_of(place: Path, groups: list[Group], **given: Any) -> Policy:
    """A policy beside a reference with another seed, and pairs of the groups."""
    model = policy_load(str(place / "model"))
    goal = Goal(options_read("preference", {"loss": "kto"} | given), labels_of(groups))  # type: ignore[arg-type]
    pairs = pairs_make(groups, goal.labels or Labels(), seed=0, max_length=100)
    said = {(pair.prompt, pair.ids): (torch.tensor([-9.0 * pair.prompt]), torch.ones(1)) for pair in pairs.values()}
    setup = Setup(CPU, torch.float32, tokenizer_load(str(place / "model")), snapshot_read(place / "snapshot"))
    return Policy(model, goal, References(said, ""), pairs, setup, Feed(0, CPU, 12, False))


def test_z0_is_the_mean_log_ratio_of_the_steps_mismatched_pairs(place: Path) -> None:
    groups = [group(number, 3, 2) for number in range(1, 6)]
    policy = policy_of(place, groups)
    ratios = []
    for one in groups[:3]:
        pair = policy.pairs[one.prompt, one.ids]
        ids = torch.tensor([pair.prompt_ids + pair.completions[0]])
        with torch.no_grad():
            logprobs = policy.model(input_ids=ids).logits[0, :-1].log_softmax(-1).gather(1, ids[0, 1:, None])
        ratios.append(float(logprobs[-len(pair.completions[0]) :].sum()) + 9.0 * pair.prompt)
    expected = sum(ratios) / 3
    z0 = policy.baseline(groups[:3])
    assert float(z0) == pytest.approx(max(0.0, expected), abs=1e-4)
    assert not z0.requires_grad


def test_z0_is_never_below_0_nor_there_without_a_reference(place: Path) -> None:
    groups = [group(number, 3, 2) for number in range(1, 6)]
    low = policy_of(place, groups)
    high = {key: (sums + 1000.0, counts) for key, (sums, counts) in low.references.by_group.items()}  # type: ignore[union-attr]
    assert (
        float(Policy(low.model, low.goal, References(high, ""), low.pairs, low.setup, low.feed).baseline(groups)) == 0
    )
    free = Policy(low.model, low.goal, None, low.pairs, low.setup, low.feed)
    assert float(free.baseline(groups)) == 0


def test_all_portions_of_a_step_are_counted_from_the_same_point(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With portions of one prompt each: as many points as steps and evaluations, each used by all of its portions."""
    seen: list[float] = []
    objective = Goal.objective

    def watched(self: Goal, said: Any, groups: Any, batch: Any, z0: torch.Tensor) -> Any:
        seen.append(float(z0))
        return objective(self, said, groups, batch, z0)

    monkeypatch.setattr(preference.Goal, "objective", watched)
    preference_run(place, tmp_path, loss="kto", micro_tokens=16, learning_rate=0.02, epochs=3)
    # Before: 2 held-out prompts. Then 6 steps of 4 prompts, the last evaluation, and the breakdown.
    assert len(seen) == 2 + 6 * 4 + 2 + 2
    portions = [seen[2 + 4 * step : 6 + 4 * step] for step in range(6)]
    assert all(len(set(portion)) == 1 for portion in portions)
    assert len({portion[0] for portion in portions}) > 2


def test_what_the_reference_says_of_mismatched_pairs_is_kept(place: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file

    preference_run(place, tmp_path, loss="kto")
    # Ten prompts with three labeled completions each, and a pair for each prompt.
    assert len(load_file(tmp_path / "reference.safetensors")["sums"]) == 10 * 3 + 10


@pytest.mark.parametrize("labels", ["ratings", "ranking"])
def test_desirable_and_undesirable_move_apart(place: Path, tmp_path: Path, labels: str) -> None:
    preference_run(place, tmp_path, loss="kto", labels=labels, epochs=6, learning_rate=0.01)
    first, last = (events(tmp_path, "eval")[at]["values"] for at in (0, -1))
    assert first["loss"] == pytest.approx(0.5, abs=1e-5)
    assert last["loss"] < first["loss"]
    assert last["margin"] > 0.5
    assert last["accuracy"] > 0.8


def test_sums_of_pairs_do_not_mix_with_those_of_answers(place: Path) -> None:
    groups = [group(number, 3, 2) for number in range(1, 6)]
    policy = policy_of(place, groups)
    keys = {(pair.prompt, pair.ids) for pair in policy.pairs.values()}
    assert not keys & {(one.prompt, one.ids) for one in groups}
    sums, _ = completion_logprobs(policy.model, next(iter(policy.feed.batches(groups)))[1].tokens)
    assert sums.requires_grad
