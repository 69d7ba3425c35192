import math
import random
from collections import Counter
from collections.abc import Sequence

import numpy as np
import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    BloomConfig,
    Gemma3TextConfig,
    MambaConfig,
    MistralConfig,
    PreTrainedModel,
)

from tests.trainer.models import STORIES, TINY, byte_tokenizer
from trainer.config import SampleOptions
from trainer.sampling.drawing import probabilities, row_key, tokens_draw, uniform
from trainer.sampling.engine import Engine, Sampled, SampleRequest, SamplingError, stop_at
from trainer.sampling.transformers_engine import Row, TransformersEngine, parts_within, stop_ids_of

SHAPE = {"vocab_size": 264, "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 3}
SHAPE |= {"num_attention_heads": 2, "max_position_embeddings": 512, "initializer_range": 0.2}
PROMPTS = [(9, 40, 70), (5,), (12, 13, 14, 15, 16, 17, 18, 19), (100, 200), (33,) * 21]


@pytest.fixture(scope="module", params=["llama", "gpt2"])
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> PreTrainedModel:
    folder = TINY[request.param](tmp_path_factory.mktemp("model"))
    return AutoModelForCausalLM.from_pretrained(folder).eval()


def engine_of(model: PreTrainedModel, stop_ids: Sequence[int] = (), **options: object) -> TransformersEngine:
    tokenizer = AutoTokenizer.from_pretrained(model.name_or_path)
    return TransformersEngine(model, tokenizer, SampleOptions(**options), stop_ids)


def sampled(engine: Engine, requests: Sequence[SampleRequest]) -> dict[tuple[int, int], Sampled]:
    done: list[Sampled] = []
    engine.sample(requests, done.append, lambda: False)
    assert Counter(each.request for each in done) == Counter(requests)
    return {(each.request.prompt, each.request.index): each for each in done}


def requests_for(prompts: Sequence[tuple[int, ...]] = PROMPTS, n: int = 3) -> list[SampleRequest]:
    return [SampleRequest(number, index, ids) for number, ids in enumerate(prompts) for index in range(n)]


@torch.inference_mode()
def naive_ids(model: PreTrainedModel, request: SampleRequest, options: SampleOptions) -> list[int]:
    """The whole row through the model for every token, and a draw written without torch."""
    ids = list(request.prompt_ids)
    for place in range(options.max_tokens):
        logits = model(torch.tensor([ids]), use_cache=False).logits[0, -1].double().numpy()
        if options.temperature == 0:
            ids.append(int(logits.argmax()))
            continue
        weights = np.exp((logits - logits.max()) / options.temperature)
        weights /= weights.sum()
        order = np.argsort(-weights, kind="stable")
        crossing = int(np.searchsorted(np.cumsum(weights[order]), options.top_p))
        weights[order[crossing + 1 :]] = 0
        wanted = uniform(row_key(options.seed, request.prompt, request.index), place) * weights.sum()
        ids.append(next(token for token, upto in enumerate(np.cumsum(weights)) if upto > wanted))
    return ids[len(request.prompt_ids) :]


# --- Draws ---------------------------------------------------------------------------------------------------------
def test_uniform_numbers_never_change() -> None:
    """Completions are drawn again from their seed years later."""
    assert uniform(row_key(0, 1, 2), 3) == 0.3105961508163274


def test_uniform_numbers_differ_by_seed_prompt_index_and_place() -> None:
    keys = [row_key(*key) for key in [(0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1), (0, 11, 1), (0, 1, 11)]]
    numbers = [uniform(key, place) for key in keys for place in range(500)]
    assert len(set(numbers)) == len(numbers)
    assert min(numbers) >= 0
    assert max(numbers) < 1
    assert sum(numbers) / len(numbers) == pytest.approx(0.5, abs=4 * math.sqrt(1 / 12 / len(numbers)))


def test_temperature_is_by_hand() -> None:
    logits = torch.tensor([[0.0, math.log(2.0), math.log(5.0)]])
    assert probabilities(logits, 1.0, 1.0)[0].tolist() == pytest.approx([1 / 8, 2 / 8, 5 / 8])
    assert probabilities(logits, 0.5, 1.0)[0].tolist() == pytest.approx([1 / 30, 4 / 30, 25 / 30])


@pytest.mark.parametrize(
    ("top_p", "kept"), [(0.2, [2]), (0.49, [2]), (0.6, [2, 0]), (0.79, [2, 0]), (0.9, [2, 0, 3]), (1.0, [2, 0, 3, 1])]
)
def test_top_p_keeps_up_to_the_token_that_crosses_it(top_p: float, kept: list[int]) -> None:
    shares = [0.3, 0.05, 0.5, 0.15]
    left = probabilities(torch.tensor([shares]).log(), 1.0, top_p)[0]
    assert sorted(kept) == left.nonzero()[:, 0].tolist()
    assert left[kept].tolist() == pytest.approx([shares[token] for token in kept])


def test_equal_tokens_at_the_border_of_top_p_are_taken_by_id() -> None:
    assert probabilities(torch.zeros(1, 4), 1.0, 0.4)[0].nonzero()[:, 0].tolist() == [0, 1]


def test_draw_inverts_the_cumulated_probabilities() -> None:
    logits = torch.tensor([[0.25, 0.0, 0.5, 0.25, 0.0]]).log().repeat(6, 1)
    places = [0.0, 0.2499, 0.2501, 0.7499, 0.7501, 1 - 2**-53]
    assert tokens_draw(logits, places, temperature=1.0, top_p=1.0) == [0, 0, 2, 2, 3, 3]
    assert tokens_draw(logits[:2], [0.33, 0.34], temperature=1.0, top_p=0.7) == [0, 2]


@pytest.mark.parametrize("temperature", [1e-9, 1e-300])
def test_small_temperatures_take_the_likeliest(temperature: float) -> None:
    logits = torch.tensor([[1.0, 3.0, 2.0], [-9.0, -50.0, -8.0]])
    assert tokens_draw(logits, [0.999, 0.001], temperature=temperature, top_p=1.0) == [1, 2]
    assert tokens_draw(logits, [], temperature=0, top_p=1.0) == [1, 2]


@pytest.mark.parametrize("temperature", [0.0, 1.0])
@pytest.mark.parametrize("broken", [math.nan, math.inf])
def test_logits_that_are_no_numbers_are_refused(temperature: float, broken: float) -> None:
    with pytest.raises(SamplingError, match="no number"):
        tokens_draw(torch.tensor([[0.0, broken, 1.0]]), [0.5], temperature=temperature, top_p=1.0)


def test_first_tokens_are_drawn_as_often_as_the_model_says(model: PreTrainedModel) -> None:
    n, temperature = 3000, 1.3
    engine = engine_of(model, max_tokens=1, temperature=temperature, batch_size=500)
    done = sampled(engine, requests_for([PROMPTS[0]], n))
    with torch.inference_mode():
        expected = n * (model(torch.tensor([PROMPTS[0]])).logits[0, -1].double() / temperature).softmax(-1).numpy()
    counted = np.bincount([each.ids[0] for each in done.values()], minlength=len(expected))
    rare = expected < 5
    seen = np.append(counted[~rare], counted[rare].sum())
    wanted = np.append(expected[~rare], expected[rare].sum())
    chi_square, freedom = ((seen - wanted) ** 2 / wanted).sum(), len(wanted) - 1
    assert freedom > 50
    assert chi_square < freedom + 3.7 * math.sqrt(2 * freedom)


# --- The decode loop -----------------------------------------------------------------------------------------------
@pytest.mark.parametrize("options", [{"temperature": 0}, {"temperature": 0.8, "top_p": 0.9}, {"temperature": 1.5}])
def test_batched_decoding_equals_the_whole_row_each_time(model: PreTrainedModel, options: dict[str, float]) -> None:
    engine = engine_of(model, max_tokens=12, batch_size=4, seed=3, **options)
    done = sampled(engine, requests_for(n=2))
    for each in done.values():
        assert list(each.ids) == naive_ids(model, each.request, engine.options)
        assert each.finish_reason == "length"


def test_texts_do_not_depend_on_the_batch(model: PreTrainedModel) -> None:
    requests, stop_ids = requests_for(n=4), range(20, 32)
    texts = []
    for batch_size, order in [(1, 0), (3, 0), (32, 0), (3, 1), (5, 2)]:
        shuffled = random.Random(order).sample(requests, len(requests)) if order else requests
        done = sampled(engine_of(model, stop_ids, max_tokens=20, batch_size=batch_size, top_p=0.95), shuffled)
        texts.append({key: (each.ids, each.text, each.finish_reason) for key, each in done.items()})
    assert all(other == texts[0] for other in texts)
    assert {reason for _, _, reason in texts[0].values()} == {"stop", "length"}
    assert len({ids for ids, _, _ in texts[0].values()}) > len(requests) / 2


def test_another_seed_draws_other_texts(model: PreTrainedModel) -> None:
    first, second = (sampled(engine_of(model, max_tokens=20, seed=seed), requests_for()) for seed in (0, 1))
    assert all(first[key].ids != second[key].ids for key in first)


def test_a_prompt_is_read_once_for_all_its_completions(model: PreTrainedModel) -> None:
    read: list[int] = []
    hook = model.register_forward_pre_hook(
        lambda _, __, given: read.append(given["input_ids"].numel()), with_kwargs=True
    )
    try:
        sampled(engine_of(model, max_tokens=3, batch_size=64), requests_for([PROMPTS[2]], 16))
    finally:
        hook.remove()
    assert read == [len(PROMPTS[2]), 16, 16]


def test_rows_that_ended_leave_the_batch(model: PreTrainedModel) -> None:
    rows: list[int] = []
    engine = engine_of(model, range(100), max_tokens=30, batch_size=8)
    hook = model.register_forward_pre_hook(lambda _, __, given: rows.append(len(given["input_ids"])), with_kwargs=True)
    try:
        done = sampled(engine, requests_for(n=8))
    finally:
        hook.remove()
    drawn = sum(len(each.ids) for each in done.values())
    assert drawn - len(done) <= sum(rows) <= drawn + len(PROMPTS)
    assert max(rows) <= 8


def test_parts_stay_within_the_limit_of_padded_tokens() -> None:
    row = Row(SampleRequest(0, 0, (1,)), b"", 9)
    prompts = [((1,) * length, [row]) for length in [3, 4, 9, 1, 30, 2]]
    parts = [[len(ids) for ids, _ in part] for part in parts_within(prompts, 10)]
    assert parts == [[3, 4], [9], [1], [30], [2]]


def test_stop_leaves_the_rest_for_another_time(model: PreTrainedModel) -> None:
    requests, done = requests_for(n=4), []
    asked = iter([False] * 12 + [True] * 100)
    engine_of(model, range(100), max_tokens=30, batch_size=4).sample(requests, done.append, lambda: next(asked))
    assert 0 < len(done) < len(requests)
    left = [each for each in requests if each not in {one.request for one in done}]
    engine_of(model, range(100), max_tokens=30, batch_size=7).sample(left, done.append, lambda: False)
    whole = sampled(engine_of(model, range(100), max_tokens=30), requests)
    assert {(each.request.prompt, each.request.index): each for each in done} == whole


# --- How a completion ends -----------------------------------------------------------------------------------------
def test_an_end_token_ends_and_is_no_text(model: PreTrainedModel) -> None:
    options = {"max_tokens": 30, "temperature": 0.9}
    free = sampled(engine_of(model, **options), requests_for(n=1))[(0, 0)].ids
    place = next(place for place in range(3, 30) if free[place] not in free[:place])
    engine = engine_of(model, [free[place]], **options)
    each = sampled(engine, requests_for(n=1))[(0, 0)]
    assert (each.ids, each.finish_reason) == (free[: place + 1], "stop")
    assert each.text == engine.tokenizer.decode(list(free[:place]), skip_special_tokens=True)


def test_a_completion_may_be_empty(model: PreTrainedModel) -> None:
    for each in sampled(engine_of(model, range(264), max_tokens=5), requests_for()).values():
        assert (each.text, each.finish_reason, len(each.ids)) == ("", "stop", 1)


@pytest.mark.parametrize("given", [7, [7, 9], None])
def test_end_tokens_are_those_of_folder_and_tokenizer(model: PreTrainedModel, given: int | list[int] | None) -> None:
    tokenizer, before = AutoTokenizer.from_pretrained(model.name_or_path), model.generation_config.eos_token_id
    model.generation_config.eos_token_id = given
    named = given if isinstance(given, list) else [token for token in [given] if token is not None]
    try:
        assert stop_ids_of(model, tokenizer) == {*named, tokenizer.eos_token_id}
    finally:
        model.generation_config.eos_token_id = before


def test_a_stop_text_cuts_before_it(model: PreTrainedModel) -> None:
    """Each token of these models is one byte: a text of two spans two tokens."""
    free = sampled(engine_of(model, max_tokens=40), requests_for())
    cut = 0
    for key, each in free.items():
        stops = [each.text[place : place + 2] for place in (4, 9) if each.text[place : place + 2].isascii()]
        if not stops:
            continue
        stopped = sampled(engine_of(model, max_tokens=40, stop=tuple(stops)), requests_for())[key]
        assert stopped.text == each.text[: stop_at(each.text, stops)]
        assert stopped.finish_reason == "stop"
        assert stopped.ids == each.ids[: len(stopped.ids)]
        assert len(stopped.ids) < len(each.ids)
        cut += 1
    assert cut > 2


def test_the_first_stop_text_counts() -> None:
    assert stop_at("one two three", ["three", "two"]) == 4
    assert stop_at("one", ["two"]) is None
    assert stop_at("one", []) is None


def test_a_full_context_ends_a_completion(model: PreTrainedModel) -> None:
    assert engine_of(model).context == 512
    done = sampled(engine_of(model, max_tokens=100), requests_for([(8,) * 505, (8,) * 511], 2))
    assert {key: (len(each.ids), each.finish_reason) for key, each in done.items()} == {
        (0, 0): (7, "length"),
        (0, 1): (7, "length"),
        (1, 0): (1, "length"),
        (1, 1): (1, "length"),
    }


@pytest.mark.parametrize("ids", [(8,) * 512, ()])
def test_a_prompt_without_room_is_refused(model: PreTrainedModel, ids: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="Prompt 0"):
        sampled(engine_of(model), requests_for([ids], 1))


ODD = {
    "sliding": MistralConfig(num_key_value_heads=1, sliding_window=6, **SHAPE),
    "sliding_and_full": Gemma3TextConfig(num_key_value_heads=1, head_dim=8, sliding_window=6, **SHAPE),
    "no_positions_given": BloomConfig(vocab_size=264, hidden_size=16, n_layer=2, n_head=2, initializer_range=0.2),
}


@pytest.mark.parametrize("kind", ODD)
def test_other_kinds_of_attention_are_decoded_right(kind: str) -> None:
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(ODD[kind]).eval()
    engine = TransformersEngine(model, byte_tokenizer(), SampleOptions(max_tokens=12, batch_size=4), [])
    for each in sampled(engine, requests_for(n=2)).values():
        assert list(each.ids) == naive_ids(model, each.request, engine.options)


def test_a_model_without_keys_and_values_is_refused() -> None:
    """It would answer, but forget what it said."""
    config = MambaConfig(vocab_size=264, hidden_size=16, num_hidden_layers=1, state_size=4)
    model = AutoModelForCausalLM.from_config(config).eval()
    with pytest.raises(SamplingError, match="keys and values"):
        sampled(TransformersEngine(model, byte_tokenizer(), SampleOptions(), []), requests_for())


# --- A model that was trained --------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def stories() -> PreTrainedModel:
    if not STORIES.exists():
        pytest.skip(f"{STORIES} is not here")
    return AutoModelForCausalLM.from_pretrained(STORIES).eval()


def test_stories_are_told(stories: PreTrainedModel) -> None:
    each = sampled(engine_of(stories, [1, 2], temperature=0, max_tokens=300), requests_for([(1,)], 1))[(0, 0)]
    assert each.text.startswith("Once upon a time, there was a little girl named Lily.")
    assert each.finish_reason in ("stop", "length")


def test_stories_stop_at_texts_that_span_tokens(stories: PreTrainedModel) -> None:
    stops = ("girl named", "\n\n")
    engine = engine_of(stories, [1, 2], temperature=0, stop=stops)
    assert len(engine.tokenizer("girl named").input_ids) > 2
    each = sampled(engine, requests_for([(1,)], 1))[(0, 0)]
    assert (each.text, each.finish_reason) == ("Once upon a time, there was a little ", "stop")


def test_stories_do_not_depend_on_the_batch(stories: PreTrainedModel) -> None:
    requests = requests_for([(1,), (1, 403), (1, 403, 407, 261, 378)], 4)
    texts = [
        {
            key: each.text
            for key, each in sampled(engine_of(stories, [1, 2], batch_size=size, max_tokens=40), requests).items()
        }
        for size in (1, 3, 32)
    ]
    assert texts[0] == texts[1] == texts[2]
