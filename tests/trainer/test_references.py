"""What the reference says is computed once, kept whole or not at all, and found again by those to whom it applies."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import PreTrainedModel

from tests.trainer.models import tiny_llama
from tests.trainer.preference_samples import preference_run, rankings_make
from trainer.config import PreferenceOptions
from trainer.data.batches import Feed, collate
from trainer.data.conversations import tokenizer_load
from trainer.data.groups import Group, groups_from
from trainer.data.snapshots import snapshot_read
from trainer.loop import references
from trainer.loop.material import Setup
from trainer.loop.references import CACHE, REFERENCE, References, references_make, tokens_digest
from trainer.models.adapters import adapters_add
from trainer.models.networks import completion_logprobs, policy_load, prompts_share
from trainer.runs import RunFolder

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two models and a snapshot."""
    folder = tmp_path_factory.mktemp("references")
    tiny_llama(folder / "model")
    tiny_llama(folder / "other", seed=1)
    rankings_make(folder / "snapshot")
    return folder


@pytest.fixture
def setup(place: Path) -> Setup:
    return Setup(CPU, torch.float32, tokenizer_load(str(place / "model")), snapshot_read(place / "snapshot"))


@pytest.fixture
def groups(setup: Setup) -> list[Group]:
    return groups_from(setup.snapshot, setup.tokenizer, split="train", max_length=512)[0]


@pytest.fixture
def passes(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """How many completions each forward pass of a reference read; everything else is as it is."""
    read: list[int] = []

    def counted(policy: PreTrainedModel, tokens: Any) -> Any:
        read.append(len(tokens.last))
        return completion_logprobs(policy, tokens)

    monkeypatch.setattr(references, "completion_logprobs", counted)
    return iter([read])


def make(setup: Setup, folder: Path, model: PreTrainedModel, groups: list[Group], **given: Any) -> References:
    feed = Feed(0, CPU, 400, prompts_share(model, "auto"))
    with RunFolder(folder) as run:
        return references_make(
            model, feed, groups, setup=setup, folder=run, options=PreferenceOptions(), **({"max_length": 512} | given)
        )


def by_itself(model: PreTrainedModel, groups: list[Group]) -> torch.Tensor:
    """Sums of the groups' completions, each with its own copy of the prompt."""
    with torch.no_grad():
        return completion_logprobs(model, collate(groups, 0, shared=False).tokens)[0]


def test_they_are_the_references_sums_and_counts(
    place: Path, setup: Setup, groups: list[Group], tmp_path: Path
) -> None:
    made = make(setup, tmp_path, policy_load(str(place / "model")), groups)
    expected = by_itself(policy_load(str(place / "model")), groups)
    assert torch.allclose(made.sums(groups, CPU), expected, atol=1e-3)
    backwards = made.sums(groups[::-1], CPU).split([len(group.completions) for group in groups[::-1]])
    assert torch.allclose(torch.cat(backwards[::-1]), expected, atol=1e-3)
    kept = load_file(tmp_path / REFERENCE)
    assert kept["counts"].tolist() == [float(len(ids)) for group in groups for ids in group.completions]
    assert torch.equal(kept["sums"], made.sums(groups, CPU))


def test_a_named_reference_is_another_model_and_stays_as_it_is(
    place: Path, setup: Setup, groups: list[Group], tmp_path: Path
) -> None:
    made = make(setup, tmp_path, policy_load(str(place / "model")), groups, named=str(place / "other"))
    assert torch.allclose(made.sums(groups, CPU), by_itself(policy_load(str(place / "other")), groups), atol=1e-3)


def test_the_reference_of_adapters_is_the_model_without_them(
    place: Path, setup: Setup, groups: list[Group], tmp_path: Path
) -> None:
    model = policy_load(str(place / "model"))
    plain = make(setup, tmp_path / "plain", model, groups)
    with RunFolder(tmp_path / "adapted") as folder:
        adapters_add(model, PreferenceOptions(lora_rank=2), folder)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.3 * parameter.requires_grad)
    now = by_itself(model, groups)
    adapted = make(setup, tmp_path / "adapted", model, groups)
    assert torch.equal(adapted.sums(groups, CPU), plain.sums(groups, CPU))
    assert adapted.weights == plain.weights
    assert not torch.allclose(adapted.sums(groups, CPU), now, atol=0.1)
    assert torch.equal(by_itself(model, groups), now)


def test_a_second_time_nothing_is_computed(
    place: Path, setup: Setup, groups: list[Group], tmp_path: Path, passes: Iterator[list[int]]
) -> None:
    model, read = policy_load(str(place / "model")), next(passes)
    made = make(setup, tmp_path, model, groups)
    assert sum(read) == 32
    again = make(setup, tmp_path, model, groups)
    assert sum(read) == 32
    assert torch.equal(made.sums(groups, CPU), again.sums(groups, CPU))
    assert made.weights == again.weights


def test_other_runs_compute_only_what_none_has_computed(
    place: Path, setup: Setup, groups: list[Group], tmp_path: Path, passes: Iterator[list[int]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setenv(CACHE, str(tmp_path / "cache"))
    read = next(passes)
    first = make(setup, tmp_path / "a", policy_load(str(place / "model")), groups[:5])
    second = make(setup, tmp_path / "b", policy_load(str(place / "model")), groups[2:])
    assert sum(read) == 32
    third = make(setup, tmp_path / "c", policy_load(str(place / "model")), groups)
    assert sum(read) == 32
    assert torch.equal(third.sums(groups[:5], CPU), first.sums(groups[:5], CPU))
    assert torch.equal(third.sums(groups[5:], CPU), second.sums(groups[5:], CPU))
    assert len(list((tmp_path / "cache").glob("*/*.safetensors"))) == 2


@pytest.mark.parametrize("change", ["weights", "dtype", "max_length"])
def test_what_was_said_in_other_circumstances_is_not_used(
    place: Path, setup: Setup, groups: list[Group], tmp_path: Path, passes: Iterator[list[int]],
    monkeypatch: pytest.MonkeyPatch, change: str,
) -> None:  # fmt: skip
    monkeypatch.setenv(CACHE, str(tmp_path / "cache"))
    read = next(passes)
    make(setup, tmp_path / "a", policy_load(str(place / "model")), groups)
    other = Setup(CPU, torch.bfloat16, setup.tokenizer, setup.snapshot) if change == "dtype" else setup
    model = policy_load(str(place / ("other" if change == "weights" else "model")))
    make(other, tmp_path / "b", model, groups, max_length=511 if change == "max_length" else 512)
    assert sum(read) == 64


def test_the_name_of_a_model_does_not_matter_what_it_is_does(place: Path, tmp_path: Path) -> None:
    (tmp_path / "copy").symlink_to(place / "model")
    digests = {references.weights_digest(policy_load(str(path))) for path in (place / "model", tmp_path / "copy")}
    assert len(digests) == 1
    changed = policy_load(str(place / "model"))
    with torch.no_grad():
        changed.get_input_embeddings().weight[3, 3] += 1e-6
    assert references.weights_digest(changed) not in digests
    scaled = policy_load(str(place / "model"))
    scaled.config.rope_parameters = {"rope_type": "default", "rope_theta": 5.0}
    assert references.weights_digest(scaled) not in digests


def test_the_digest_is_about_tokens_and_not_about_opinions(groups: list[Group]) -> None:
    first = groups[0]
    other = Group(first.prompt, first.prompt_ids, first.completions, [], 7.0, first.ids)
    longer = Group(first.prompt, first.prompt_ids, [[*first.completions[0], 9], *first.completions[1:]], [], 1.0)
    assert tokens_digest([first]) == tokens_digest([other])
    assert tokens_digest([first]) != tokens_digest([longer])
    assert tokens_digest(groups) != tokens_digest(groups[::-1])


@pytest.mark.parametrize("damage", [lambda content: content[:-4] + b"\x00\x00\x80\x3f", lambda content: content[:40]])
def test_a_damaged_file_is_computed_again(
    place: Path, setup: Setup, groups: list[Group], tmp_path: Path, passes: Iterator[list[int]], damage: Any
) -> None:
    model, read = policy_load(str(place / "model")), next(passes)
    make(setup, tmp_path, model, groups)
    whole = (tmp_path / REFERENCE).read_bytes()
    (tmp_path / REFERENCE).write_bytes(damage(whole))
    make(setup, tmp_path, model, groups)
    assert sum(read) == 64
    assert (tmp_path / REFERENCE).read_bytes() == whole


def test_a_cache_that_cannot_be_written_costs_nothing_else(
    place: Path, setup: Setup, groups: list[Group], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv(CACHE, str(tmp_path / "file"))
    assert make(setup, tmp_path / "run", policy_load(str(place / "model")), groups).weights


def test_all_losses_share_one_cache(
    place: Path, tmp_path: Path, passes: Iterator[list[int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(CACHE, str(tmp_path / "cache"))
    read = next(passes)
    for loss in ("dpo", "ipo", "dpo_norm", "plackett_luce", "infonce"):
        preference_run(place, tmp_path / loss, loss=loss)
    assert sum(read) == 40


@pytest.mark.parametrize("given", [{"loss": "simpo"}, {"loss": "orpo"}, {"loss": "pro"}, {"held_to": "none"}], ids=str)
def test_without_a_reference_none_is_computed(
    place: Path, tmp_path: Path, passes: Iterator[list[int]], given: dict[str, str]
) -> None:
    read = next(passes)
    report = preference_run(place, tmp_path, **given)
    assert not read
    assert not (tmp_path / REFERENCE).exists()
    assert report["reference"] == {"is": "none"}


def test_a_run_ends_the_same_whoever_computed_its_reference(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, cache in (("alone", ""), ("first", "cache"), ("second", "cache")):
        monkeypatch.setenv(CACHE, str(tmp_path / cache) if cache else "")
        preference_run(place, tmp_path / name)
    published = [
        (tmp_path / name / "model" / "model.safetensors").read_bytes() for name in ("alone", "first", "second")
    ]
    assert published[0] == published[1] == published[2]
