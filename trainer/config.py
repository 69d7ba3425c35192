"""The options of every command: what a person may choose, with its default, its limits and its meaning.

Standard library alone, so that forms and the API check options where torch is not installed.
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, get_args, get_origin, get_type_hints


class OptionsError(ValueError):
    """Options that no command can run with; `problems` says what is wrong with which."""

    def __init__(self, problems: Mapping[str, str]) -> None:
        super().__init__(" ".join(f"{name}: {problem}" for name, problem in problems.items()))
        self.problems = dict(problems)


def option(default: Any, help_text: str, *, least: float | None = None, most: float | None = None) -> Any:
    """A field of an options class: its default, its meaning, and between which values it must lie."""
    return dataclasses.field(default=default, metadata={"help": help_text, "least": least, "most": most})


@dataclass(frozen=True, kw_only=True)
class TrainingOptions:
    """What all trainings share."""

    command: ClassVar[str]

    seed: int = option(0, "Decides the order of the prompts and every other draw.", least=0, most=2**31 - 1)
    epochs: int = option(1, "How often each prompt is used.", least=1, most=100)
    prompts_per_step: int = option(16, "Prompts of one optimizer step.", least=1, most=4096)
    micro_batch: int = option(16, "Prompts held in memory at once; gradients add up to a step.", least=1, most=4096)
    learning_rate: float = option(1e-5, "Learning rate after the warm-up.", least=0, most=1)
    schedule: Literal["cosine", "linear", "constant"] = option("cosine", "How the learning rate falls.")
    final_rate: float = option(0.1, "Where it ends, as a share of the learning rate.", least=0, most=1)
    warmup: float = option(0.05, "Share of all steps over which it rises from zero.", least=0, most=1)
    weight_decay: float = option(0.0, "AdamW's weight decay.", least=0, most=1)
    max_grad_norm: float = option(1.0, "Gradients are scaled down to this norm; 0 leaves them.", least=0)
    max_length: int = option(1024, "Tokens of prompt and completion together.", least=8, most=1_000_000)
    dtype: Literal["auto", "float32", "bfloat16"] = option("auto", "bfloat16 where the hardware has it, or as named.")
    evaluate_every: int = option(0, "Steps between evaluations on held-out prompts; 0: at the end only.", least=0)
    checkpoint_every: int = option(50, "Steps between checkpoints.", least=1)


@dataclass(frozen=True, kw_only=True)
class SftOptions(TrainingOptions):
    """Supervised training of a policy on answers that people wrote or ranked first."""

    command: ClassVar[str] = "sft"

    answers: Literal["demonstrations", "preferred", "both"] = option(
        "demonstrations", "Answers that people wrote, completions they ranked first, or both."
    )


@dataclass(frozen=True, kw_only=True)
class RewardOptions(TrainingOptions):
    """A reward model from K-way comparisons."""

    command: ClassVar[str] = "reward"

    learning_rate: float = option(9e-6, "Learning rate after the warm-up.", least=0, most=1)
    head_rate: float = option(1.0, "The new head learns by this multiple of the learning rate.", least=0, most=1000)
    ties: Literal["drop", "soft"] = option("drop", "Ties are left out, or pull both scores together.")
    centering: float = option(0.0, "Weight of the pull of each prompt's scores towards zero.", least=0, most=1)


@dataclass(frozen=True, kw_only=True)
class PreferenceOptions(TrainingOptions):
    """A policy trained from comparisons without a reward model."""

    command: ClassVar[str] = "preference"

    learning_rate: float = option(1e-6, "Learning rate after the warm-up.", least=0, most=1)
    loss: Literal["dpo"] = option("dpo", "Which loss compares two completions.")
    beta: float = option(0.1, "How strongly the policy is held to its reference.", least=1e-6, most=100)
    ties: Literal["drop", "soft"] = option("drop", "Ties are left out, or pull both completions together.")
    nll_weight: float = option(0.0, "Weight of the likelihood of the completion ranked first.", least=0, most=100)


@dataclass(frozen=True, kw_only=True)
class SampleOptions:
    """How completions are drawn."""

    command: ClassVar[str] = "sample"

    n: int = option(4, "Completions per prompt.", least=1, most=64)
    temperature: float = option(1.0, "0 always takes the likeliest token.", least=0, most=10)
    top_p: float = option(1.0, "Only the likeliest tokens that together reach this probability.", least=1e-6, most=1)
    max_tokens: int = option(256, "Longest completion, in tokens.", least=1, most=100_000)
    stop: tuple[str, ...] = option((), "Texts that end a completion; they are not part of it.")
    seed: int = option(0, "With prompt and number of the completion, decides each draw.", least=0, most=2**31 - 1)
    batch_size: int = option(32, "Completions drawn at the same time; does not change what is drawn.", least=1)
    dtype: Literal["auto", "float32", "bfloat16"] = option("auto", "bfloat16 where the hardware has it, or as named.")


@dataclass(frozen=True, kw_only=True)
class EvaluateOptions:
    """How completions are scored by a reward model, or compared under a policy and its reference."""

    command: ClassVar[str] = "evaluate"

    measure: Literal["reward", "kl"] = option("reward", "Scores of a reward model, or distance from the reference.")
    batch_size: int = option(32, "Completions at the same time.", least=1)
    max_length: int = option(1024, "Tokens of prompt and completion together.", least=8, most=1_000_000)
    dtype: Literal["auto", "float32", "bfloat16"] = option("auto", "bfloat16 where the hardware has it, or as named.")


Options = SftOptions | RewardOptions | PreferenceOptions | SampleOptions | EvaluateOptions
OPTIONS: dict[str, type[Options]] = {
    kind.command: kind for kind in (SftOptions, RewardOptions, PreferenceOptions, SampleOptions, EvaluateOptions)
}


@dataclass(frozen=True)
class OptionField:
    """One option as a form or a command line shows it. `kind` is int, float, str, choice or texts."""

    name: str
    kind: str
    default: Any
    help_text: str
    choices: tuple[str, ...]
    least: float | None
    most: float | None

    def read(self, value: Any) -> Any:
        """The value in its own type. Raises ValueError with a sentence that says what is wanted."""
        if self.kind == "texts":
            return _texts(value)
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


def option_fields(command: str) -> list[OptionField]:
    """The options of a command, in the order to show them."""
    kind = OPTIONS[command]
    hints = get_type_hints(kind)
    return [_field(field, hints[field.name]) for field in dataclasses.fields(kind)]


def options_read(command: str, given: Mapping[str, Any]) -> Options:
    """Options from a form, a request or a command line; what is not given has its default.

    Raises OptionsError that names every option that is unknown or cannot be used.
    """
    if command not in OPTIONS:
        raise OptionsError({"command": f"must be one of {', '.join(OPTIONS)}, not {command!r}."})
    fields = {field.name: field for field in option_fields(command)}
    problems = {name: "is no option of this command." for name in given if name not in fields}
    values = {}
    for name in fields.keys() & given.keys():
        try:
            values[name] = fields[name].read(given[name])
        except ValueError as error:
            problems[name] = str(error)
    if problems:
        raise OptionsError(problems)
    return OPTIONS[command](**values)


def _field(field: "dataclasses.Field[Any]", hint: Any) -> OptionField:
    choices: tuple[str, ...] = get_args(hint) if get_origin(hint) is Literal else ()
    kind = "choice" if choices else "texts" if get_origin(hint) is tuple else hint.__name__
    data = field.metadata
    return OptionField(field.name, kind, field.default, data["help"], choices, data["least"], data["most"])


def _shortened(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 40 else f"{text[:40]}…"


def _texts(value: Any) -> tuple[str, ...]:
    if isinstance(value, str):
        return tuple(line for line in value.splitlines() if line)
    if isinstance(value, list | tuple) and all(isinstance(text, str) and text for text in value):
        return tuple(value)
    raise ValueError("must be a list of texts.")
