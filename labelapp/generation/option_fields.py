"""The trainer's options as fields of a form. What they may be is said by the trainer's own rules alone."""

from collections.abc import Iterable, Mapping
from typing import Any

from django import forms

from trainer.config import option_fields, options_read
from trainer.fields import OptionField, OptionsError

LABELS = {
    "beta1": "AdamW β₁",
    "beta2": "AdamW β₂",
    "dtype": "Number format",
    "lora_alpha": "LoRA alpha",
    "lora_rank": "LoRA rank",
    "nll_weight": "Likelihood weight",
}
"""What options are called whose names are abbreviations."""


class OptionText(forms.CharField):
    """An option as it was written. Empty stands for its default."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(required=False, strip=False, **kwargs)

    def to_python(self, value: Any) -> str:
        """The text as it was typed, without what the database could not hold."""
        return str(super().to_python(value) or "").replace("\x00", "")


def option_formfield(option: OptionField) -> OptionText:
    """The form field of one option, with its default filled in."""
    return OptionText(
        label=LABELS.get(option.name, option.name.replace("_", " ").capitalize()),
        help_text=option.help_text,
        initial=option_text(option.default),
        widget=option_widget(option),
    )


def option_limits(option: OptionField) -> str:
    """What a number may be, in a sentence; empty for other options and where there is no limit."""
    least, most = (None if limit is None else f"{limit:,.10g}" for limit in (option.least, option.most))
    if least is not None and most is not None:
        return f"From {least} to {most}."
    return f"At least {least}." if least is not None else f"At most {most}." if most is not None else ""


def option_widget(option: OptionField) -> forms.Widget:
    """The control that an option is typed or chosen in."""
    if option.kind == "choice":
        return forms.Select(choices=[(choice, choice) for choice in option.choices])
    if option.kind == "bool":
        return forms.Select(choices=[("true", "yes"), ("false", "no")])
    if option.kind == "texts":
        return forms.Textarea(attrs={"rows": 3})
    if option.kind == "str":
        return forms.TextInput()
    limits = {"min": option.least, "max": option.most, "step": 1 if option.kind == "int" else "any"}
    return forms.NumberInput({name: option_text(limit) for name, limit in limits.items() if limit is not None})


def option_text(value: Any) -> str:
    """A value as a person would write it: texts one to a line."""
    if isinstance(value, tuple | list):
        return "\n".join(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    return f"{value:.10g}" if isinstance(value, float) else str(value)


def option_problems(command: str, given: Mapping[str, str]) -> dict[str, str]:
    """What is wrong with which of the options, in sentences."""
    try:
        options_read(command, given)
    except OptionsError as error:
        return {name: f"It {problem}" for name, problem in error.problems.items()}
    return {}


def options_of_command(command: str, *, without: Iterable[str] = ()) -> list[OptionField]:
    """The options of a command that a form shows, in their order."""
    left_out = set(without)
    return [option for option in option_fields(command) if option.name not in left_out]
