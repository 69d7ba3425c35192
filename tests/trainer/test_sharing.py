"""Prompts read once for all their completions give what each completion gives on its own: values and gradients."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from transformers import (
    AutoModelForSequenceClassification,
    BertConfig,
    BloomConfig,
    Gemma2Config,
    Gemma3TextConfig,
    GemmaConfig,
    GPT2Config,
    GPTNeoXConfig,
    LlamaConfig,
    MambaConfig,
    MistralConfig,
    OPTConfig,
    PretrainedConfig,
    PreTrainedModel,
    Qwen2Config,
    Qwen3Config,
)

from tests.trainer.models import SIZES, VOCABULARY, saved
from trainer.data.batches import Batch, collate
from trainer.data.groups import Edge, Group
from trainer.data.layouts import Layout
from trainer.losses import reward_loss
from trainer.models.attention import SHARED, flex_compiled, shared_attention, sharing_enable
from trainer.models.networks import completion_logprobs, is_shared, policy_load, prompts_share, reward_load, scores

GROUPED = SIZES | {"num_key_value_heads": 1}
FAMILIES: dict[str, Callable[[], PretrainedConfig]] = {
    "llama": lambda: LlamaConfig(**GROUPED),
    "qwen2": lambda: Qwen2Config(**GROUPED),
    "qwen3": lambda: Qwen3Config(**GROUPED, head_dim=8),
    "mistral": lambda: MistralConfig(**GROUPED, sliding_window=6),
    "gemma": lambda: GemmaConfig(**GROUPED, head_dim=8),
    "gemma3": lambda: Gemma3TextConfig(**GROUPED, head_dim=8, sliding_window=5),
    "gpt2": lambda: GPT2Config(
        vocab_size=VOCABULARY, n_embd=16, n_layer=2, n_head=2, n_positions=64, initializer_range=0.2
    ),
    "gpt_neox": lambda: GPTNeoXConfig(**SIZES),
    "opt": lambda: OPTConfig(
        vocab_size=VOCABULARY, hidden_size=16, word_embed_proj_dim=16, ffn_dim=32, num_hidden_layers=2,
        num_attention_heads=2, max_position_embeddings=64, init_std=0.2,
    ),
}  # fmt: skip
UNFIT: dict[str, Callable[[], PretrainedConfig]] = {
    "gemma2": lambda: Gemma2Config(**GROUPED, head_dim=8),
    "bloom": lambda: BloomConfig(vocab_size=VOCABULARY, hidden_size=16, n_layer=2, n_head=2),
    "mamba": lambda: MambaConfig(vocab_size=VOCABULARY, hidden_size=16, num_hidden_layers=2),
}
PAD = 0
RANKING = [Edge(i, j, ">", 1.0) for i in range(3) for j in range(i + 1, 3)]
GROUPS = [
    Group(1, [20, 21, 22, 23, 24, 25, 26, 27], [[30, 31], [32, 33, PAD, 34, PAD, 36, 37], [35]], RANKING, 1.0),
    Group(2, [40], [[41, 42, 43], [44], [45, 46]], RANKING, 0.5),
    Group(3, [50, 51], [[52] * 9], [], 1.0),
]


@pytest.fixture(params=sorted(FAMILIES))
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return saved(FAMILIES[request.param], tmp_path)


def shared(model: PreTrainedModel) -> PreTrainedModel:
    assert prompts_share(model, "auto"), "this family should share prompts"
    assert is_shared(model)
    return model


def gradients(model: PreTrainedModel, loss: Tensor) -> dict[str, Tensor]:
    model.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    return {name: weight.grad.clone() for name, weight in model.named_parameters() if weight.grad is not None}


def same(found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    """All gradients, each within a hundred thousandth of the greatest."""
    assert found.keys() == expected.keys()
    for name, gradient in expected.items():
        torch.testing.assert_close(found[name], gradient, rtol=1e-4, atol=1e-5 * float(gradient.abs().max() + 1))


def policy_objective(policy: PreTrainedModel, batch: Batch) -> Tensor:
    """Something that every token's log-probability takes part in, each by another weight."""
    sums, counts = completion_logprobs(policy, batch.tokens)
    return (sums * torch.linspace(0.5, 2.0, len(sums)) / counts).sum() + torch.sin(sums).sum()


def test_logprobs_and_their_gradients(folder: Path) -> None:
    plain, packed = policy_load(str(folder)), shared(policy_load(str(folder)))
    apart, together = collate(GROUPS, PAD, shared=False), collate(GROUPS, PAD, shared=True)
    torch.testing.assert_close(
        completion_logprobs(packed, together.tokens)[0],
        completion_logprobs(plain, apart.tokens)[0],
        rtol=1e-5,
        atol=1e-5,
    )
    same(gradients(packed, policy_objective(packed, together)), gradients(plain, policy_objective(plain, apart)))


def test_scores_losses_and_their_gradients(folder: Path) -> None:
    plain, packed = reward_load(str(folder)), shared(reward_load(str(folder)))
    apart, together = collate(GROUPS, PAD, shared=False), collate(GROUPS, PAD, shared=True)
    values, expected = scores(packed, together.tokens), scores(plain, apart.tokens)
    torch.testing.assert_close(values, expected, rtol=1e-5, atol=1e-5)
    loss = reward_loss(values, together.edges, together.weight)
    other = reward_loss(expected, apart.edges, apart.weight)
    torch.testing.assert_close(loss, other, rtol=1e-5, atol=1e-6)
    same(gradients(packed, loss), gradients(plain, other))


def test_a_completion_does_not_feel_its_neighbours(folder: Path) -> None:
    """The same completion beside others, of its own prompt and of other prompts, to the last digits."""
    model = shared(policy_load(str(folder)))
    alone = Group(1, GROUPS[0].prompt_ids, GROUPS[0].completions[1:2], [], 1.0)
    with torch.no_grad():
        beside = completion_logprobs(model, collate(GROUPS, PAD, shared=True).tokens)[0][1]
        single = completion_logprobs(model, collate([alone], PAD, shared=True).tokens)[0][0]
    torch.testing.assert_close(beside, single, rtol=1e-6, atol=1e-6)


def test_checkpointing_computes_the_same_gradients(folder: Path) -> None:
    model = shared(policy_load(str(folder)))
    batch = collate(GROUPS, PAD, shared=True)
    kept = gradients(model, policy_objective(model, batch))
    model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    model.train()
    same(gradients(model, policy_objective(model, batch)), kept)


def test_a_model_that_shares_reads_plain_rows_and_writes_as_before(folder: Path) -> None:
    plain, model = policy_load(str(folder)), shared(policy_load(str(folder)))
    tokens = collate(GROUPS, PAD, shared=False).tokens
    torch.testing.assert_close(
        completion_logprobs(model, tokens)[0], completion_logprobs(plain, tokens)[0], rtol=1e-5, atol=1e-5
    )
    ids = torch.tensor([[20, 21, 22]])
    written = [m.generate(ids, max_new_tokens=5, do_sample=False, pad_token_id=PAD) for m in (model, plain)]
    assert torch.equal(*written)


@pytest.mark.parametrize("kind", sorted(UNFIT))
def test_a_model_that_cannot_share_is_told_apart_and_left_as_it_was(
    kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Capped scores, positions by distance, and a memory that runs through the whole row."""
    model = policy_load(str(saved(UNFIT[kind], tmp_path)))
    before = model.config._attn_implementation
    tokens = collate(GROUPS, PAD, shared=False).tokens
    with torch.no_grad():
        expected = completion_logprobs(model, tokens)[0]
        assert prompts_share(model, "auto") is False
        assert model.config._attn_implementation == before
        assert torch.equal(completion_logprobs(model, tokens)[0], expected)
    assert f"own copy of the prompt: {type(model).__name__}: " in capsys.readouterr().err


def test_an_encoder_cannot_share_since_its_prompt_sees_the_completion(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = AutoModelForSequenceClassification.from_config(BertConfig(**SIZES, num_labels=1)).eval()
    assert "otherwise than on their own" in str(sharing_enable(model))


def test_sharing_can_be_refused(tmp_path: Path) -> None:
    model = policy_load(str(saved(FAMILIES["llama"], tmp_path)))
    assert prompts_share(model, "never") is False
    assert model.config._attn_implementation != SHARED


def test_padding_behind_a_row_changes_nothing(tmp_path: Path) -> None:
    """As on a GPU, where rows are filled up to a multiple."""
    model = shared(policy_load(str(saved(FAMILIES["mistral"], tmp_path))))
    tokens = collate(GROUPS, PAD, shared=True).tokens
    assert tokens.layout is not None
    width = tokens.input_ids.shape[1]
    padded = tokens._replace(
        input_ids=torch.cat([tokens.input_ids, torch.full((1, 7), PAD)], 1),
        position_ids=torch.cat([tokens.position_ids, torch.zeros(1, 7, dtype=torch.long)], 1),
        layout=Layout(tokens.layout.elements, padding=7),
    )
    assert padded.input_ids.shape[1] == width + 7
    torch.testing.assert_close(
        completion_logprobs(model, padded)[0], completion_logprobs(model, tokens)[0], rtol=1e-6, atol=1e-6
    )


@pytest.mark.parametrize("window", [None, 4])
def test_the_block_mask_of_a_gpu_says_the_same_as_the_two_parts(window: int | None) -> None:
    """FlexAttention computes on a CPU too, as long as no gradient is wanted."""
    from trainer.models.attention import _two_parts

    torch.manual_seed(0)
    layout = Layout(((5, (3, 9)), (2, (4, 1, 6))), padding=2)
    total = sum(layout.lengths)
    query, key, value = (torch.randn(1, heads, total, 8) for heads in (4, 2, 2))
    mask = layout.block_mask(window, query.device)
    flexible = flex_compiled()(query, key, value, block_mask=mask, enable_gqa=True).transpose(1, 2)
    found = _two_parts(query, key, value, layout, None, window)
    torch.testing.assert_close(found[:, :-2], flexible[:, :-2], rtol=1e-5, atol=1e-5)


def test_a_row_in_bfloat16_attends_in_float32() -> None:
    """What comes out is the exact attention, rounded once; products in bfloat16 would round before as well."""
    torch.manual_seed(0)
    layout = Layout(((40, (30, 50)),))
    query, key, value = (torch.randn(1, heads, 120, 16, dtype=torch.bfloat16) for heads in (4, 2, 2))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found, _ = shared_attention(nn.Module(), query, key, value, None, layout=layout)
    exact, _ = shared_attention(nn.Module(), query.double(), key.double(), value.double(), None, layout=layout)
    assert (found.dtype, exact.dtype) == (torch.bfloat16, torch.float64)
    assert float((found == exact.bfloat16()).float().mean()) > 0.999


def test_prompts_are_computed_once(tmp_path: Path) -> None:
    """The tokens that go through the first layer are the unique ones: 8 + 10, 1 + 6 and 2 + 9."""
    model = shared(policy_load(str(saved(FAMILIES["llama"], tmp_path))))
    seen: list[int] = []
    model.model.layers[0].register_forward_hook(lambda module, args, output: seen.append(args[0].shape[1]))
    completion_logprobs(model, collate(GROUPS, PAD, shared=True).tokens)
    assert seen == [18 + 7 + 11]
