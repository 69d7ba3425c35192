"""The form of a new run: every option of the trainer, suggestions by the size of the model, and what it refuses."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.http import QueryDict
from django.test import Client

from labelapp.generation.option_fields import option_text
from labelapp.models import ModelVersion, Project, Run, RunKind, User
from labelapp.training.forms import FIRST, RUN_FORMS, RunForm
from labelapp.training.sizes import number_words, parameter_count, refreshed, suggestion_make
from tests.training.weights import weights_write
from trainer.config import GROUPS, option_fields, suggested

ClientOf = Callable[[User], Client]
RUNS = "/projects/garden-helper/runs/"
NEW = f"{RUNS}new/"


def form_of(run: Run, kind: RunKind = RunKind.REWARD, **fields: Any) -> dict[str, Any]:
    """The form of a new run, as the browser sends it when only the name is filled in."""
    form = RunForm(project=run.project, kind=kind, initial={"start": run.start_id})
    options = {option.name: form[option.name].value() for option in form.option_fields}
    return {**options, "name": "Second", "snapshot": run.snapshot_id, "start": run.start_id, **fields}


@pytest.fixture
def sized(base: ModelVersion) -> ModelVersion:
    """The base model with two million parameters."""
    weights_write(Path(base.location) / "model.safetensors", {"a": (1000, 1000), "b": (1_000_000,)})
    return base


@pytest.fixture
def large(project: Project, places: Path) -> ModelVersion:
    """A model of two billion parameters in two files; the files end after their headers."""
    folder = places / "large"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    for number in (1, 2):
        weights_write(folder / f"model-{number}.safetensors", {f"w{number}": (1000, 1_000_000)}, whole=False)
    (folder / "model.safetensors.index.json").write_text(
        '{"weight_map": {"w1": "model-1.safetensors", "w2": "model-2.safetensors", "w3": "model-2.safetensors"}}'
    )
    return ModelVersion.objects.create(project=project, name="large", kind="base", state="ready", location=str(folder))


@pytest.mark.parametrize("kind", RunKind.values)
def test_each_kind_has_its_form(client_of: ClientOf, training: Run, omar: User, kind: str) -> None:
    html = client_of(omar).get(f"{NEW}?kind={kind}").content.decode()
    assert f'href="?kind={kind}" aria-current="page"' in html
    assert ('name="reference"' in html) == (kind == "preference")
    assert 'value="base"' not in html
    assert (">base</option>" in html) == (kind != "combine")


@pytest.mark.parametrize("kind", RunKind.values)
def test_every_option_stands_there_once_with_its_meaning(
    client_of: ClientOf, training: Run, omar: User, kind: str
) -> None:
    html = client_of(omar).get(f"{NEW}?kind={kind}").content.decode()
    for option in option_fields(kind):
        assert len(re.findall(rf'<(?:input|select|textarea) [^>]*name="{option.name}"', html)) == 1, option.name
        assert f'<label for="id_{option.name}">' in html
        assert f'id="id_{option.name}_helptext">{option.help_text}' in html


@pytest.mark.parametrize("kind", RunKind)
def test_options_stand_in_the_trainers_groups(training: Run, kind: RunKind) -> None:
    groups = RUN_FORMS.get(kind, RunForm)(project=training.project, kind=kind).option_groups
    assert [group.name for group in groups] == [name for name in GROUPS if name in {group.name for group in groups}]
    first = [option.name for option in option_fields(kind.value) if option.name in FIRST[kind]]
    others = [field.name for group in groups for field in group.fields]
    assert sorted(first + others) == sorted(option.name for option in option_fields(kind.value))
    assert set(first) == set(FIRST[kind])


def test_numbers_say_their_limits_and_truths_are_chosen(client_of: ClientOf, training: Run, omar: User) -> None:
    html = client_of(omar).get(f"{NEW}?kind=reward").content.decode()
    assert "How often each prompt is used. From 1 to 100." in html
    assert "Steps between checkpoints. At least 1." in html
    assert re.search(r'<select name="gradient_checkpointing".*?<option value="false" selected>no</option>', html, re.S)
    assert '<textarea name="heads"' in html


def test_the_form_starts_a_run(client_of: ClientOf, training: Run, omar: User) -> None:
    fields = form_of(training, epochs="3", learning_rate="2e-5", ties="soft", gradient_checkpointing="true")
    fields["heads"] = "helpful\r\nharmless=safety"
    response = client_of(omar).post(f"{NEW}?kind=reward", fields)
    made = Run.objects.get(name="Second")
    assert response["Location"] == f"{RUNS}{made.pk}/"
    assert (made.options["epochs"], made.options["learning_rate"], made.options["ties"]) == (3, 2e-5, "soft")
    assert made.options["gradient_checkpointing"] is True
    assert made.options["heads"] == ["helpful", "harmless=safety"]
    assert made.created_by == omar


def test_an_option_left_empty_has_its_default(client_of: ClientOf, training: Run, omar: User) -> None:
    client_of(omar).post(f"{NEW}?kind=reward", form_of(training, epochs="", seed=""))
    assert Run.objects.get(name="Second").options["epochs"] == 1


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("epochs", "0", "It must be at least 1, not 0."),
        ("epochs", "two", "It must be a whole number, not &#x27;two&#x27;."),
        ("learning_rate", "nan", "It must be a number, not &#x27;nan&#x27;."),
        ("schedule", "steep", "It must be one of cosine, linear, constant, not &#x27;steep&#x27;."),
        ("gradient_checkpointing", "perhaps", "It must be true or false, not &#x27;perhaps&#x27;."),
        ("name", "Rewards", "There is a run called “Rewards” already. Choose another name."),
        ("snapshot", "0", "Select a valid choice."),
        ("start", "x", "Select a valid choice."),
        ("lora_rank", "many", "It must be a whole number, not &#x27;many&#x27;."),
    ],
)
def test_a_bad_field_says_what_is_wrong(
    client_of: ClientOf, training: Run, omar: User, field: str, value: str, message: str
) -> None:
    response = client_of(omar).post(f"{NEW}?kind=reward", form_of(training) | {field: value})
    assert response.status_code == 422
    html = response.content.decode()
    assert message in html
    assert f'aria-describedby="id_{field}_' in html
    assert Run.objects.count() == 1


def test_an_error_in_a_group_opens_it_and_no_other(client_of: ClientOf, training: Run, omar: User) -> None:
    closed = client_of(omar).get(f"{NEW}?kind=reward").content.decode()
    assert '<details class="fold option-group">' in closed
    assert 'option-group" open' not in closed
    html = client_of(omar).post(f"{NEW}?kind=reward", form_of(training, warmup="7")).content.decode()
    assert re.findall(r'option-group" open>\s*<summary>(\w+)', html) == ["Optimizer"]


@pytest.mark.parametrize("held_to", ["none", "sft"])
def test_a_policy_is_held_to_one_thing(client_of: ClientOf, training: Run, omar: User, held_to: str) -> None:
    fields = form_of(training, RunKind.PREFERENCE, held_to=held_to, reference=training.start_id)
    response = client_of(omar).post(f"{NEW}?kind=preference", fields)
    assert response.status_code == 422
    assert f"The policy is held to “{held_to}”, so no model can be named as its reference." in response.content.decode()
    fields["reference"] = ""
    assert client_of(omar).post(f"{NEW}?kind=preference", fields).status_code == 302


def test_a_named_reference_is_kept(client_of: ClientOf, training: Run, omar: User) -> None:
    fields = form_of(training, RunKind.PREFERENCE, reference=training.start_id)
    client_of(omar).post(f"{NEW}?kind=preference", fields)
    assert Run.objects.get(name="Second").reference == training.start


def test_parameters_are_counted_from_headers_alone(sized: ModelVersion, large: ModelVersion) -> None:
    assert parameter_count(sized) == 2_000_000
    assert parameter_count(large) == 2_000_000_000


@pytest.mark.parametrize("content", [b"", b"short", b"\xff" * 16, b"\x02\0\0\0\0\0\0\0[]", b"\x02\0\0\0\0\0\0\0{]"])
def test_damaged_weights_have_no_size(base: ModelVersion, content: bytes) -> None:
    (Path(base.location) / "model.safetensors").write_bytes(content)
    assert parameter_count(base) is None


def test_a_model_of_the_hub_has_no_size_here(base: ModelVersion) -> None:
    base.location = "organisation/model"
    assert parameter_count(base) is None


@pytest.mark.parametrize(
    ("number", "words"),
    [(512, "512"), (40_000, "40,000"), (1_648_088, "1.65 million"), (7_240_000_000, "7.24 billion")],
)
def test_sizes_are_said_in_words(number: int, words: str) -> None:
    assert number_words(number) == words


def test_the_form_begins_with_what_suits_the_model(
    client_of: ClientOf, training: Run, sized: ModelVersion, omar: User
) -> None:
    html = client_of(omar).get(f"{NEW}?kind=reward&start={sized.pk}").content.decode()
    rate = option_text(suggested("reward", 2_000_000)["learning_rate"])
    assert f"Suggested for 2 million parameters: learning rate {rate}." in html
    assert re.search(rf'name="learning_rate" value="{rate}"', html)


def test_a_model_of_unknown_size_has_the_trainers_defaults(client_of: ClientOf, training: Run, omar: User) -> None:
    html = client_of(omar).get(f"{NEW}?kind=reward").content.decode()
    assert "How large this model is cannot be seen from here" in html
    assert 'name="learning_rate" value="9e-06"' in html


def test_another_model_brings_other_suggestions(
    client_of: ClientOf, training: Run, sized: ModelVersion, large: ModelVersion, omar: User
) -> None:
    """As htmx sends it: the options as they stand, and for which model they were suggested."""
    shown = {**form_of(training), "suggested_for": str(sized.pk), "start": str(large.pk)}
    shown["learning_rate"] = option_text(suggested("reward", 2_000_000)["learning_rate"])
    html = client_of(omar).get(f"{NEW}suggested/", {"kind": "reward", **shown}).content.decode()
    assert "Suggested for 2 billion parameters" in html
    assert f'name="suggested_for" value="{large.pk}"' in html
    rate = option_text(suggested("reward", 2_000_000_000)["learning_rate"])
    assert re.search(rf'<input [^>]*name="learning_rate" value="{rate}"[^>]*hx-swap-oob="true"', html)
    assert re.search(r'<select name="gradient_checkpointing"[^>]*hx-swap-oob.*?value="true" selected', html, re.S)
    assert html.count("hx-swap-oob") == 2


def test_what_somebody_wrote_stays(
    client_of: ClientOf, training: Run, sized: ModelVersion, large: ModelVersion, omar: User
) -> None:
    shown = {**form_of(training), "suggested_for": str(sized.pk), "start": str(large.pk), "learning_rate": "0.5"}
    html = client_of(omar).get(f"{NEW}suggested/", {"kind": "reward", **shown}).content.decode()
    assert 'name="learning_rate"' not in html
    assert 'name="gradient_checkpointing"' in html


def test_lora_learns_faster(training: Run, sized: ModelVersion) -> None:
    form = RunForm(project=training.project, kind=RunKind.SFT)
    plain = suggestion_make(RunKind.SFT, sized, lora=False)
    given = QueryDict(mutable=True)
    given.update({"suggested_for": str(sized.pk), "start": str(sized.pk), "lora_rank": "16", **plain.values})
    assert form.refresh(given) == ["learning_rate"]
    assert float(form["learning_rate"].value()) == pytest.approx(10 * float(plain.values["learning_rate"]))
    assert form.suggestion.key == f"{sized.pk}-lora"
    assert "parameters and LoRA" in form.suggestion.words


def test_going_back_takes_back_what_was_suggested(training: Run, sized: ModelVersion, large: ModelVersion) -> None:
    small, big = (suggestion_make(RunKind.REWARD, model, lora=False) for model in (sized, large))
    shown = {"learning_rate": big.values["learning_rate"], "gradient_checkpointing": "true", "epochs": "3"}
    assert refreshed(RunKind.REWARD, shown, big, small) == {
        "learning_rate": small.values["learning_rate"],
        "gradient_checkpointing": "false",
    }


@pytest.mark.parametrize("query", ["start=x", "start=99999999999999999999", "suggested_for=x-y", "lora_rank=two"])
def test_nonsense_is_no_error(client_of: ClientOf, training: Run, omar: User, query: str) -> None:
    assert client_of(omar).get(f"{NEW}suggested/?kind=reward&{query}").status_code == 200
