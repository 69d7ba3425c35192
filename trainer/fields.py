"""How an option is described, read and shown: its type, its limits, its meaning. Standard library alone."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args, get_origin, get_type_hints

TRUE, FALSE = ("true", "yes", "on", "1"), ("false", "no", "off", "0")


class OptionsError(ValueError):
    """Options that no command can run with; `problems` says what is wrong with which."""

    def __init__(self, problems: Mapping[str, str]) -> None:
        super().__init__(" ".join(f"{name}: {problem}" for name, problem in problems.items()))
        self.problems = dict(problems)


def option(
    default: Any, help_text: str, *, group: str = "", least: float | None = None, most: float | None = None
) -> Any:
    """A field of an options class: its default, its meaning, the group it is shown in, and its limits."""
    metadata = {"help": help_text, "group": group, "least": least, "most": most}
    return dataclasses.field(default=default, metadata=metadata)


@dataclass(frozen=True)
class OptionField:
    """One option as a form or a command line shows it. `kind` is int, float, bool, str, choice or texts."""

    name: str
    kind: str
    default: Any
    help_text: str
    group: str
    choices: tuple[str, ...]
    least: float | None
    most: float | None

    def read(self, value: Any) -> Any:
        """The value in its own type. Raises ValueError with a sentence that says what is wanted."""
        if self.kind == "texts":
            return _texts(value)
        if self.kind == "bool":
            return _truth(value)
        if self.kind == "str":
            return _text(value)
        if self.kind == "choice":
            if value not in self.choices:
                raise ValueError(f"must be one of {', '.join(self.choices)}, not {value!r}.")
            return value
        return self._number(value)

    def _number(self, value: Any) -> float:
        convert = int if self.kind == "int" else float
        wanted = "a whole number" if self.kind == "int" else "a number"
        try:
            number = convert(str(value))
        except (TypeError, ValueError):
            raise ValueError(f"must be {wanted}, not {value!r}.") from None
        if number != number or number in (float("inf"), float("-inf")):
            raise ValueError(f"must be {wanted}, not {value!r}.")
        if self.least is not None and number < self.least:
            raise ValueError(f"must be at least {self.least:g}, not {_shortened(value)}.")
        if self.most is not None and number > self.most:
            raise ValueError(f"must be at most {self.most:g}, not {_shortened(value)}.")
        return number


def fields_of(kind: type) -> list[OptionField]:
    """The options of a class, in the order in which they stand there."""
    hints = get_type_hints(kind)
    return [_field(field, hints[field.name]) for field in dataclasses.fields(kind)]


def values_read(kind: type, given: Mapping[str, Any]) -> dict[str, Any]:
    """Given values in their types. Raises OptionsError that names every option that is unknown or cannot be used."""
    fields = {field.name: field for field in fields_of(kind)}
    problems = {name: "is no option of this command." for name in given if name not in fields}
    values = {}
    for name in fields.keys() & given.keys():
        try:
            values[name] = fields[name].read(given[name])
        except ValueError as error:
            problems[name] = str(error)
    if problems:
        raise OptionsError(problems)
    return values


def _field(field: "dataclasses.Field[Any]", hint: Any) -> OptionField:
    choices: tuple[str, ...] = get_args(hint) if get_origin(hint) is Literal else ()
    kind = "choice" if choices else "texts" if get_origin(hint) is tuple else hint.__name__
    data = field.metadata
    return OptionField(
        field.name, kind, field.default, data["help"], data["group"], choices, data["least"], data["most"]
    )


def _shortened(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 40 else f"{text[:40]}…"


def _truth(value: Any) -> bool:
    word = str(value).lower()
    if word not in TRUE + FALSE:
        raise ValueError(f"must be true or false, not {_shortened(value)!r}.")
    return word in TRUE


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError("must be a text.")
    return value.strip()


def _texts(value: Any) -> tuple[str, ...]:
    if isinstance(value, str):
        return tuple(line for line in value.splitlines() if line)
    if isinstance(value, list | tuple) and all(isinstance(text, str) and text for text in value):
        return tuple(value)
    raise ValueError("must be a list of texts.")
