"""Scorers: single models and combinations, held to the formulas by hand."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.trainer.models import byte_tokenizer, tiny_gpt2, tiny_llama
from trainer.data.groups import Edge, Group
from trainer.models.head_layers import final_layer
from trainer.models.heads import DISAGREEMENT, LIKERT, QUESTION, RewardHead
from trainer.models.networks import head_scores, model_save, reward_load
from trainer.models.scorers import (
    SCORE,
    SCORER,
    Combination,
    Member,
    ModelScorer,
    Recipe,
    Scale,
    Scorer,
    folder_digest,
    recipe_json,
    recipe_read,
    scorer_load,
)
from trainer.runs import InputError

CPU = torch.device("cpu")
GROUPS = [
    Group(1, [20, 21, 22], [[30, 31], [32, 33, 34], [35]], [Edge(0, 1, ">", 1.0)], 1.0),
    Group(2, [23] * 9, [[36, 37, 38], [39]], [], 1.0, tags=("safety",)),
]
HEADS = (RewardHead("helpful"), RewardHead("harmless", tag="safety"), RewardHead("likert", LIKERT))


def reward_make(folder: Path, *, seed: int = 0, kind: str = "plain", **given: Any) -> Path:
    base = tiny_llama(folder / f"base{seed}{kind}", tokenizer=kind, seed=seed)
    model = reward_load(str(base), seed=seed, **given)
    model_save(model, byte_tokenizer(kind), folder / f"reward{seed}{kind}")
    return folder / f"reward{seed}{kind}"


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Three reward models."""
    return [reward_make(tmp_path_factory.mktemp("models"), seed=seed) for seed in range(3)]


def values_of(scorer: Scorer, groups: list[Group] = GROUPS, *, micro_tokens: int = 10_000) -> dict[str, Tensor]:
    """All that is said of the groups' completions, in their order."""
    found = scorer.measured(groups, micro_tokens)
    assert [len(values[SCORE]) for values in found] == [len(group.completions) for group in groups]
    return {name: torch.cat([values[name] for values in found]) for name in found[0]}


def scores_of(paths: list[Path]) -> np.ndarray:
    """(models, N) scores of single models."""
    return np.array([values_of(scorer_load(str(path), CPU))[SCORE].tolist() for path in paths])


def combination(models: list[Path], recipe: Recipe) -> Combination:
    return Combination([ModelScorer(str(path), CPU) for path in models], recipe)


def close(found: Tensor, expected: Any) -> None:
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-5, atol=1e-5)


# --- One model -----------------------------------------------------------------------------------------------------
def test_a_model_with_one_head_gives_its_score_alone(models: list[Path]) -> None:
    scorer = scorer_load(str(models[0]), CPU)
    assert scorer.shared
    assert scorer.context == 512
    found = values_of(scorer)
    assert list(found) == [SCORE]
    close(found[SCORE], values_of(scorer, micro_tokens=1)[SCORE])
    turned = values_of(scorer, GROUPS[::-1])[SCORE]
    close(torch.cat([turned[2:], turned[:2]]), found[SCORE])


def test_a_model_with_several_heads_scores_by_the_prompts_tags(tmp_path: Path) -> None:
    heads = (*HEADS, RewardHead("question:ok", QUESTION))
    scorer = ModelScorer(str(reward_make(tmp_path, heads=heads)), CPU)
    found = values_of(scorer)
    assert list(found) == [SCORE, "helpful", "harmless", "likert", "question:ok"]
    close(found[SCORE], [*found["helpful"][:3].tolist(), *found["harmless"][3:].tolist()])
    assert ((found["question:ok"] > 0) & (found["question:ok"] < 1)).all()
    _, batch = next(iter(scorer.feed(10_000).batches(GROUPS[1:])))
    logits = head_scores(scorer.model, batch.tokens)[:, 3].detach()
    close(found["question:ok"][3:], [1 / (1 + math.exp(-logit)) for logit in logits.tolist()])


def test_a_head_does_not_speak_for_the_score_or_the_ensemble_by_its_name(tmp_path: Path) -> None:
    heads = (RewardHead("disagreement"), RewardHead("score", tag="safety"))
    named = (RewardHead("helpful"), RewardHead("harmless", tag="safety"))
    found = values_of(ModelScorer(str(reward_make(tmp_path / "odd", heads=heads)), CPU))
    plain = values_of(ModelScorer(str(reward_make(tmp_path / "plain", heads=named)), CPU))
    assert list(found) == [SCORE]
    close(found[SCORE], plain[SCORE])


def test_a_language_model_is_no_scorer(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is no reward model"):
        scorer_load(str(tiny_gpt2(tmp_path)), CPU)


# --- Several -------------------------------------------------------------------------------------------------------
def test_an_ensemble_is_the_mean_with_its_disagreement(models: list[Path]) -> None:
    found, rows = values_of(combination(models, Recipe("mean"))), scores_of(models)
    close(found[SCORE], rows.mean(0))
    close(found[DISAGREEMENT], rows.std(0))
    assert rows.std(0).min() > 1e-3
    for number in range(3):
        close(found[f"member_{number + 1}"], rows[number])


def test_models_that_agree_have_no_disagreement(models: list[Path]) -> None:
    found = values_of(combination([models[0]] * 3, Recipe("mean")))
    close(found[DISAGREEMENT], np.zeros(5))


def test_a_linear_combination_adds_standardised_scores(models: list[Path]) -> None:
    scales = (Scale(0.5, 2.0), Scale(-1.0, 0.25))
    found = values_of(combination(models[:2], Recipe("linear", (0.3, -2.0), scales=scales)))
    rows = scores_of(models[:2])
    close(found[SCORE], 0.3 * (rows[0] - 0.5) / 2.0 - 2.0 * (rows[1] + 1.0) / 0.25)
    assert DISAGREEMENT not in found


@pytest.mark.parametrize("threshold", [0.0, 0.4, 1.0])
def test_the_gate_lets_safety_decide_where_it_must(models: list[Path], threshold: float) -> None:
    """Llama 2: safety where the prompt has the tag, or where σ(safety) is below the threshold; else helpfulness."""
    recipe = Recipe("gated", threshold=threshold, tag="safety", scales=(Scale(0.1, 0.5),))
    found, (helpful, safe) = values_of(combination(models[:2], recipe)), scores_of(models[:2])
    by_safety = np.array([False] * 3 + [True] * 2) | (1 / (1 + np.exp(-safe)) < threshold)
    share = np.where(by_safety, 1 / (1 + np.exp(-safe)), 1 / (1 + np.exp(-helpful)))
    close(found[SCORE], (np.log(share / (1 - share)) - 0.1) / 0.5)
    assert by_safety[:3].all() == (threshold == 1.0)
    assert threshold != 0.0 or not by_safety[:3].any()


def test_the_score_of_a_completion_does_not_depend_on_its_batch(models: list[Path]) -> None:
    recipe = Recipe("linear", (1.0, 1.0), scales=(Scale(0.0, 1.0), Scale(0.0, 2.0)))
    scorer = combination(models[:2], recipe)
    close(values_of(scorer, GROUPS[1:])[SCORE], values_of(scorer)[SCORE][3:].numpy())


def test_combinations_combine(models: list[Path]) -> None:
    """An ensemble for helpfulness beside one model for safety."""
    inner = combination(models[:2], Recipe("mean"))
    gate = Recipe("gated", threshold=0.0, tag="safety", scales=(Scale(0.0, 1.0),))
    found = values_of(Combination([inner, ModelScorer(str(models[2]), CPU)], gate))
    rows = scores_of(models)
    close(found[SCORE], [*rows[:2].mean(0)[:3], *rows[2][3:]])


def test_members_of_other_tokens_are_refused(models: list[Path], tmp_path: Path) -> None:
    other = reward_make(tmp_path, kind="chat")
    with pytest.raises(InputError, match=r"Model 2 .* another vocabulary"):
        combination([models[0], other], Recipe("mean"))


def test_members_that_write_conversations_otherwise_are_refused(models: list[Path], tmp_path: Path) -> None:
    other = reward_make(tmp_path, seed=5)
    (other / "chat_template.jinja").write_text("{{ messages[0]['content'] }}")
    with pytest.raises(InputError, match="another chat template"):
        combination([models[0], other], Recipe("mean"))


# --- Folders -------------------------------------------------------------------------------------------------------
def folder_make(folder: Path, models: list[Path], recipe: Recipe) -> Path:
    """A folder of a combination whose members are links to models."""
    (folder / "members").mkdir(parents=True)
    members = []
    for number, model in enumerate(models, start=1):
        (folder / "members" / str(number)).symlink_to(model)
        members.append(Member(f"members/{number}", str(model), folder_digest(model)))
    (folder / SCORER).write_text(json.dumps(recipe_json(members, recipe, "digest")))
    return folder


def test_a_folder_scores_as_the_combination_does(models: list[Path], tmp_path: Path) -> None:
    recipe = Recipe("linear", (0.5, 1.5), scales=(Scale(0.5, 2.0), Scale(-1.0, 0.25)))
    loaded = scorer_load(str(folder_make(tmp_path / "both", models[:2], recipe)), CPU)
    assert isinstance(loaded, Combination)
    assert loaded.recipe == recipe
    assert torch.equal(values_of(loaded)[SCORE], values_of(combination(models[:2], recipe))[SCORE])


def test_a_member_that_was_changed_is_refused(tmp_path: Path) -> None:
    models = [reward_make(tmp_path, seed=seed) for seed in (1, 2)]
    folder = folder_make(tmp_path / "both", models, Recipe("mean"))
    scorer_load(str(folder), CPU)
    changed = reward_load(str(models[1]), seed=0)
    layer = final_layer(changed)
    assert layer is not None
    torch.nn.init.zeros_(layer.weight)
    model_save(changed, byte_tokenizer(), models[1])
    with pytest.raises(InputError, match=r"members/2 is not the model that was combined"):
        scorer_load(str(folder), CPU)


@pytest.mark.parametrize("content", ["{", "{}", '{"version": 9, "members": [], "recipe": {}}'])
def test_a_file_that_says_nothing_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / SCORER).write_text(content)
    with pytest.raises(InputError, match="cannot be read"):
        recipe_read(tmp_path)


def test_the_digest_sees_names_and_contents(tmp_path: Path) -> None:
    digests = set()
    for name, content in (("a", "1"), ("b", "1"), ("a", "2")):
        folder = tmp_path / f"{name}{content}"
        folder.mkdir()
        (folder / name).write_text(content)
        digests.add(folder_digest(folder))
    assert len(digests) == 3
