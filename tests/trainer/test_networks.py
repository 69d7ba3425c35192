"""Scores and log-probabilities of real networks, held to plain loops."""

import json
import math
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    CohereConfig,
    Gemma2Config,
    GraniteConfig,
    PhiConfig,
    PreTrainedModel,
)

from tests.trainer.models import SIZES, STORIES, TINY, VOCABULARY, saved, tiny_llama
from trainer.data.batches import Tokens
from trainer.data.batches import collate as collated
from trainer.data.conversations import completion_ids, end_id, prompt_ids, tokenizer_load
from trainer.data.groups import Edge, Group
from trainer.losses import reward_loss
from trainer.models.networks import _OWN_LOGITS as OWN_LOGITS
from trainer.models.networks import (
    ModelError,
    completion_logprobs,
    context_length,
    model_save,
    policy_load,
    prompts_share,
    reward_load,
    scores,
)
from trainer.models.networks import _head_suffices as head_suffices

ODD_HEADS = {
    "capped": lambda: Gemma2Config(**SIZES, num_key_value_heads=1, head_dim=8, final_logit_softcapping=2.0),
    "divided": lambda: GraniteConfig(**SIZES, logits_scaling=3.0),
    "multiplied": lambda: CohereConfig(**SIZES, logit_scale=0.25),
    "biased": lambda: PhiConfig(**SIZES),
}
PAD = 0
GROUPS = [
    Group(1, [20, 21, 22], [[30, 31], [32, 33, PAD, 34, PAD], [35]], [Edge(0, 1, ">", 1.0)], 1.0),
    Group(2, [23] * 9, [[36, 37, 38], [39]], [Edge(1, 0, ">", 1.0)], 1.0),
]


@pytest.fixture(params=sorted(TINY))
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return TINY[request.param](tmp_path / "base")


@pytest.fixture
def policy(folder: Path) -> PreTrainedModel:
    return policy_load(str(folder))


@pytest.fixture
def reward(folder: Path) -> PreTrainedModel:
    return reward_load(str(folder))


def collate(groups: list[Group], pad: int) -> Tokens:
    """What a network reads, each completion in a row of its own."""
    return collated(groups, pad, shared=False).tokens


def rows_of(groups: list[Group]) -> list[tuple[list[int], list[int]]]:
    return [(group.prompt_ids, completion) for group in groups for completion in group.completions]


def loop_logprob(policy: PreTrainedModel, prompt: list[int], completion: list[int]) -> float:
    """Token by token: each from a full log-softmax of the model's logits after all tokens before it, unpadded."""
    total = 0.0
    for place, token in enumerate(completion):
        before = torch.tensor([prompt + completion[:place]])
        with torch.no_grad():
            total += torch.log_softmax(policy(input_ids=before).logits[0, -1].double(), 0)[token].item()
    return total


def loop_score(reward: PreTrainedModel, prompt: list[int], completion: list[int]) -> float:
    """The head on the last hidden state of the unpadded text."""
    with torch.no_grad():
        hidden = reward.base_model(input_ids=torch.tensor([prompt + completion])).last_hidden_state[0, -1]
        return (hidden @ reward.get_parameter("score.weight")[0]).item()


def close(found: Tensor, expected: list[float]) -> None:
    torch.testing.assert_close(found.detach(), torch.tensor(expected), rtol=1e-5, atol=1e-5)


def test_logprobs_equal_a_loop_over_tokens(policy: PreTrainedModel) -> None:
    sums, counts = completion_logprobs(policy, collate(GROUPS, PAD))
    close(sums, [loop_logprob(policy, *row) for row in rows_of(GROUPS)])
    assert counts.tolist() == [2, 5, 1, 3, 1]
    assert sums.dtype == counts.dtype == torch.float32


def test_scores_equal_those_of_each_text_alone(reward: PreTrainedModel) -> None:
    """Two texts end in the token that pads are made of, and have it inside too."""
    found = scores(reward, collate(GROUPS, PAD))
    close(found, [loop_score(reward, *row) for row in rows_of(GROUPS)])
    assert found.dtype == torch.float32


@pytest.mark.parametrize("pad", [PAD, 1, 200])
def test_padding_changes_nothing(policy: PreTrainedModel, reward: PreTrainedModel, pad: int) -> None:
    """A long row beside them makes 40 more pads, of whatever token."""
    longer = Group(3, [40] * 20, [[41] * 33], [], 1.0)
    alone, padded = collate(GROUPS, PAD), collate([*GROUPS, longer], pad)
    torch.testing.assert_close(scores(reward, padded)[:5], scores(reward, alone), rtol=1e-5, atol=1e-6)
    for found, expected in zip(completion_logprobs(policy, padded), completion_logprobs(policy, alone), strict=True):
        torch.testing.assert_close(found[:5], expected, rtol=1e-5, atol=1e-5)


def test_the_size_of_a_batch_changes_nothing(policy: PreTrainedModel, reward: PreTrainedModel) -> None:
    together = collate(GROUPS, PAD)
    apart = [collate([group], PAD) for group in GROUPS]
    torch.testing.assert_close(
        torch.cat([scores(reward, batch) for batch in apart]), scores(reward, together), rtol=1e-5, atol=1e-6
    )
    torch.testing.assert_close(
        torch.cat([completion_logprobs(policy, batch)[0] for batch in apart]),
        completion_logprobs(policy, together)[0],
        rtol=1e-5,
        atol=1e-5,
    )


def test_only_the_completion_adds_to_the_sum(policy: PreTrainedModel) -> None:
    """A prompt and a completion joined elsewhere: the sums differ by exactly the tokens that changed sides."""
    short, long = Group(1, [20, 21, 22], [[30, 31]], [], 1.0), Group(1, [20, 21], [[22, 30, 31]], [], 1.0)
    sums, counts = completion_logprobs(policy, collate([short, long], PAD))
    assert (sums[1] - sums[0]).item() == pytest.approx(loop_logprob(policy, [20, 21], [22]), abs=1e-5)
    assert counts.tolist() == [2, 3]


@pytest.mark.parametrize("kind", sorted(ODD_HEADS))
def test_logits_that_are_more_than_a_linear_layer(kind: str, tmp_path: Path) -> None:
    """Scaled (Granite, Cohere) and capped (Gemma 2) logits, and a bias (Phi)."""
    odd = saved(ODD_HEADS[kind], tmp_path)
    policy = policy_load(str(odd))
    found, _ = completion_logprobs(policy, collate(GROUPS, PAD))
    close(found, [loop_logprob(policy, *row) for row in rows_of(GROUPS)])


def test_a_policy_that_makes_its_logits_by_itself_gives_the_same(folder: Path) -> None:
    """Its head adds something that no configuration tells of."""
    policy = policy_load(str(folder))
    head = policy.get_output_embeddings()
    head.register_forward_hook(lambda module, args, output: output * torch.linspace(0.5, 2, VOCABULARY))
    policy.save_pretrained(folder)
    assert not head_suffices(policy)
    OWN_LOGITS.add(policy)
    found, _ = completion_logprobs(policy, collate(GROUPS, PAD))
    close(found, [loop_logprob(policy, *row) for row in rows_of(GROUPS)])
    assert prompts_share(policy, "auto") is False


def test_gradients_of_logprobs_equal_those_of_the_loop(policy: PreTrainedModel) -> None:
    completion_logprobs(policy, collate(GROUPS[:1], PAD))[0].sum().backward()
    found = {
        name: parameter.grad.clone() for name, parameter in policy.named_parameters() if parameter.grad is not None
    }
    policy.zero_grad()
    for prompt, completion in rows_of(GROUPS[:1]):
        ids = torch.tensor([prompt + completion])
        logprobs = torch.log_softmax(policy(input_ids=ids).logits[0, :-1], -1)
        places = range(len(prompt) - 1, len(prompt) + len(completion) - 1)
        sum(logprobs[place, ids[0, place + 1]] for place in places).backward()  # type: ignore[union-attr]
    assert found
    for name, parameter in policy.named_parameters():
        assert parameter.grad is not None
        torch.testing.assert_close(found[name], parameter.grad, rtol=1e-4, atol=1e-5)


def test_one_pass_of_the_backbone_per_batch(reward: PreTrainedModel) -> None:
    rows: list[int] = []
    reward.base_model.register_forward_hook(lambda module, args, output: rows.append(len(output[0])))
    scores(reward, collate(GROUPS, PAD))
    assert rows == [5]


def test_dropout_is_off_even_in_training_mode(tmp_path: Path) -> None:
    """GPT-2 comes with dropout 0.1 in three places."""
    folder = TINY["gpt2"](tmp_path)
    batch = collate(GROUPS, PAD)
    policy, reward = policy_load(str(folder)).train(), reward_load(str(folder)).train()
    assert torch.equal(completion_logprobs(policy, batch)[0], completion_logprobs(policy, batch)[0])
    assert torch.equal(scores(reward, batch), scores(reward, batch))
    plain = AutoModelForCausalLM.from_pretrained(folder).train()
    assert not torch.equal(completion_logprobs(plain, batch)[0], completion_logprobs(plain, batch)[0])


def test_a_new_head_has_the_spread_it_should(tmp_path: Path) -> None:
    folder = TINY["llama"](tmp_path)
    heads = torch.cat([reward_load(str(folder), seed=seed).get_parameter("score.weight") for seed in range(40)])
    assert heads.shape == (40, 16)
    assert heads.mean().item() == pytest.approx(0, abs=0.03)
    assert heads.std().item() == pytest.approx(1 / math.sqrt(17), rel=0.1)


def test_a_new_head_depends_on_its_seed_alone(folder: Path) -> None:
    def head(seed: int) -> Tensor:
        return reward_load(str(folder), seed=seed).get_parameter("score.weight")

    torch.manual_seed(1)
    first = head(3)
    torch.manual_seed(2)
    assert torch.equal(head(3), first)
    assert not torch.equal(head(4), first)


def test_training_a_reward_model_starts_near_ln_2(folder: Path) -> None:
    """Completions of random tokens, ended; the mean over 60 prompts of 4."""
    dice = torch.Generator().manual_seed(0)
    ranking = [Edge(i, j, ">", 1.0) for i in range(4) for j in range(i + 1, 4)]
    groups = [
        Group(number, [20, 21, number % 100 + 30], [[*row, 1] for row in rows], ranking, 1.0)
        for number, rows in enumerate(torch.randint(2, VOCABULARY, (60, 4, 8), generator=dice).tolist())
    ]
    batch = collated(groups, PAD, shared=False)
    with torch.no_grad():
        loss = reward_loss(scores(reward_load(str(folder)), batch.tokens), batch.edges, batch.weight)
    assert loss.item() == pytest.approx(math.log(2), abs=0.1)


def test_a_saved_reward_model_scores_the_same_and_keeps_its_head(folder: Path, tmp_path: Path) -> None:
    tokenizer, reward = tokenizer_load(str(folder)), reward_load(str(folder), seed=9)
    model_save(reward, tokenizer, tmp_path / "saved")
    batch = collate(GROUPS, PAD)
    again = reward_load(str(tmp_path / "saved"), seed=1)
    assert torch.equal(scores(again, batch), scores(reward, batch))
    assert tokenizer_load(str(tmp_path / "saved")).chat_template == tokenizer.chat_template


def test_transformers_read_the_same_scores_from_a_saved_reward_model(folder: Path, tmp_path: Path) -> None:
    tokenizer, reward = tokenizer_load(str(folder)), reward_load(str(folder))
    model_save(reward, tokenizer, tmp_path / "saved")
    plain = AutoModelForSequenceClassification.from_pretrained(tmp_path / "saved")
    prompt = prompt_ids(tokenizer, [{"role": "user", "content": "Hi"}])
    answers = [completion_ids(tokenizer, text, ended=True) for text in ("Hello!", "No", "What is it now?")]
    batch = collate([Group(1, prompt, answers, [], 1.0)], int(tokenizer.pad_token_id))
    assert batch.attention_mask is not None
    with torch.no_grad():
        logits = plain(input_ids=batch.input_ids, attention_mask=batch.attention_mask.long()).logits[:, 0]
    torch.testing.assert_close(logits, scores(reward, batch).detach(), rtol=1e-5, atol=1e-6)


def test_a_saved_policy_is_safetensors_that_transformers_load(folder: Path, tmp_path: Path) -> None:
    tokenizer, policy = tokenizer_load(str(folder)), policy_load(str(folder))
    model_save(policy, tokenizer, tmp_path / "saved")
    plain = AutoModelForCausalLM.from_pretrained(tmp_path / "saved")
    ids = torch.tensor([[20, 21, 22]])
    assert torch.equal(plain(ids).logits, policy(ids).logits)
    names = {path.suffix for path in (tmp_path / "saved").iterdir()}
    assert names <= {".json", ".jinja", ".safetensors"}


def test_a_saved_policy_ends_with_the_turn(tmp_path: Path) -> None:
    """Its end of turn is not its end of text; whoever samples it must stop at both."""
    folder = TINY["llama"](tmp_path / "base", tokenizer="chat")
    tokenizer = tokenizer_load(str(folder))
    model_save(policy_load(str(folder)), tokenizer, tmp_path / "saved")
    kept = json.loads((tmp_path / "saved" / "generation_config.json").read_text())
    assert kept["eos_token_id"] == [tokenizer.eos_token_id, end_id(tokenizer)]
    assert kept["pad_token_id"] == tokenizer.pad_token_id


@pytest.mark.parametrize("kind", ["pad_is_eos", "plain"])
def test_the_end_token_is_scored_and_learned_when_it_is_the_pad_too(kind: str, tmp_path: Path) -> None:
    folder = TINY["gpt2"](tmp_path, tokenizer=kind)
    tokenizer, policy, reward = tokenizer_load(str(folder)), policy_load(str(folder)), reward_load(str(folder))
    answers = [completion_ids(tokenizer, text, ended=True) for text in ("Yes", "No, thank you")]
    group = Group(1, prompt_ids(tokenizer, [{"role": "user", "content": "Tea?"}]), answers, [], 1.0)
    batch = collate([group], int(tokenizer.pad_token_id))
    assert batch.input_ids.flatten()[batch.last].tolist() == [end_id(tokenizer)] * 2
    close(scores(reward, batch), [loop_score(reward, *row) for row in rows_of([group])])
    sums, counts = completion_logprobs(policy, batch)
    close(sums, [loop_logprob(policy, *row) for row in rows_of([group])])
    assert counts.tolist() == [len("Yes") + 1, len("No, thank you") + 1]


def test_bfloat16_is_read_in_float32(folder: Path) -> None:
    batch = collate(GROUPS, PAD)
    exact = scores(reward_load(str(folder)), batch)
    low = scores(reward_load(str(folder), torch.bfloat16), batch)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = scores(reward_load(str(folder)), batch)
        sums, _ = completion_logprobs(policy_load(str(folder)), batch)
    assert low.dtype == mixed.dtype == sums.dtype == torch.float32
    torch.testing.assert_close(low, exact, rtol=0.1, atol=0.05)
    torch.testing.assert_close(mixed, exact, rtol=0.1, atol=0.05)


def test_log_probabilities_of_bfloat16_keep_to_those_of_float32(folder: Path) -> None:
    """Products are rounded to three digits, sums over the vocabulary are not: a hundredth of a nat for each token."""
    policy, tokens = policy_load(str(folder)), collate(GROUPS, PAD)
    exact, counts = completion_logprobs(policy, tokens)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rounded, _ = completion_logprobs(policy, tokens)
    rounded.sum().backward()
    assert ((rounded - exact).abs() / counts).max() < 0.05
    assert {weight.grad.dtype for weight in policy.parameters() if weight.grad is not None} == {torch.float32}


def test_a_folder_that_is_no_model_is_refused(tmp_path: Path) -> None:
    for load in (policy_load, reward_load):
        with pytest.raises(ModelError, match="nowhere"):
            load(str(tmp_path / "nowhere"))


def test_a_model_whose_weights_are_missing_is_refused(tmp_path: Path) -> None:
    """A reward model has no logits: it would be a policy of random ones."""
    folder = TINY["llama"](tmp_path / "base")
    model_save(reward_load(str(folder)), tokenizer_load(str(folder)), tmp_path / "reward")
    with pytest.raises(ModelError, match="lm_head"):
        policy_load(str(tmp_path / "reward"))


def test_a_classifier_of_several_classes_is_no_reward_model(folder: Path, tmp_path: Path) -> None:
    AutoModelForSequenceClassification.from_pretrained(folder, num_labels=3).save_pretrained(tmp_path / "three")
    with pytest.raises(ModelError, match="3 scores"):
        reward_load(str(tmp_path / "three"))


def test_weights_in_pickles_are_not_read(folder: Path) -> None:
    policy = policy_load(str(folder))
    torch.save(policy.state_dict(), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    with pytest.raises(ModelError, match="safetensors"):
        policy_load(str(folder))


def test_how_much_a_model_can_read(policy: PreTrainedModel) -> None:
    assert context_length(policy) == 512


@pytest.mark.skipif(not STORIES.exists(), reason="the shared model stories260K is not on this machine")
def test_a_real_model() -> None:
    """What it was trained on is likelier than the same letters shuffled, and loops agree."""
    tokenizer, policy, reward = tokenizer_load(str(STORIES)), policy_load(str(STORIES)), reward_load(str(STORIES))
    prompt = [1, *completion_ids(tokenizer, "Once upon a time, there was a", ended=False)]
    texts = ["little girl named Lily.", "girl.Lily elttil named", "big dog"]
    group = Group(1, prompt, [completion_ids(tokenizer, text, ended=False) for text in texts], [], 1.0)
    batch = collate([group], int(tokenizer.pad_token_id))
    sums, counts = completion_logprobs(policy, batch)
    close(sums, [loop_logprob(policy, *row) for row in rows_of([group])])
    close(scores(reward, batch), [loop_score(reward, *row) for row in rows_of([group])])
    assert (sums / counts)[0] > (sums / counts)[1] + 1
    assert context_length(policy) == 512


@pytest.mark.parametrize(
    "settings",
    [{"do_sample": False, "temperature": 0.6, "top_p": 0.9}, {"length_penalty": 2.0, "early_stopping": True}],
)
def test_contradicting_generation_settings_do_not_keep_a_model_from_being_saved(
    tmp_path: Path, settings: dict[str, Any]
) -> None:
    folder = tiny_llama(tmp_path / "llama")
    (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": 1, **settings}))
    model = policy_load(str(folder))
    model_save(model, tokenizer_load(str(folder)), tmp_path / "saved")
    assert policy_load(str(tmp_path / "saved")).generation_config is not None


def test_code_of_a_model_folder_is_never_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "foreign"
    folder.mkdir()
    code = {"AutoConfig": "code.Foreign", "AutoModelForCausalLM": "code.Foreign"}
    (folder / "config.json").write_text(json.dumps({"model_type": "foreign", "auto_map": code}))
    (folder / "code.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    monkeypatch.setattr("sys.stdin", StringIO("y\n" * 9))
    with pytest.raises(ModelError):
        policy_load(str(folder))
    assert not (tmp_path / "ran").exists()
