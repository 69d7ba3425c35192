"""A model that is divided among processes learns what it learns whole, and no process holds more than its part."""

import gc
import math
import signal
import weakref
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.distributed.fsdp import FSDPModule
from torch.distributed.tensor import DTensor
from transformers import AutoModelForCausalLM, PreTrainedModel

from tests.trainer.models import tiny_gpt2, tiny_llama
from tests.trainer.processes import Moment, call_together, command_line, run, run_together
from tests.trainer.reward_samples import family_make, reward_snapshot_make
from tests.trainer.snapshot_samples import events, report, snapshot_make
from tests.trainer.test_steps import ALL, GROUPS, apart, gradients, likelihood, step_of
from trainer.__main__ import main
from trainer.config import SftOptions
from trainer.data.batches import Tokens, collate
from trainer.data.groups import Group
from trainer.loop import distributed, parts, sharding
from trainer.loop.optimization import gradients_clip, optimizer_build, optimizer_step, precision
from trainer.models.entrance import entering, entrance_of
from trainer.models.networks import policy_load, prompts_share, token_logprobs
from trainer.records import checkpoint_newest
from trainer.runs import InputError

pytestmark = pytest.mark.services

# AdamW takes a gradient that is nothing but rounding for a direction (that of a bias of keys, to which a softmax is
# blind), unless a greater epsilon tells it not to.
OPTIONS = {
    **{"epochs": 1, "prompts_per_step": 4, "micro_tokens": 90, "learning_rate": 0.003, "epsilon": 1e-5},
    **{"checkpoint_every": 1, "evaluate_every": 2},
}
NEAR = 2e-6
RESULTS = ("model/model.safetensors", "events.jsonl", "report.json", "config.json")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with models and snapshots. Prompts, eleven or twelve and four held out, divide unevenly."""
    folder = tmp_path_factory.mktemp("sharded")
    tiny_llama(folder / "llama")
    tiny_gpt2(folder / "gpt2")
    family_make(folder / "bert", "bert", trained=True)
    snapshot_make(folder / "snapshot")
    reward_snapshot_make(folder / "rated")
    return folder


def line(place: Path, output: Path, command: str = "reward", model: str = "llama", **options: Any) -> list[str]:
    """A training of a model on a snapshot."""
    snapshot = place / options.pop("snapshot", "snapshot")
    return command_line(command, output, model=place / model, snapshot=snapshot, **OPTIONS | options)


def together(arguments: list[str], count: int, **ending: Any) -> list[int]:
    """A command in processes that hold a part of the model each."""
    return run_together([*arguments, "--parallel", "sharded"], count, **ending)


def weights(folder: Path) -> dict[str, Tensor]:
    """The weights that a run ended with."""
    return load_file(folder / "model" / "model.safetensors")


def same(one: Path, other: Path) -> None:
    """Two runs ended with the same bytes."""
    for name in RESULTS:
        assert (one / name).read_bytes() == (other / name).read_bytes(), name


def near(one: Path, other: Path) -> None:
    """Two runs learned the same and measured the same."""
    mine, theirs = weights(one), weights(other)
    assert mine.keys() == theirs.keys()
    for name, tensor in mine.items():
        assert torch.allclose(tensor, theirs[name], rtol=0, atol=NEAR), name
    for kind in ("train", "eval"):
        left, right = events(one, kind), events(other, kind)
        assert [event["step"] for event in left] == [event["step"] for event in right]
        for first, second in zip(left, right, strict=True):
            assert second["values"] == pytest.approx(first["values"], rel=2e-4, abs=1e-6)
    assert report(other)["metrics"] == pytest.approx(report(one)["metrics"], rel=2e-4, abs=1e-6)
    for name in ("counts", "steps", "best_step"):
        assert report(other).get(name) == report(one).get(name)


# -- whole trainings

# The eighth of nine evaluations is the best, to whose weights all processes go back.
BEST = {"evaluate_every": 1, "patience": 1, "epochs": 3, "learning_rate": 0.01, "schedule": "constant"}
WAYS: dict[str, tuple[int, dict[str, Any]]] = {
    "sft tied": (3, {"command": "sft", "model": "gpt2", "gradient_checkpointing": "true"}),
    "reward ties": (2, {"ties": "rao_kupper", "head_rate": 10}),
    "reward heads": (3, {"snapshot": "rated", "likert_weight": 0.5, "questions_weight": 0.5, "heads": "safe=safety"}),
    "reward encoder": (2, {"snapshot": "rated", "model": "bert", "max_length": 60}),
    "reward adapters": (2, {"lora_rank": 2, "pooling": "mean"}),
    "preference": (2, {"command": "preference", "gradient_checkpointing": "true", "weight_decay": 0.1}),
    "preference adapters": (2, {"command": "preference", "model": "gpt2", "lora_rank": 2}),
    "preference best": (2, {"command": "preference", **BEST}),
    "preference kto": (2, {"command": "preference", "loss": "kto", "labels": "ranking"}),
    "preference sft": (2, {"command": "preference", "held_to": "sft", "loss": "ipo"}),
}


@pytest.mark.parametrize("way", WAYS)
def test_a_sharded_model_learns_and_measures_what_a_whole_one_does(place: Path, tmp_path: Path, way: str) -> None:
    count, options = WAYS[way]
    assert run(line(place, tmp_path / "whole", **options)) == 0
    assert together(line(place, tmp_path / "sharded", **options), count) == [0] * count
    near(tmp_path / "whole", tmp_path / "sharded")
    started = load_file(place / options.get("model", "llama") / "model.safetensors")
    learned = weights(tmp_path / "sharded")
    assert any(not torch.allclose(learned[name], started[name], atol=1e-3) for name in started.keys() & learned.keys())


def test_what_is_published_loads_like_any_other_model(place: Path, tmp_path: Path) -> None:
    assert together(line(place, tmp_path, "sft", "gpt2"), 2) == [0, 0]
    model, found = AutoModelForCausalLM.from_pretrained(tmp_path / "model", output_loading_info=True)
    assert type(model).__name__ == model.config.architectures[0] == "GPT2LMHeadModel"
    assert not found["missing_keys"]
    assert not found["unexpected_keys"]
    assert model.lm_head.weight is model.transformer.wte.weight


@pytest.mark.parametrize(("before", "after"), [(2, 1), (1, 2), (2, 3)])
def test_a_run_goes_on_with_another_number_of_processes(place: Path, tmp_path: Path, before: int, after: int) -> None:
    """Adapters and a head that learns whole, so that a part of the weights is in no checkpoint."""
    options = {"lora_rank": 2, "ties": "rao_kupper", "epochs": 2}
    assert run(line(place, tmp_path / "whole", **options)) == 0
    # The log is opened before each line, and once when the run begins.
    moment = Moment("events.jsonl", 8)
    codes = together(line(place, tmp_path / "sharded", **options), before, until=moment)
    assert codes == [-signal.SIGKILL] + [1] * (before - 1)
    newest = checkpoint_newest(tmp_path / "sharded")
    assert newest is not None
    assert 1 <= newest.step < 6
    assert together(line(place, tmp_path / "sharded", **options), after) == [0] * after
    near(tmp_path / "whole", tmp_path / "sharded")


def test_killed_and_started_again_it_ends_with_the_same_bits(place: Path, tmp_path: Path) -> None:
    assert together(line(place, tmp_path / "undisturbed"), 2) == [0, 0]
    for moment, victim in ((Moment("/.step-1.", 2), 0), (Moment("checkpoints/step-", 1), 1)):
        assert together(line(place, tmp_path / "killed"), 2, until=moment, victim=victim)[victim] == -signal.SIGKILL
        if victim == 0:  # the other process opens a checkpoint when it goes on
            assert together(line(place, tmp_path / "killed"), 2, until=Moment("/.step-2.", 2))[0] == -signal.SIGKILL
    assert together(line(place, tmp_path / "killed"), 2) == [0, 0]
    same(tmp_path / "killed", tmp_path / "undisturbed")


def test_one_process_has_nothing_to_divide(place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(line(place, tmp_path / "replicas")) == 0
    assert main(line(place, tmp_path / "alone", parallel="sharded")) == 0
    assert "this one is alone and holds all of it" in capsys.readouterr().err
    for name in RESULTS[:3]:
        assert (tmp_path / "alone" / name).read_bytes() == (tmp_path / "replicas" / name).read_bytes(), name


# -- the parts


def sharded(path: Path, **options: Any) -> PreTrainedModel:
    """A policy of which this process holds its part."""
    model = policy_load(str(path))
    assert prompts_share(model, "auto")
    sharding.model_shard(model, SftOptions(parallel="sharded", **options), token_logprobs)
    return model


def whole_gradients(model: nn.Module) -> dict[str, list[Any]]:
    """Gradients of all processes."""
    return {name: parts.whole(one).tolist() for name, one in gradients(model).items()}


def holding(path: Path, _rank: int) -> dict[str, Any]:
    """What a process holds, in numbers, before and after a step."""
    model = sharded(path)
    optimizer = optimizer_build(model, SftOptions())
    parameters = list(model.parameters())
    total = sum(one.numel() for one in parameters)
    step = step_of(model, 30)
    step.accumulate(likelihood(model))
    held = sum(part.numel() for part in parts.gradients(model))
    optimizer_step(optimizer, rate=1e-3)
    means = [value for state in optimizer.state.values() for value in state.values() if value.ndim]
    return {
        "total": total,
        "divided": all(isinstance(one, DTensor) for one in parameters),
        "weights": sum(parts.local(one).numel() for one in parameters),
        "memory": sum(parts.local(one).untyped_storage().nbytes() for one in parameters),
        "gradients": held,
        "means": sum(parts.local(value).untyped_storage().nbytes() for value in means),
    }


def test_each_process_holds_its_part_of_weights_gradients_and_means(place: Path) -> None:
    found = call_together(partial(holding, place / "gpt2"), 2)
    total = found[0]["total"]
    for one in found:
        assert one["divided"]
        assert one["weights"] == one["gradients"]
        assert one["weights"] == pytest.approx(total / 2, rel=0.01)
        assert one["memory"] == pytest.approx(4 * total / 2, rel=0.01)
        assert one["means"] == pytest.approx(2 * 4 * total / 2, rel=0.01)
    assert sum(one["weights"] for one in found) == total


def stepping(path: Path, groups: list[Group], micro_tokens: int, _rank: int) -> Any:
    """The gradients of a step, their norm before they were scaled down, and what was measured."""
    model = sharded(path)
    step = step_of(model, micro_tokens, groups=groups)
    step.accumulate(likelihood(model))
    portions = len(list(step.feed.batches(distributed.own(groups))))
    found = whole_gradients(model)
    return portions, step.sums(), found, gradients_clip(model, 0.5), whole_gradients(model)


@pytest.mark.parametrize(
    ("groups", "micro_tokens", "portions"),
    [
        (GROUPS, 23, [2, 2]),  # 23 and 11 tokens; 17, and 11 + 8
        (GROUPS, 18, [2, 3]),
        (GROUPS[:1], ALL, [1, 0]),
    ],
    ids=["as many", "fewer", "none"],
)
def test_gradients_add_up_whatever_each_process_has_to_do(
    place: Path, groups: list[Group], micro_tokens: int, portions: list[int]
) -> None:
    model = policy_load(str(place / "llama"))
    assert prompts_share(model, "auto")
    step = step_of(model, ALL, groups=groups)
    step.accumulate(likelihood(model))
    wanted, measured = gradients(model), step.sums()
    norm = math.sqrt(sum(float(one.double().square().sum()) for one in wanted.values()))
    assert norm > 0.5
    found = call_together(partial(stepping, place / "llama", groups, micro_tokens), 2)
    assert [one[0] for one in found] == portions
    for _, sums, whole, before, clipped in found:
        assert sums == pytest.approx(measured, rel=1e-6)
        assert apart(wanted, {name: torch.tensor(values) for name, values in whole.items()}) < 2e-6
        assert before == pytest.approx(norm, rel=1e-5)
        scaled = {name: torch.tensor(values) * (norm / 0.5) for name, values in clipped.items()}
        assert apart(wanted, scaled) < 1e-5


def gathering(path: Path, _rank: int) -> dict[str, Any]:
    """A model with frozen and tied weights, divided and put together."""
    wanted = policy_load(str(path))
    model = policy_load(str(path)).requires_grad_(False)
    model.get_input_embeddings().requires_grad_(True)
    sharding.model_shard(model, SftOptions(parallel="sharded"), token_logprobs)
    optimizer = optimizer_build(model, SftOptions())
    inside = entrance_of(model) is not None
    sharding.model_gather(model, optimizer)
    ids = torch.tensor([[3, 5, 2]])
    return {
        "entrance": [inside, entrance_of(model) is not None],
        "equal": all(torch.equal(one, model.state_dict()[name]) for name, one in wanted.state_dict().items()),
        "learning": [name for name, one in model.named_parameters() if one.requires_grad],
        "tied": model.get_output_embeddings().weight is model.get_input_embeddings().weight,
        "config": model.base_model.config is model.config,
        "same": torch.equal(model(ids).logits, wanted(ids).logits),
    }


def test_a_model_that_is_put_together_again_is_what_it_was(place: Path) -> None:
    for found in call_together(partial(gathering, place / "gpt2"), 2):
        assert found == {
            "entrance": [True, False],
            "equal": True,
            "learning": ["transformer.wte.weight"],
            "tied": True,
            "config": True,
            "same": True,
        }


def leaving(path: Path, _rank: int) -> list[int]:
    """What is left of a model that learned in parts: parts, and what was whole once the model is gone."""
    model = sharded(path, gradient_checkpointing=True)
    optimizer = optimizer_build(model, SftOptions())
    step = step_of(model, 30)
    step.accumulate(likelihood(model))
    optimizer_step(optimizer, rate=1e-3)
    del step
    old = [weakref.ref(one) for one in (*model.parameters(), *model.modules()) if one is not model]
    old += [weakref.ref(value) for state in optimizer.state.values() for value in state.values()]
    sharding.model_gather(model, optimizer)
    gc.disable()
    kinds = [type(one) for one in gc.get_objects()]
    left = [sum(one() is not None for one in old), sum(issubclass(kind, DTensor | FSDPModule) for kind in kinds)]
    new = [weakref.ref(one) for one in (*model.parameters(), *model.modules())]
    assert all(one() is not None for one in new)
    del model
    return [*left, sum(one() is not None for one in new)]


def test_nothing_is_left_of_the_parts_and_then_nothing_of_the_whole(place: Path) -> None:
    assert call_together(partial(leaving, place / "llama"), 2) == [[0, 0, 0]] * 2


def copying(path: Path, rank: int) -> list[Any]:
    """Whether two products share a weight's copy in a pass, and their type; where one process has nothing to do."""
    model = sharded(path, dtype="bfloat16")
    entrance = entrance_of(model)
    assert entrance is not None
    found: list[Any] = []

    @entering
    def twice(model: PreTrainedModel, tokens: Tokens) -> Tensor:
        weight = model.get_output_embeddings().weight
        products = [nn.functional.linear(torch.ones(2, weight.shape[1]), weight) for _ in range(2)]
        copies = [product.grad_fn.next_functions[1][0].next_functions[0][0] for product in products]
        found.extend([copies[0].name(), copies[0] is copies[1], str(products[0].dtype)])
        return torch.stack(products)

    entrance.idle = twice
    with precision(torch.device("cpu"), torch.bfloat16):
        twice(model, collate(GROUPS, 0, shared=True).tokens).sum().backward()
    for _, batch in sharding.turns(model, step_of(model, ALL).feed, GROUPS if rank == 0 else []):
        twice(model, batch.tokens).sum().backward()
    return found


def test_copies_of_weights_do_not_outlive_their_use_and_idle_turns_compute_like_others(place: Path) -> None:
    wanted = ["ToCopyBackward0", False, "torch.bfloat16"] * 2
    assert call_together(partial(copying, place / "llama"), 2) == [wanted, wanted]


def differing(path: Path, rank: int) -> Any:
    """Processes that were given different models."""
    model = policy_load(str(path))
    with torch.no_grad():
        model.get_input_embeddings().weight[0, 0] += rank
    sharding.model_shard(model, SftOptions(parallel="sharded"), token_logprobs)


def test_parts_of_different_models_are_not_put_together(place: Path) -> None:
    assert all("hold different weights" in found for found in call_together(partial(differing, place / "llama"), 2))


def odd(path: Path, module: str, rank: int) -> Any:
    """A model with a number of its own somewhere."""
    model = policy_load(str(path))
    model.get_submodule(module).register_parameter("gate", nn.Parameter(torch.tensor(1.0)))
    sharding.model_shard(model, SftOptions(parallel="sharded"), token_logprobs)


@pytest.mark.parametrize(
    ("module", "why"), [("model.layers.1", "fully_shard doesn't support scalar"), ("", "gate are weights in none")]
)
def test_a_model_that_cannot_be_divided_is_refused(place: Path, module: str, why: str) -> None:
    for found in call_together(partial(odd, place / "llama", module), 2):
        assert found.startswith(f"InputError 2: LlamaForCausalLM cannot be sharded: {why}")
        assert found.endswith("Set parallel to replicas.")


def test_what_is_not_sharded_is_left_alone(place: Path) -> None:
    model = policy_load(str(place / "llama"))
    sharding.model_shard(model, SftOptions(), token_logprobs)
    assert entrance_of(model) is None
    own = next(model.parameters())
    sharding.model_gather(model, optimizer_build(model, SftOptions()))
    assert next(model.parameters()) is own
    assert parts.local(own) is parts.whole(own) is parts.divided(own, own) is own


def test_the_kind_is_one_of_two(place: Path, tmp_path: Path) -> None:
    assert run(line(place, tmp_path, parallel="both")) == InputError.exit_code
