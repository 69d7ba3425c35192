"""Adapters learn beside frozen weights, are kept without them, and are merged into what is published."""

import json
import signal
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor
from transformers import AutoModelForCausalLM, PreTrainedModel

from tests.trainer.models import TINY, tiny_llama
from tests.trainer.preference_samples import QUICK, preference_run, rankings_make, sft_run
from tests.trainer.processes import Moment, command_line, run
from tests.trainer.snapshot_samples import events
from trainer import reward
from trainer.config import SftOptions, options_read
from trainer.data.batches import collate
from trainer.data.groups import Group
from trainer.loop.optimization import optimizer_build
from trainer.models.adapters import ADAPTERS, adapters_add, adapters_merge, adapters_off, base_weights, weights_digest
from trainer.models.networks import backbone, completion_logprobs, model_save, policy_load, prompts_share, reward_load
from trainer.runs import InputError, RunFolder

GROUPS = [Group(1, [5, 6, 7, 8], [[9, 10, 11], [12, 13]], [], 1.0), Group(2, [7], [[5, 5], [6], [8, 9]], [], 1.0)]
RESULTS = ("model/model.safetensors", "events.jsonl", "reference.safetensors", ADAPTERS)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a model and a snapshot."""
    folder = tmp_path_factory.mktemp("adapters")
    tiny_llama(folder / "model")
    rankings_make(folder / "snapshot")
    return folder


def adapted(folder: Path, family: str = "llama", *, moved: float = 0.0, **given: Any) -> PreTrainedModel:
    """A tiny model with adapters of rank 2, their numbers moved by something."""
    model = policy_load(str(TINY[family](folder / family)))
    with RunFolder(folder / "run") as run_folder:
        adapters_add(model, SftOptions(**({"lora_rank": 2} | given)), run_folder)
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for parameter in learning(model).values():
            parameter.add_(moved * torch.randn(parameter.shape, generator=generator))
    return model


def learning(model: torch.nn.Module) -> dict[str, Tensor]:
    return {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}


def said(model: PreTrainedModel, *, shared: bool = False) -> Tensor:
    with torch.no_grad():
        return completion_logprobs(model, collate(GROUPS, 0, shared=shared).tokens)[0]


@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_at_first_adapters_change_nothing(tmp_path: Path, family: str) -> None:
    plain = said(policy_load(str(TINY[family](tmp_path / "plain"))))
    assert torch.equal(said(adapted(tmp_path, family)), plain)


@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_they_stand_beside_every_linear_layer_of_the_backbone_and_nothing_else_learns(
    tmp_path: Path, family: str
) -> None:
    plain = policy_load(str(TINY[family](tmp_path / "plain")))
    layers = {name for name, module in backbone(plain).named_modules() if type(module).__name__ in ("Linear", "Conv1D")}
    model = adapted(tmp_path, family)
    prefix = f"{model.base_model_prefix}."
    beside = {name.removeprefix(prefix).split(".lora_")[0] for name in learning(model)}
    assert beside == layers
    assert all(".lora_A." in name or ".lora_B." in name for name in learning(model))
    assert base_weights(model).keys() == dict(plain.named_parameters()).keys()


@pytest.mark.parametrize("family", ["llama", "gpt2"])
@pytest.mark.parametrize("shared", [False, True])
def test_merged_and_unmerged_say_the_same(tmp_path: Path, family: str, shared: bool) -> None:
    model = adapted(tmp_path, family, moved=0.1)
    if shared:
        assert prompts_share(model, "auto")
    with adapters_off(model):
        before = said(model, shared=shared)
    unmerged = said(model, shared=shared)
    adapters_merge(model)
    assert torch.allclose(said(model, shared=shared), unmerged, atol=1e-4)
    assert not torch.allclose(before, unmerged, atol=0.1)
    assert not [name for name, _ in model.named_modules() if "lora" in name]


def test_what_is_saved_loads_without_adapters(tmp_path: Path, place: Path) -> None:
    from trainer.data.conversations import tokenizer_load

    model = adapted(tmp_path, moved=0.1)
    unmerged = said(model)
    adapters_merge(model)
    model_save(model, tokenizer_load(str(place / "model")), tmp_path / "saved")
    assert torch.allclose(said(policy_load(str(tmp_path / "saved"))), unmerged, atol=1e-4)
    assert not (tmp_path / "saved" / "adapter_config.json").exists()
    AutoModelForCausalLM.from_pretrained(tmp_path / "saved")


def test_switched_off_they_leave_the_model_that_was_there_and_come_back(tmp_path: Path) -> None:
    plain = said(policy_load(str(tiny_llama(tmp_path / "plain"))))
    model = adapted(tmp_path, moved=0.1)
    names, now = set(learning(model)), said(model)
    with adapters_off(model):
        assert torch.equal(said(model), plain)
    assert torch.equal(said(model), now)
    assert set(learning(model)) == names


def test_a_digest_is_of_the_weights_that_adapters_stand_beside(tmp_path: Path) -> None:
    plain = policy_load(str(tiny_llama(tmp_path / "plain")))
    model = adapted(tmp_path, moved=0.1)
    assert weights_digest(model) == weights_digest(plain)
    adapters_merge(model)
    assert weights_digest(model) != weights_digest(plain)


def test_adapters_are_drawn_from_the_seed_alone(tmp_path: Path) -> None:
    folder, drawn = tiny_llama(tmp_path / "model"), []
    for number, seed in enumerate((0, 0, 7)):
        model = policy_load(str(folder))
        torch.manual_seed(number)
        state = torch.get_rng_state()
        with RunFolder(tmp_path / str(number)) as run_folder:
            adapters_add(model, SftOptions(lora_rank=2, seed=seed), run_folder)
        assert torch.equal(torch.get_rng_state(), state)
        drawn.append(learning(model))
    assert all(torch.equal(value, drawn[1][name]) for name, value in drawn[0].items())
    assert not all(torch.equal(value, drawn[2][name]) for name, value in drawn[0].items())


@pytest.mark.parametrize(("given", "scale"), [({}, 2.0), ({"lora_alpha": 3.0}, 1.5)])
def test_adapters_count_by_alpha_over_rank(tmp_path: Path, given: dict[str, float], scale: float) -> None:
    model = adapted(tmp_path, moved=0.1, **given)
    layer = model.get_submodule("model.layers.0.mlp.up_proj")
    down, up = layer.lora_A["default"].weight, layer.lora_B["default"].weight  # type: ignore[index,union-attr]
    expected = layer.get_base_layer().weight + scale * up @ down  # type: ignore[operator,union-attr]
    adapters_merge(model)
    merged = model.get_submodule("model.layers.0.mlp.up_proj").weight
    assert torch.allclose(merged, expected, atol=1e-6)  # type: ignore[arg-type]


def test_modules_can_be_trained_whole(tmp_path: Path) -> None:
    model = policy_load(str(tiny_llama(tmp_path / "model")))
    with RunFolder(tmp_path / "run") as folder:
        adapters_add(model, SftOptions(lora_rank=2), folder, whole=["lm_head"])
    assert "lm_head.weight" in learning(model)
    held = sum(len(group["params"]) for group in optimizer_build(model, SftOptions()).param_groups)
    assert held == len(learning(model)) < len(list(model.parameters()))


def test_without_a_rank_all_weights_learn(tmp_path: Path) -> None:
    model = adapted(tmp_path, lora_rank=0)
    assert len(learning(model)) == len(list(model.parameters()))
    assert not (tmp_path / "run" / ADAPTERS).exists()


def test_other_weights_than_a_run_began_with_are_refused(tmp_path: Path) -> None:
    adapted(tmp_path)
    model = policy_load(str(tiny_llama(tmp_path / "changed", seed=1)))
    with RunFolder(tmp_path / "run") as folder, pytest.raises(InputError, match="other weights"):
        adapters_add(model, SftOptions(lora_rank=2), folder)


def line(place: Path, output: Path) -> list[str]:
    return command_line(
        "preference", output, model=place / "model", snapshot=place / "snapshot", **(QUICK | {"lora_rank": 2})
    )


def test_a_killed_training_of_adapters_ends_the_same(place: Path, tmp_path: Path) -> None:
    assert run(line(place, tmp_path / "whole")) == 0
    assert run(line(place, tmp_path / "killed"), until=Moment("events.jsonl", 5)) == -signal.SIGKILL
    assert run(line(place, tmp_path / "killed")) == 0
    for name in RESULTS:
        assert (tmp_path / "killed" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes(), name
    kept = load_file(tmp_path / "whole" / "checkpoints" / "step-2" / "weights.safetensors")
    assert all(".lora_" in name for name in kept)
    described = json.loads((tmp_path / "whole" / ADAPTERS).read_text())
    assert (described["rank"], described["alpha"], len(described["beside"])) == (2, 4, 14)


@pytest.mark.parametrize("checkpointing", [False, True])
def test_a_policy_learns_by_adapters_beside_frozen_weights(place: Path, tmp_path: Path, checkpointing: bool) -> None:
    given: dict[str, Any] = {"lora_rank": 4, "learning_rate": 0.02, "epochs": 5}
    preference_run(place, tmp_path, gradient_checkpointing=checkpointing, **given)
    first, last = (events(tmp_path, "eval")[at]["values"] for at in (0, -1))
    assert first["margin"] == pytest.approx(0, abs=1e-4)
    assert last["margin"] > 0.5
    before, after = (load_file(folder / "model" / "model.safetensors") for folder in (place, tmp_path))
    moved = {name for name, weight in before.items() if not torch.equal(weight, after[name])}
    assert all("_proj." in name for name in moved)
    assert len(moved) == 14


def test_a_published_policy_says_what_was_measured_of_it(place: Path, tmp_path: Path) -> None:
    """The margin on held-out prompts, from the published folder and the start, is the one of the last evaluation."""
    from trainer.data.conversations import tokenizer_load
    from trainer.data.groups import groups_from
    from trainer.data.snapshots import snapshot_read

    report = preference_run(place, tmp_path, lora_rank=4, learning_rate=0.02)
    snapshot, tokenizer = snapshot_read(place / "snapshot"), tokenizer_load(str(place / "model"))
    groups, _ = groups_from(snapshot, tokenizer, split="validation", max_length=512)
    tokens = collate(groups, 0, shared=False).tokens
    with torch.no_grad():
        sums = [completion_logprobs(policy_load(str(folder / "model")), tokens)[0] for folder in (tmp_path, place)]
    rewards = (0.1 * (sums[0] - sums[1])).split(4)
    margins = [
        sum(float(of_one[edge.i] - of_one[edge.j]) for edge in group.edges) / len(group.edges)
        for of_one, group in zip(rewards, groups, strict=True)
    ]
    weights = [group.weight for group in groups]
    expected = sum(weight * margin for weight, margin in zip(weights, margins, strict=True)) / sum(weights)
    assert report["metrics"]["margin"] == pytest.approx(expected, abs=1e-3)
    assert abs(expected) > 0.01


def test_supervised_training_by_adapters(place: Path, tmp_path: Path) -> None:
    report = sft_run(place, tmp_path, lora_rank=4, learning_rate=0.02, epochs=4)
    assert report["metrics"]["loss"] < report["metrics"]["loss_before"] - 0.2
    assert said(policy_load(str(tmp_path / "model"))).isfinite().all()


def test_a_reward_model_by_adapters_with_a_head_that_is_trained_whole(place: Path, tmp_path: Path) -> None:
    options = options_read("reward", {name: value for name, value in QUICK.items() if name != "learning_rate"} | {
        "lora_rank": 4, "learning_rate": 0.02, "epochs": 4, "zero_at": "none",
    })  # fmt: skip
    request: Any = {"command": "reward", "model": str(place / "model"), "snapshot": str(place / "snapshot")}
    with RunFolder(tmp_path / "run") as folder:
        metrics = reward.run(request | {"options": asdict(options)}, options, folder)["metrics"]
    assert metrics["loss"] < metrics["loss_before"]
    kept = load_file(tmp_path / "run" / "checkpoints" / "step-8" / "weights.safetensors")
    assert {name for name in kept if ".lora_" not in name} == {"score.weight"}
    published = reward_load(str(tmp_path / "run" / "model"))
    before, after = load_file(place / "model" / "model.safetensors"), dict(published.named_parameters())
    assert torch.equal(before["model.embed_tokens.weight"], after["model.embed_tokens.weight"])
    assert not torch.equal(before["model.layers.0.mlp.up_proj.weight"], after["model.layers.0.mlp.up_proj.weight"])
    assert torch.equal(kept["score.weight"], after["score.weight"])
