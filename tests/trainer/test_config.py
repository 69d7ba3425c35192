"""Options as forms, requests and command lines give them."""

from typing import Any

import pytest

from trainer.config import (
    GROUPS,
    OPTIONS,
    CombineOptions,
    PreferenceOptions,
    beta_of,
    combine_problems,
    option_fields,
    options_read,
    suggested,
)
from trainer.fields import OptionsError


def problems(command: str, **given: object) -> dict[str, str]:
    with pytest.raises(OptionsError) as caught:
        options_read(command, given)
    return caught.value.problems


@pytest.mark.parametrize("command", OPTIONS)
def test_the_defaults_are_within_their_own_limits(command: str) -> None:
    given = {field.name: field.default for field in option_fields(command)}
    assert options_read(command, given) == options_read(command, {})


@pytest.mark.parametrize("command", OPTIONS)
def test_every_option_says_what_it_means(command: str) -> None:
    assert all(field.help_text.endswith(".") for field in option_fields(command))


def test_what_is_wrong_is_said_of_every_option_at_once() -> None:
    assert problems("sample", n="x", top_p="nan", temperature=-1, wrong=1) == {
        "n": "must be a whole number, not 'x'.",
        "top_p": "must be a number, not 'nan'.",
        "temperature": "must be at least 0, not -1.",
        "wrong": "is no option of this command.",
    }


@pytest.mark.parametrize("number", ["9" * 400, "-" + "9" * 400])
def test_a_huge_number_is_refused_like_any_other(number: str) -> None:
    assert "…" in problems("reward", epochs=number)["epochs"]


@pytest.mark.parametrize("value", ["1.5", "", None, True, [], "0x10", "１e5"])
def test_what_is_no_whole_number(value: object) -> None:
    assert "epochs" in problems("reward", epochs=value)


def test_texts_come_as_lines_or_as_a_list() -> None:
    for given in ("a\nb\n", ["a", "b"], ("a", "b")):
        options = options_read("sample", {"stop": given})
        assert getattr(options, "stop", None) == ("a", "b")
    assert "stop" in problems("sample", stop=[1])


def test_a_choice_is_one_of_those_named() -> None:
    assert problems("reward", ties="maybe") == {"ties": "must be one of drop, soft, rao_kupper, not 'maybe'."}


def test_an_unknown_command_has_no_options() -> None:
    assert "command" in problems("bake")


@pytest.mark.parametrize("command", ["sft", "reward", "preference"])
def test_options_of_a_training_come_in_the_groups_of_its_form(command: str) -> None:
    groups = [field.group for field in option_fields(command)]
    assert set(groups) <= set(GROUPS)
    assert groups == sorted(groups, key=GROUPS.index)


def test_beta_is_what_is_usual_for_the_loss_unless_it_is_given() -> None:
    assert beta_of(PreferenceOptions()) == 0.1
    assert beta_of(PreferenceOptions(loss="simpo")) == 2.0
    assert beta_of(PreferenceOptions(loss="dpo_norm")) == 5.0
    assert beta_of(PreferenceOptions(loss="simpo", beta=0.3)) == 0.3


@pytest.mark.parametrize("command", ["sft", "reward", "preference"])
def test_smaller_models_are_told_to_learn_faster(command: str) -> None:
    sizes = [1_000_000, 50_000_000, 500_000_000, 2_000_000_000, 7_000_000_000]
    rates = [suggested(command, size)["learning_rate"] for size in sizes]
    assert rates == sorted(rates, reverse=True)
    assert rates[-1] == {field.name: field.default for field in option_fields(command)}["learning_rate"]
    assert [bool(suggested(command, size).get("gradient_checkpointing")) for size in sizes] == [False] * 3 + [True] * 2


def test_what_is_suggested_can_be_used() -> None:
    for command in OPTIONS:
        for size in (10**5, 10**8, 10**10):
            options_read(command, suggested(command, size, lora=True))


def test_adapters_learn_ten_times_as_fast() -> None:
    assert suggested("sft", 10**9, lora=True)["learning_rate"] == 10 * suggested("sft", 10**9)["learning_rate"]


@pytest.mark.parametrize(
    ("options", "models", "has_snapshot", "about"),
    [
        ({}, 2, False, {}),
        ({}, 1, False, {"models": "not 1"}),
        ({"how": "linear", "weights": ("1", "-2e3")}, 2, True, {}),
        ({"how": "linear"}, 3, False, {"snapshot": "how=linear needs a snapshot"}),
        ({"how": "gated"}, 3, False, {"models": "takes two models", "snapshot": "how=gated needs a snapshot"}),
        ({"how": "gated", "weights": ("1", "1")}, 2, True, {"weights": "Weights are for how=linear"}),
        ({"weights": ("1", "1")}, 2, True, {"weights": "not for how=mean"}),
        ({"how": "linear", "weights": ("1",)}, 2, True, {"weights": "must be 2 numbers, one for each model, not 1."}),
        ({"how": "linear", "weights": ("1", "nan")}, 2, True, {"weights": "not 1, nan."}),
        ({"how": "linear", "weights": ("1", "much")}, 2, True, {"weights": "not 1, much."}),
    ],
)
def test_what_keeps_models_from_being_combined(
    options: dict[str, Any], models: int, has_snapshot: bool, about: dict[str, str]
) -> None:
    found = combine_problems(CombineOptions(**options), models, has_snapshot=has_snapshot)
    assert found.keys() == about.keys()
    assert all(about[name] in problem for name, problem in found.items())
