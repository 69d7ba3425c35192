"""Options as forms, requests and command lines give them."""

import pytest

from trainer.config import OPTIONS, OptionsError, option_fields, options_read


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
    assert problems("reward", ties="maybe") == {"ties": "must be one of drop, soft, not 'maybe'."}


def test_an_unknown_command_has_no_options() -> None:
    assert "command" in problems("bake")
