"""Reward models of many families: read where they should be, in float32, with heads, pooling and shift that stay."""

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from torch import Tensor
from transformers import AutoModelForSequenceClassification, BartConfig, PreTrainedModel, PreTrainedTokenizerFast

from tests.trainer.models import TINY, VOCABULARY, byte_tokenizer, tiny_llama
from tests.trainer.reward_samples import ENCODERS, FAMILIES, family_make
from trainer.data.batches import Tokens, collate
from trainer.data.conversations import completion_ids, prompt_ids
from trainer.data.groups import Edge, Group
from trainer.losses import reward_loss
from trainer.models.head_layers import final_layer, tie_width, tie_width_attach
from trainer.models.heads import LIKERT, RewardHead, reading_of, reading_set
from trainer.models.networks import (
    ModelError,
    context_length,
    head_scores,
    model_save,
    prompts_share,
    reward_load,
    scores,
)

PAD = 0
GROUPS = [
    Group(1, [20, 21, 22], [[30, 31], [32, 33, PAD, 34, PAD], [35]], [Edge(0, 1, ">", 1.0)], 1.0),
    Group(2, [23] * 9, [[36, 37, 38], [39]], [Edge(1, 0, ">", 1.0)], 1.0),
]
ROWS = [(group.prompt_ids, completion) for group in GROUPS for completion in group.completions]
HEADS = (RewardHead("helpful"), RewardHead("harmless", tag="safety"), RewardHead("likert", LIKERT))


def tokens(*, shared: bool = False) -> Tokens:
    return collate(GROUPS, PAD, shared=shared).tokens


def alone(model: PreTrainedModel, family: str, prompt: list[int], completion: list[int]) -> float:
    """What the model's own forward pass says of a text that stands alone, without pads."""
    ids = torch.tensor([prompt + completion])
    given = {"position_ids": torch.arange(1, ids.shape[1] + 1).unsqueeze(0)} if family == "roberta" else {}
    pad, model.config.pad_token_id = model.config.pad_token_id, None if family not in ENCODERS else PAD
    with torch.no_grad():
        score = model(input_ids=ids, attention_mask=torch.ones_like(ids), **given).logits[0, 0].item()
    model.config.pad_token_id = pad
    return float(score)


def close(found: Tensor, expected: list[float] | Tensor) -> None:
    torch.testing.assert_close(found.detach(), torch.as_tensor(expected), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("trained", [False, True], ids=["language model", "classifier"])
@pytest.mark.parametrize("family", FAMILIES)
def test_scores_are_what_the_model_says_of_each_text_alone(family: str, trained: bool, tmp_path: Path) -> None:
    """Texts have the pad token inside and at their end, and rows are filled up with it."""
    model = reward_load(str(family_make(tmp_path, family, trained=trained)), seed=3)
    found = scores(model, tokens())
    close(found, [alone(model, family, *row) for row in ROWS])
    assert found.std() > 0.01


@pytest.mark.parametrize("family", FAMILIES)
def test_the_head_computes_in_float32(family: str, tmp_path: Path) -> None:
    """Differences of scores are finer than what bfloat16 can say near them."""
    folder = family_make(tmp_path, family, trained=True)
    exact, low = reward_load(str(folder)), reward_load(str(folder), torch.bfloat16)
    layer = final_layer(low)
    assert layer is not None
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = scores(exact, tokens())
    for found in (scores(low, tokens()), mixed):
        assert found.dtype == torch.float32
        torch.testing.assert_close(found, scores(exact, tokens()), rtol=0.1, atol=0.05)
    if family != "albert":  # reads its head by itself
        assert layer.weight.dtype == torch.float32
        assert not torch.equal(mixed, mixed.bfloat16().float())


@pytest.mark.parametrize("family", FAMILIES)
def test_gradients_reach_all_of_a_new_head_and_the_backbone(family: str, tmp_path: Path) -> None:
    model = reward_load(str(family_make(tmp_path, family, trained=False)))
    (scores(model, tokens()) * torch.arange(5.0)).sum().backward()
    names = [name for name, parameter in model.named_parameters() if parameter.grad is None]
    assert all("position" in name or "classifier.bias" in name for name in names), names


@pytest.mark.parametrize("family", FAMILIES)
def test_training_starts_near_ln_2(family: str, tmp_path: Path) -> None:
    """The mean over 60 prompts of four random completions; random networks tell them apart more than others do."""
    model = reward_load(str(family_make(tmp_path, family, trained=False)))
    dice = torch.Generator().manual_seed(0)
    ranking = [Edge(i, j, ">", 1.0) for i in range(4) for j in range(i + 1, 4)]
    groups = [
        Group(number, [20, 21], [[*row, 1] for row in rows], ranking, 1.0)
        for number, rows in enumerate(torch.randint(2, VOCABULARY, (60, 4, 8), generator=dice).tolist())
    ]
    batch = collate(groups, PAD, shared=False)
    with torch.no_grad():
        loss = reward_loss(scores(model, batch.tokens), batch.edges, batch.weight)
    assert loss.item() == pytest.approx(math.log(2), abs=0.15)


def test_encoders_do_not_share_prompts_and_decoders_score_the_same_sharing_them(tmp_path: Path) -> None:
    encoder = reward_load(str(family_make(tmp_path / "bert", "bert", trained=True)))
    decoder = reward_load(str(family_make(tmp_path / "qwen", "qwen", trained=True)))
    plain = scores(decoder, tokens())
    assert not prompts_share(encoder, "auto")
    assert prompts_share(decoder, "auto")
    close(scores(decoder, tokens(shared=True)), plain.detach())


def test_the_positions_of_roberta_come_from_lengths(tmp_path: Path) -> None:
    """Left to itself it gives a pad token inside a text the position of a pad, and all after it another one."""
    model = reward_load(str(family_make(tmp_path, "roberta", trained=True)))
    ids = torch.tensor([[*ROWS[1][0], *ROWS[1][1]]])
    itself = model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits[0, 0]
    assert abs(scores(model, tokens())[1] - itself) > 1e-3
    assert context_length(model) == 63


def test_texts_for_bert_begin_and_end_as_it_knows_them() -> None:
    """It calls the tokens [CLS] and [SEP], and reads its score at the first."""
    vocabulary = {token: number for number, token in enumerate(["[PAD]", "[CLS]", "[SEP]", "a", "b", " "])}
    backend = Tokenizer(models.WordLevel(vocabulary, unk_token="[PAD]"))
    backend.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    backend.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 1), ("[SEP]", 2)]
    )
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend, cls_token="[CLS]", sep_token="[SEP]", pad_token="[PAD]"
    )
    tokenizer.chat_template = "{{ messages[0]['content'] }}"
    assert prompt_ids(tokenizer, [{"role": "user", "content": "ab"}]) == [1, 3, 4]
    assert completion_ids(tokenizer, "ba", ended=True) == [4, 3, 2]
    assert completion_ids(tokenizer, "ba", ended=False) == [4, 3]


# --- Pooling -------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("family", ["llama", "gpt2"])
@pytest.mark.parametrize("shared", [False, True])
def test_the_mean_is_over_the_tokens_of_the_completion(family: str, shared: bool, tmp_path: Path) -> None:
    model = reward_load(str(TINY[family](tmp_path)), pooling="mean")
    expected = []
    for prompt, completion in ROWS:
        with torch.no_grad():
            hidden = model.base_model(input_ids=torch.tensor([prompt + completion])).last_hidden_state[0, len(prompt) :]
            expected.append((hidden @ model.get_parameter("score.weight")[0]).mean().item())
    assert not shared or prompts_share(model, "auto")
    close(scores(model, tokens(shared=shared)), expected)


@pytest.mark.parametrize("family", ["bert", "roberta", "deberta"])
def test_an_encoder_can_be_read_as_a_mean_too(family: str, tmp_path: Path) -> None:
    """A completion of one token: its classifier on that token in the first one's place."""
    model = reward_load(str(family_make(tmp_path, family, trained=True)), pooling="mean")
    prompt, completion = ROWS[2]
    model_save(model, byte_tokenizer(), tmp_path / "saved")
    states: list[Tensor] = []
    model.base_model.register_forward_hook(lambda module, args, output: states.append(output[0]))
    found = scores(model, tokens())[2]
    hidden = states[0][2, len(prompt) : len(prompt) + 1]
    layers = {
        "bert": lambda: model.get_submodule("classifier")(model.base_model.get_submodule("pooler")(hidden[None])),
        "roberta": lambda: model.get_submodule("classifier")(hidden[None]),
        "deberta": lambda: model.get_submodule("classifier")(model.get_submodule("pooler")(hidden[None])),
    }
    assert len(completion) == 1
    close(found, layers[family]()[0, 0].detach())


def test_how_a_model_is_read_is_saved_with_it(tmp_path: Path) -> None:
    model = reward_load(str(tiny_llama(tmp_path / "base")), pooling="mean")
    model_save(model, byte_tokenizer(), tmp_path / "saved")
    again = reward_load(str(tmp_path / "saved"))
    assert reading_of(again.config).pooling == "mean"
    assert torch.equal(scores(again, tokens()), scores(model, tokens()))
    assert not torch.allclose(
        scores(reward_load(str(tmp_path / "saved"), pooling="last"), tokens()), scores(model, tokens())
    )


def test_a_classifier_with_a_pooling_of_its_own_keeps_it(tmp_path: Path) -> None:
    folder = family_make(tmp_path, "albert", trained=True)
    with pytest.raises(ModelError, match="has its own pooling"):
        reward_load(str(folder), pooling="mean")


# --- Heads ---------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("family", FAMILIES)
def test_several_heads_are_saved_and_loaded_by_transformers(family: str, tmp_path: Path) -> None:
    model = reward_load(str(family_make(tmp_path / "base", family, trained=False)), heads=HEADS)
    found = head_scores(model, tokens())
    assert found.shape == (5, 3)
    model_save(model, byte_tokenizer(), tmp_path / "saved")
    plain = AutoModelForSequenceClassification.from_pretrained(tmp_path / "saved")
    assert plain.num_labels == 3
    assert plain.config.id2label == {0: "helpful", 1: "harmless", 2: "likert"}
    again = reward_load(str(tmp_path / "saved"))
    assert reading_of(again.config).heads == HEADS
    assert torch.equal(head_scores(again, tokens()), found)


@pytest.mark.parametrize("family", ["bert", "roberta", "qwen"])
def test_a_model_of_one_label_keeps_its_head_as_the_first_of_several(family: str, tmp_path: Path) -> None:
    folder = family_make(tmp_path / "base", family, trained=True)
    single = scores(reward_load(str(folder)), tokens())
    several = reward_load(str(folder), heads=HEADS, seed=1)
    found = head_scores(several, tokens())
    close(found[:, 0], single.detach())
    assert not torch.allclose(found[:, 1], found[:, 2])
    model_save(several, byte_tokenizer(), tmp_path / "saved")
    fewer = reward_load(str(tmp_path / "saved"), heads=(HEADS[2], HEADS[1]))
    close(head_scores(fewer, tokens()), found[:, [2, 1]].detach())


def test_scores_are_shifted_as_the_configuration_says(tmp_path: Path) -> None:
    model = reward_load(str(tiny_llama(tmp_path / "base")), heads=HEADS[:2])
    raw = head_scores(model, tokens())
    reading_set(model.config, replace(reading_of(model.config), shift=(1.5, -2.0)))
    model_save(model, byte_tokenizer(), tmp_path / "saved")
    again = reward_load(str(tmp_path / "saved"))
    close(scores(again, tokens()), (raw[:, 0] - 1.5).detach())
    close(head_scores(again, tokens()), raw.detach())
    assert reading_of(reward_load(str(tmp_path / "saved"), heads=HEADS).config).shift == (1.5, -2.0, 0.0)


def test_the_width_of_ties_is_no_weight_of_the_saved_model(tmp_path: Path) -> None:
    model = reward_load(str(tiny_llama(tmp_path / "base")))
    assert tie_width(model) is None
    tie_width_attach(model, 0.75)
    model_save(model, byte_tokenizer(), tmp_path / "saved")
    assert not any("tie" in name for name in load_file(tmp_path / "saved" / "model.safetensors"))
    kept = json.loads((tmp_path / "saved" / "config.json").read_text())["reward_model"]["tie_width"]
    assert kept == pytest.approx(0.75)
    close(scores(reward_load(str(tmp_path / "saved")), tokens()), scores(model, tokens()).detach())


# --- What cannot be a reward model ---------------------------------------------------------------------------------
def test_a_classifier_without_its_head_is_refused(tmp_path: Path) -> None:
    folder = family_make(tmp_path, "roberta", trained=True)
    config = json.loads((folder / "config.json").read_text())
    family_make(folder, "roberta", trained=False)
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(ModelError, match=r"lacks classifier"):
        reward_load(str(folder))


def test_an_encoder_with_a_decoder_is_refused(tmp_path: Path) -> None:
    config = BartConfig(vocab_size=VOCABULARY, d_model=16, encoder_layers=1, decoder_layers=1, num_labels=1)
    config.architectures = ["BartForSequenceClassification"]
    config.save_pretrained(tmp_path)
    with pytest.raises(ModelError, match="an encoder with a decoder"):
        reward_load(str(tmp_path))


def test_a_new_pooler_follows_from_the_seed(tmp_path: Path) -> None:
    folder = family_make(tmp_path, "bert", trained=False)
    torch.manual_seed(1)
    first = reward_load(str(folder), seed=3)
    torch.manual_seed(2)
    second = reward_load(str(folder), seed=3)
    drawn = torch.rand(1)
    for (name, one), two in zip(first.named_parameters(), second.parameters(), strict=True):
        assert torch.equal(one, two), name
    torch.manual_seed(2)
    assert torch.equal(torch.rand(1), drawn)
