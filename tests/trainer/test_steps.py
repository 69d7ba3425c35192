"""A step adds up the same gradients however it is divided, survives the end of the memory once, and takes no NaN."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from tests.trainer.models import tiny_llama
from trainer.data.batches import Feed, unique_tokens
from trainer.data.groups import Edge, Group
from trainer.loop.memory import MemoryEndError
from trainer.loop.steps import NotFiniteError, Objective, Portion, Step
from trainer.losses import nll
from trainer.models.networks import completion_logprobs, policy_load, prompts_share

CPU = torch.device("cpu")


def group(prompt: int, *lengths: int, weight: float = 1.0) -> Group:
    """A prompt of five tokens with completions of some lengths, the first being preferred to all others."""
    edges = [Edge(0, other, ">", 1.0) for other in range(1, len(lengths))]
    tokens = [[(prompt * 7 + place * 3 + k) % 200 + 5 for place in range(size)] for k, size in enumerate(lengths)]
    return Group(prompt, [prompt % 9 + 5] * 5, tokens, edges, weight, tuple(range(len(lengths))))


GROUPS = [group(1, 4, 2), group(2, 1, 2, 3, weight=2.0), group(3, 7, 5, weight=0.5), group(4, 3), group(5, 6, 6, 6)]
"""11, 11, 17, 8 and 23 tokens: 70 in all."""
ALL = 1000


def size(one: Group) -> float:
    """Each token of a completion counts by its prompt's weight."""
    return one.weight * sum(map(len, one.completions))


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> PreTrainedModel:
    """A policy that reads shared prompts."""
    model = policy_load(str(tiny_llama(tmp_path_factory.mktemp("steps") / "model")))
    assert prompts_share(model, "auto")
    return model


def likelihood(model: PreTrainedModel) -> Callable[[Portion], Objective]:
    """The mean negative log-likelihood of a step's tokens."""

    def objective(portion: Portion) -> Objective:
        sums, counts = completion_logprobs(model, portion.batch.tokens)
        weights = portion.batch.weight[portion.batch.group]
        loss = -(weights * sums).sum() / (weights * counts).sum()
        return Objective(loss, {"twice": 2 * loss}, {"tokens": counts.sum()})

    return objective


def step_of(model: nn.Module, micro_tokens: int, *, shared: bool = True, groups: list[Group] = GROUPS) -> Step:
    """A step with no gradients yet."""
    model.zero_grad(set_to_none=True)
    return Step(7, groups, Feed(0, CPU, micro_tokens, shared), size, model)


def gradients(model: nn.Module) -> dict[str, Tensor]:
    """Copies of what was added up."""
    return {name: one.grad.clone() for name, one in model.named_parameters() if one.grad is not None}


def apart(first: dict[str, Tensor], second: dict[str, Tensor]) -> float:
    """The greatest difference of two sets of gradients, over the greatest gradient."""
    assert first.keys() == second.keys()
    greatest = max(float(one.abs().max()) for one in first.values())
    return max(float((first[name] - second[name]).abs().max()) for name in first) / greatest


@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("micro_tokens", [1, 20, 40])
def test_how_much_is_in_memory_at_once_changes_no_gradient(
    model: PreTrainedModel, shared: bool, micro_tokens: int
) -> None:
    step = step_of(model, ALL, shared=shared)
    step.accumulate(likelihood(model))
    whole, measured = gradients(model), step.sums()
    step = step_of(model, micro_tokens, shared=shared)
    step.accumulate(likelihood(model))
    assert len(list(step.feed.batches(GROUPS))) >= 2
    assert apart(whole, gradients(model)) < 2e-6
    assert step.sums() == pytest.approx(measured, rel=1e-6)


def test_a_step_is_the_mean_over_all_its_tokens(model: PreTrainedModel) -> None:
    """The same gradient as that of a mean which is written down directly, over single prompts."""
    model.zero_grad(set_to_none=True)
    feed = Feed(0, CPU, 1, False)
    total = sum(map(size, GROUPS))
    loss = torch.zeros(())
    for (one,), batch in feed.batches(GROUPS):
        loss = loss - one.weight * completion_logprobs(model, batch.tokens)[0].sum() / total
    loss.backward()
    wanted = gradients(model)
    step = step_of(model, 30)
    step.accumulate(likelihood(model))
    assert apart(wanted, gradients(model)) < 2e-6
    assert step.sums() == pytest.approx({"loss": loss.item(), "twice": 2 * loss.item(), "tokens": 45.0}, rel=1e-6)


def test_the_likelihood_of_supervised_training_adds_up_too(model: PreTrainedModel) -> None:
    answers = [group(number, length) for number, length in enumerate((4, 9, 2, 6))]
    found = []
    for micro_tokens in (1, ALL):
        step = step_of(model, micro_tokens, groups=answers)
        step.accumulate(
            lambda portion: Objective(
                nll(*completion_logprobs(model, portion.batch.tokens), portion.batch.weight), {}, {}
            )
        )
        found.append((gradients(model), step.sums()["loss"]))
    assert apart(found[0][0], found[1][0]) < 2e-6
    assert found[0][1] == pytest.approx(found[1][1], rel=1e-6)


def test_shares_add_up_to_one(model: PreTrainedModel) -> None:
    seen: list[float] = []

    def objective(portion: Portion) -> Objective:
        seen.append(portion.share)
        assert portion.share == pytest.approx(sum(map(size, portion.groups)) / sum(map(size, GROUPS)))
        return likelihood(model)(portion)

    step_of(model, 30).accumulate(objective)
    assert len(seen) > 2
    assert sum(seen) == pytest.approx(1.0)


class Limited:
    """An objective for which no more than so many tokens fit in memory."""

    def __init__(self, model: PreTrainedModel, fits: int, error: Exception | None = None) -> None:
        self.inner, self.fits = likelihood(model), fits
        self.error = error or torch.OutOfMemoryError("CUDA out of memory.")
        self.sizes: list[int] = []

    def __call__(self, portion: Portion) -> Objective:
        tokens = sum(map(unique_tokens, portion.groups))
        self.sizes.append(tokens)
        found = self.inner(portion)
        if tokens > self.fits:
            raise self.error
        return found


ENDS = [
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
    MemoryError(),
    RuntimeError("[enforce fail at alloc_cpu.cpp:124] err == 0. DefaultCPUAllocator: can't allocate memory: you tried"),
]


@pytest.mark.parametrize("error", ENDS, ids=["cuda", "python", "cpu"])
def test_out_of_memory_is_answered_once_by_half_as_much(
    model: PreTrainedModel, error: Exception, capsys: pytest.CaptureFixture[str]
) -> None:
    step = step_of(model, ALL)
    step.accumulate(likelihood(model))
    wanted, measured = gradients(model), step.sums()
    step = step_of(model, 60)
    objective = Limited(model, 30, error)
    step.accumulate(objective)
    # By length of the longest row: 11 + 8 + 11 + 23, then 17 tokens in 60; 11 + 8 + 11, then 23, then 17 in 30.
    assert objective.sizes == [53, 30, 23, 17]
    assert step.feed.micro_tokens == 30
    # Nothing of the first attempt is left.
    assert apart(wanted, gradients(model)) < 2e-6
    assert step.sums() == pytest.approx(measured, rel=1e-6)
    said = capsys.readouterr().err
    assert "Out of memory at step 7" in said
    assert "micro_tokens is 30 instead of 60" in said


def test_all_of_a_step_is_done_again_when_its_second_part_does_not_fit(model: PreTrainedModel) -> None:
    step = step_of(model, ALL)
    step.accumulate(likelihood(model))
    step.accumulate(likelihood(model))
    wanted = gradients(model)
    step = step_of(model, 60)
    step.accumulate(likelihood(model))
    step.accumulate(Limited(model, 30))
    assert apart(wanted, gradients(model)) < 2e-6


def test_a_second_time_ends_the_run_with_what_to_change(model: PreTrainedModel) -> None:
    step = step_of(model, 60)
    with pytest.raises(MemoryEndError, match="at step 7, a second time, now with 30 micro_tokens") as caught:
        step.accumulate(Limited(model, 25))
    assert "longest prompt of the portion was 1, with 11 tokens" in str(caught.value)
    assert "micro_tokens to 16 or less" in str(caught.value)
    assert "gradient_checkpointing" in str(caught.value)


def test_a_run_that_halved_before_ends(model: PreTrainedModel) -> None:
    step = step_of(model, 60)
    step.spare = False
    with pytest.raises(MemoryEndError, match="a second time, now with 60"):
        step.accumulate(Limited(model, 30))


def test_one_prompt_that_does_not_fit_ends_the_run_at_once(model: PreTrainedModel) -> None:
    step = step_of(model, 23)
    with pytest.raises(MemoryEndError, match="prompt 5 with its completions has 23 tokens and does not fit on its own"):
        step.accumulate(Limited(model, 22))
    assert step.feed.micro_tokens == 23


def test_other_errors_are_not_taken_for_it(model: PreTrainedModel) -> None:
    with pytest.raises(RuntimeError, match="mat1 and mat2"):
        step_of(model, 60).accumulate(Limited(model, 0, RuntimeError("mat1 and mat2 shapes cannot be multiplied")))


def spoiled(model: PreTrainedModel, prompt: int, how: Callable[[Tensor], Tensor]) -> Callable[[Portion], Objective]:
    """An objective in which something is wrong with one prompt."""

    def objective(portion: Portion) -> Objective:
        found = likelihood(model)(portion)
        wrong = any(one.prompt == prompt for one in portion.groups)
        return found._replace(loss=how(found.loss)) if wrong else found

    return objective


def test_a_loss_that_is_no_number_names_its_prompts(model: PreTrainedModel) -> None:
    step = step_of(model, 23)
    step.accumulate(spoiled(model, 3, lambda loss: loss * float("nan")))
    with pytest.raises(NotFiniteError, match=r"Step 7 .*: loss is nan for prompt 3") as caught:
        step.sums()
    assert "learning_rate" in str(caught.value)


def test_whatever_is_measured_is_looked_at(model: PreTrainedModel) -> None:
    def objective(portion: Portion) -> Objective:
        found = likelihood(model)(portion)
        return found._replace(means={"margin": torch.tensor(float("inf") if len(portion.groups) == 2 else 0.0)})

    step = step_of(model, 23)
    step.accumulate(objective)
    with pytest.raises(NotFiniteError, match="margin is inf for prompts 2, 4"):
        step.sums()


def test_a_gradient_that_is_no_number_names_its_prompts(model: PreTrainedModel) -> None:
    # The square root of 0 is a number, and its slope is not.
    step = step_of(model, 23)
    step.accumulate(spoiled(model, 5, lambda loss: loss + (loss - loss.detach()).abs().sqrt()))
    assert step.sums()["loss"] > 0
    error = step.gradient_error(float("nan"))
    assert "norm of the gradient is nan for prompt 5." in str(error)
    assert not gradients(model)


def test_a_long_list_of_prompts_is_cut(model: PreTrainedModel) -> None:
    groups = [group(number, 2) for number in range(12)]
    step = step_of(model, ALL, groups=groups)
    step.accumulate(spoiled(model, 0, lambda loss: loss * float("inf")))
    with pytest.raises(NotFiniteError, match=r"prompts 0, 1, 2, 3, 4, 5, 6, 7 and 4 more"):
        step.sums()
