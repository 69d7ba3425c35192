"""Activations computed twice change no gradient; weights stay float32; what the end of the memory looks like."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from transformers import BertConfig, BertForSequenceClassification, GPTNeoXConfig, GPTNeoXForCausalLM, PreTrainedModel
from transformers.modeling_layers import GradientCheckpointingLayer

from tests.trainer.models import TINY
from tests.trainer.test_steps import GROUPS, apart, gradients, likelihood, step_of
from trainer.config import SftOptions
from trainer.data.batches import collate
from trainer.loop.memory import checkpointing_enable, longest_of, out_of_memory
from trainer.loop.optimization import gradients_clip, optimizer_build, optimizer_step, precision
from trainer.models.networks import completion_logprobs, policy_load, prompts_share
from trainer.runs import InputError

CPU = torch.device("cpu")


class Counted:
    """How often the attention's values are projected: once in a forward pass, and again where it is done twice."""

    def __init__(self, model: nn.Module) -> None:
        self.calls = 0
        layers = [module for module in model.modules() if isinstance(module, GradientCheckpointingLayer)]
        self.layers = len(layers)
        for layer in layers:
            next(
                module for module in layer.modules() if isinstance(module, nn.LayerNorm) or _norm(module)
            ).register_forward_hook(self._count)

    def _count(self, *_: object) -> None:
        self.calls += 1


def _norm(module: nn.Module) -> bool:
    return "Norm" in type(module).__name__


@pytest.mark.parametrize("kind", sorted(TINY))
@pytest.mark.parametrize("shared", [True, False])
def test_layers_that_are_computed_twice_give_the_same_gradients(tmp_path: Path, kind: str, shared: bool) -> None:
    model = policy_load(str(TINY[kind](tmp_path / "model")))
    if shared:
        assert prompts_share(model, "auto")
    step = step_of(model, 30, shared=shared)
    step.accumulate(likelihood(model))
    wanted, measured = gradients(model), step.sums()

    checkpointing_enable(model)
    counted = Counted(model)
    step = step_of(model, 30, shared=shared)
    step.accumulate(likelihood(model))
    portions = len(list(step.feed.batches(GROUPS)))
    assert counted.calls == 2 * counted.layers * portions
    # The very same operations: not even the last bit differs.
    assert apart(wanted, gradients(model)) == 0.0
    assert step.sums() == measured


def test_only_layers_are_in_training_mode_so_that_dropout_stays_off(tmp_path: Path) -> None:
    model = policy_load(str(TINY["gpt2"](tmp_path / "model")))
    checkpointing_enable(model)
    training = [module for module in model.modules() if module.training]
    assert training
    assert all(isinstance(module, GradientCheckpointingLayer) for module in training)
    batch = collate(GROUPS, 0, shared=False)
    first, second = (completion_logprobs(model, batch.tokens)[0] for _ in range(2))
    assert torch.equal(first, second)


@pytest.mark.parametrize("kind", ["neox", "bert"])
def test_other_families_can_too(kind: str) -> None:
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    model: PreTrainedModel
    if kind == "neox":
        model = GPTNeoXForCausalLM(GPTNeoXConfig(vocab_size=50, hidden_dropout=0.0, attention_dropout=0.0, **sizes))
    else:
        model = BertForSequenceClassification(
            BertConfig(vocab_size=50, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0, num_labels=1, **sizes)
        )
    model.eval()
    ids = torch.arange(12).view(2, 6)

    def slope() -> dict[str, Tensor]:
        model.zero_grad()
        model(input_ids=ids).logits.square().sum().backward()
        return gradients(model)

    wanted = slope()
    checkpointing_enable(model)
    counted = Counted(model)
    assert apart(wanted, slope()) == 0.0
    assert counted.calls == 2 * counted.layers == 4


def test_a_model_that_cannot_is_refused(tmp_path: Path) -> None:
    model = policy_load(str(TINY["llama"](tmp_path / "model")))
    model.model.layers = nn.ModuleList()
    with pytest.raises(InputError, match="LlamaForCausalLM cannot compute its layers twice"):
        checkpointing_enable(model)


def test_bfloat16_computes_while_float32_learns(tmp_path: Path) -> None:
    """A hundred steps far below the spacing of bfloat16 add up to one that is not."""
    model = policy_load(str(TINY["llama"](tmp_path / "model")))
    options = SftOptions(learning_rate=1e-6, weight_decay=0.0)
    optimizer = optimizer_build(model, options)
    batch = collate(GROUPS, 0, shared=False)
    weight = model.get_input_embeddings().weight
    seen = batch.tokens.input_ids.unique()
    before = weight.detach()[seen].clone()
    for _ in range(100):
        with precision(CPU, torch.bfloat16):
            sums, counts = completion_logprobs(model, batch.tokens)
        (-sums.sum() / counts.sum()).backward()
        assert {one.grad.dtype for one in model.parameters() if one.grad is not None} == {torch.float32}
        gradients_clip(model, 1.0)
        optimizer_step(optimizer, rate=1e-6)
    assert {one.dtype for one in model.parameters()} == {torch.float32}
    assert {value.dtype for state in optimizer.state.values() for value in state.values()} == {torch.float32}
    moved = (weight.detach()[seen] - before).abs()
    # AdamW moves each weight by about its rate each step.
    assert 2e-5 < float(moved.mean()) <= 1.05e-4
    # In bfloat16, weights of the size of these would not have moved at all.
    once = (before.bfloat16() + 1e-6).float()
    assert float((once != before.bfloat16().float()).float().mean()) < 0.05


def test_what_the_end_of_the_memory_looks_like() -> None:
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**62, dtype=torch.uint8)
    assert out_of_memory(caught.value)
    assert out_of_memory(torch.OutOfMemoryError("CUDA out of memory."))
    assert out_of_memory(MemoryError())
    assert not out_of_memory(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))
    assert not out_of_memory(ValueError("not enough memory of that"))


def test_the_longest_group_has_the_most_tokens() -> None:
    assert longest_of(GROUPS).prompt == 5
    assert longest_of(GROUPS[:2]).prompt == 1
