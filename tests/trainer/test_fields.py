"""How options are described and read, on a class of our own."""

from dataclasses import dataclass
from typing import Any, Literal

import pytest

from trainer.fields import OptionsError, fields_of, option, values_read


@dataclass(frozen=True, kw_only=True)
class Tea:
    """Options for tea."""

    cups: int = option(1, "How many.", group="Pot", least=1, most=12)
    warmth: float = option(0.9, "How warm.", group="Pot", least=0, most=1)
    milk: bool = option(False, "With milk.", group="Taste")
    kind: Literal["green", "black"] = option("green", "Which.", group="Taste")
    notes: tuple[str, ...] = option((), "Anything else.")
    name: str = option("", "For whom.")


def test_fields_tell_all_that_a_form_needs() -> None:
    fields = {field.name: field for field in fields_of(Tea)}
    assert [field.kind for field in fields.values()] == ["int", "float", "bool", "choice", "texts", "str"]
    assert (fields["cups"].least, fields["cups"].most, fields["cups"].default) == (1, 12, 1)
    assert (fields["cups"].group, fields["kind"].group, fields["name"].group) == ("Pot", "Taste", "")
    assert fields["kind"].choices == ("green", "black")


@pytest.mark.parametrize(
    ("name", "given", "read"),
    [
        ("cups", "3", 3),
        ("warmth", "0.25", 0.25),
        ("warmth", 1, 1.0),
        ("milk", "yes", True),
        ("milk", True, True),
        ("milk", "False", False),
        ("milk", "off", False),
        ("kind", "black", "black"),
        ("notes", "a\n\nb\n", ("a", "b")),
        ("name", "  Ada ", "Ada"),
    ],
)
def test_what_is_given_is_read_in_its_type(name: str, given: Any, read: Any) -> None:
    values = values_read(Tea, {name: given})
    assert values == {name: read}
    assert type(values[name]) is type(read)


@pytest.mark.parametrize(
    ("name", "given", "problem"),
    [
        ("cups", "2.5", "must be a whole number, not '2.5'."),
        ("cups", 13, "must be at most 12, not 13."),
        ("warmth", "inf", "must be a number, not 'inf'."),
        ("milk", "perhaps", "must be true or false, not 'perhaps'."),
        ("milk", None, "must be true or false, not 'None'."),
        ("kind", "red", "must be one of green, black, not 'red'."),
        ("notes", [""], "must be a list of texts."),
        ("name", 5, "must be a text."),
        ("sugar", 1, "is no option of this command."),
    ],
)
def test_what_cannot_be_read_is_said(name: str, given: Any, problem: str) -> None:
    with pytest.raises(OptionsError) as caught:
        values_read(Tea, {name: given})
    assert caught.value.problems == {name: problem}
