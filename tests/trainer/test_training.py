"""The order of the prompts, and what is measured on them."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file
from torch import Tensor

from tests.trainer.models import byte_tokenizer, tiny_llama
from tests.trainer.snapshot_samples import events, snapshot_make
from tests.trainer.test_steps import GROUPS as LEARNED_FROM
from tests.trainer.test_steps import Limited, likelihood, size, spoiled
from trainer.config import SftOptions
from trainer.data.batches import Feed, collate
from trainer.data.groups import Edge, Group
from trainer.loop.material import groups_digest
from trainer.loop.memory import MemoryEndError
from trainer.loop.optimization import optimizer_build
from trainer.loop.steps import NotFiniteError
from trainer.loop.training import Training, agreement, epoch_order, judged_report, rows_split, shares
from trainer.models.networks import policy_load
from trainer.records import Request, checkpoint_newest
from trainer.runs import InputError, RunFolder


def group(prompt: int, *lengths: int, weight: float = 1.0) -> Group:
    """Completions of some lengths, the first being preferred to all others."""
    edges = [Edge(0, other, ">", 1.0) for other in range(1, len(lengths))]
    return Group(prompt, [5], [[6] * length for length in lengths], edges, weight, tuple(range(len(lengths))))


GROUPS = [group(1, 4, 2), group(2, 1, 2, 3, weight=2.0), group(3, 7, 5, weight=0.5)]


@given(st.integers(1, 60), st.integers(0, 2**31 - 1), st.integers(0, 5))
def test_every_epoch_has_every_prompt_once(count: int, seed: int, epoch: int) -> None:
    assert sorted(epoch_order(count, seed, epoch)) == list(range(count))


def test_the_order_is_one_of_seed_and_epoch_alone() -> None:
    orders = {(seed, epoch): epoch_order(50, seed, epoch) for seed in (0, 1) for epoch in (0, 1)}
    assert len(set(orders.values())) == 4
    torch.manual_seed(99)
    epoch_order.cache_clear()
    for (seed, epoch), order in reversed(orders.items()):
        assert epoch_order(50, seed, epoch) == order


def test_the_order_never_changes_between_versions() -> None:
    assert epoch_order(6, 3, 0) == (5, 4, 2, 1, 0, 3)


def test_agreement_counts_wins_by_weight_and_equal_values_half() -> None:
    batch = collate(GROUPS, 0, shared=False)
    values = torch.tensor([1.0, 0.0, 1.0, 1.0, 2.0, 0.0, 3.0])
    found = agreement(values, batch.edges)
    assert {name: float(value) for name, value in found.items()} == {"accuracy/compared": 1.5, "compared": 4.0}


def test_agreement_leaves_ties_out_and_weighs() -> None:
    tied = Group(1, [5], [[6], [7], [8]], [Edge(0, 1, ">", 0.25), Edge(1, 2, "=", 5.0), Edge(2, 0, ">", 0.5)], 1.0)
    batch = collate([tied], 0, shared=True)
    found = agreement(torch.tensor([1.0, 0.0, 0.5]), batch.edges)
    assert {name: float(value) for name, value in found.items()} == {"accuracy/compared": 0.25, "compared": 0.75}


def test_values_go_back_to_their_groups() -> None:
    values = torch.arange(7.0)
    assert [numbers for _, numbers in rows_split(GROUPS, values)] == [[0, 1], [2, 3, 4], [5, 6]]


def test_the_report_knows_lengths_and_prompts() -> None:
    judged = rows_split(GROUPS, torch.tensor([1.0, 0.0, 3.0, 2.0, 1.0, 5.0, 6.0]))
    measured = judged_report(judged)
    assert measured["accuracy"] == pytest.approx(3 / 4)
    assert measured["longer_wins"] == pytest.approx(2 / 4)
    assert (measured["prompts"], measured["comparisons"]) == (3, 4)
    assert judged_report(judged[::-1]) == measured


def test_the_digest_of_the_data_sees_every_change() -> None:
    other = [group(1, 4, 2), group(2, 1, 2, 3, weight=2.0), group(3, 7, 5, weight=0.6)]
    shorter = [group(1, 3, 2), *GROUPS[1:]]
    digests = {groups_digest(given) for given in (GROUPS, other, shorter, GROUPS[::-1])}
    assert len(digests) == 4


def test_a_share_is_of_what_was_compared_however_little_it_weighs() -> None:
    assert shares({"accuracy/compared": 1 / 3, "compared": 1 / 3}) == {"accuracy": 1.0}
    assert shares({"accuracy/compared": 0.0, "compared": 0.0}) == {}
    assert shares({"loss": 2.0, "kl/rows": 3.0, "length/rows": 8.0, "rows": 4.0}) == {
        "loss": 2.0,
        "kl": 0.75,
        "length": 2.0,
    }


# -- a training in its folder


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a model and a snapshot."""
    folder = tmp_path_factory.mktemp("training")
    tiny_llama(folder / "model")
    snapshot_make(folder / "snapshot")
    return folder


LEARNED = LEARNED_FROM[:4]
OPTIONS = SftOptions(epochs=2, prompts_per_step=2, learning_rate=0.003, checkpoint_every=2, micro_tokens=30)


@contextmanager
def training_in(place: Path, path: Path, options: SftOptions = OPTIONS) -> Iterator[Training]:
    """A supervised training on four prompts: four steps."""
    model = policy_load(str(place / "model"))
    request: Request = {"command": "sft", "model": str(place / "model"), "snapshot": "", "options": {}}
    with RunFolder(path) as folder:
        folder.config_write(request, options, resolved={"device": "cpu"})
        yield Training(
            folder=folder,
            options=options,
            model=model,
            tokenizer=byte_tokenizer(),
            optimizer=optimizer_build(model, options),
            groups=LEARNED,
            feed=Feed(0, torch.device("cpu"), options.micro_tokens, False),
            size=size,
            evaluate=lambda: {"loss": 1.0},
            held_out=True,
        )


def weights(training: Training) -> dict[str, Tensor]:
    """Copies of its weights."""
    return {name: tensor.clone() for name, tensor in training.model.state_dict().items()}


def same(first: dict[str, Tensor], second: dict[str, Tensor]) -> bool:
    """Whether all bits are equal."""
    return all(torch.equal(first[name], second[name]) for name in first)


def learn(training: Training) -> dict[str, Any]:
    """All its steps, and its report."""
    for step in training.steps():
        step.accumulate(likelihood(training.model))
        training.update(step)
    return training.publish({"counts": {"train": {"groups": 3}}})


def test_the_report_has_what_was_measured_and_where(place: Path, tmp_path: Path) -> None:
    with training_in(place, tmp_path) as training:
        found = learn(training)
    assert (found["steps"], found["resolved"]) == (4, {"device": "cpu"})
    assert found["counts"] == {"train": {"groups": 3}}
    last = events(tmp_path, "train")[-1]["values"]
    assert found["metrics"] == {"train_loss": last["loss"], "loss": 1.0, "loss_before": 1.0}
    assert "best_step" not in found


def test_what_is_published_has_a_card_and_plots(place: Path, tmp_path: Path) -> None:
    with training_in(place, tmp_path) as training:
        learn(training)
        kept = weights(training)
        model = load_file(tmp_path / "model" / "model.safetensors")
        before = (tmp_path / "model" / "README.md").read_bytes()
        training.publish({})
    assert same(model, kept)
    assert b"# Supervised model" in before
    assert (tmp_path / "model" / "README.md").read_bytes() == before, "published once"
    assert (tmp_path / "plots" / "loss.svg").exists()


@pytest.mark.parametrize("what", ["loss", "gradient"])
def test_a_number_that_is_not_finite_stops_before_the_step(place: Path, tmp_path: Path, what: str) -> None:
    def wrong(loss: Tensor) -> Tensor:
        return loss * float("nan") if what == "loss" else loss + (loss - loss.detach()).abs().sqrt()

    with training_in(place, tmp_path) as training:
        before: dict[str, Tensor] = {}

        def all_steps() -> None:
            for step in training.steps():
                bad = step.groups[0].prompt if step.number == 4 else -1
                step.accumulate(spoiled(training.model, bad, wrong))
                before.clear()
                before.update(weights(training))
                training.update(step)

        with pytest.raises(NotFiniteError, match=r"Step 4 gave numbers that are not finite: .* for prompt") as caught:
            all_steps()
        assert ("loss is nan" if what == "loss" else "norm of the gradient is nan") in str(caught.value)
        assert same(before, weights(training)), "the optimizer step was not taken"
        assert [event["step"] for event in events(tmp_path, "train")] == [1, 2, 3]
        newest = checkpoint_newest(tmp_path)
        assert newest is not None
        assert newest.step == 2
    with training_in(place, tmp_path) as training:
        assert learn(training)["steps"] == 4


def test_less_memory_once_is_less_memory_from_then_on(place: Path, tmp_path: Path) -> None:
    """What was halved stays so when a killed run goes on, and is not halved again."""
    sizes = []
    options = replace(OPTIONS, micro_tokens=60)
    with training_in(place, tmp_path, options) as training:
        for step in training.steps():
            step.accumulate(Limited(training.model, 20))
            sizes.append(step.feed.micro_tokens)
            if step.number == 3:
                break
            training.update(step)
    with training_in(place, tmp_path, options) as training:
        for step in training.steps():
            assert not step.spare
            sizes.append(step.feed.micro_tokens)
            step.accumulate(likelihood(training.model))
            training.update(step)
    assert sizes == [30] * 5


def test_an_evaluation_that_does_not_fit_says_so(place: Path, tmp_path: Path) -> None:
    def evaluate() -> dict[str, float]:
        raise torch.OutOfMemoryError("CUDA out of memory.")

    with training_in(place, tmp_path) as training:
        training.evaluate = evaluate
        with pytest.raises(MemoryEndError, match="in the evaluation after step 0, with 30 micro_tokens"):
            next(training.steps())


def test_an_optimizer_that_does_not_fit_says_so(place: Path, tmp_path: Path) -> None:
    with training_in(place, tmp_path) as training:
        step = next(training.steps())
        step.accumulate(likelihood(training.model))

        def full(*_: Any) -> None:
            raise torch.OutOfMemoryError("CUDA out of memory.")

        training.optimizer.register_step_pre_hook(full)
        with pytest.raises(MemoryEndError, match="at step 1, when the optimizer made room"):
            training.update(step)


def test_other_data_does_not_go_on(place: Path, tmp_path: Path) -> None:
    with training_in(place, tmp_path) as training:
        learn(training)
    with training_in(place, tmp_path) as training:
        training.data = "other"
        with pytest.raises(InputError, match="learned from other data"):
            next(training.steps())


def test_only_as_many_checkpoints_stay_as_asked_for(place: Path, tmp_path: Path) -> None:
    for kept, names in ((1, {"step-4"}), (3, {"step-2", "step-3", "step-4"})):
        options = replace(OPTIONS, checkpoint_every=1, checkpoints_kept=kept)
        with training_in(place, tmp_path / str(kept), options) as training:
            learn(training)
        assert {path.name for path in (tmp_path / str(kept) / "checkpoints").iterdir()} == names


def test_gradient_checkpointing_changes_no_bit(place: Path, tmp_path: Path) -> None:
    found = []
    for twice in (False, True):
        with training_in(place, tmp_path / str(twice), replace(OPTIONS, gradient_checkpointing=twice)) as training:
            learn(training)
            found.append(weights(training))
    assert same(*found)
