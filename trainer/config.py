"""The options of every command: what a person may choose, with its default, its limits and its meaning.

Standard library alone, so that forms and the API check options where torch is not installed.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from trainer.fields import OptionField, OptionsError, fields_of, option, values_read

DATA, LOSS, STEPS, MEMORY, MEASURE, WATCH = "Data", "Loss", "Optimizer", "Memory and speed", "Measuring", "Watching"
COMBINATION = "Combination"
GROUPS = (COMBINATION, DATA, LOSS, STEPS, MEMORY, MEASURE, WATCH)
"""In the order in which forms show them."""

PRECISION = "bfloat16 where the hardware has it, or as named."


@dataclass(frozen=True, kw_only=True)
class TrainingOptions:
    """What all trainings share."""

    command: ClassVar[str]

    epochs: int = option(1, "How often each prompt is used.", group=DATA, least=1, most=100)
    max_length: int = option(
        1024, "Tokens of a prompt with one of its completions.", group=DATA, least=8, most=1_000_000
    )
    seed: int = option(0, "Decides the order of the prompts and every other draw.", group=DATA, least=0, most=2**31 - 1)

    prompts_per_step: int = option(16, "Prompts of one optimizer step.", group=STEPS, least=1, most=4096)
    learning_rate: float = option(1e-5, "Learning rate after the warm-up.", group=STEPS, least=0, most=1)
    schedule: Literal["cosine", "linear", "constant"] = option(
        "cosine", "How the learning rate falls after the warm-up.", group=STEPS
    )
    final_rate: float = option(0.1, "Where it ends, as a share of the learning rate.", group=STEPS, least=0, most=1)
    warmup: float = option(0.05, "Share of all steps over which it rises from zero.", group=STEPS, least=0, most=1)
    weight_decay: float = option(0.0, "AdamW's weight decay; vectors do not decay.", group=STEPS, least=0, most=1)
    beta1: float = option(0.9, "AdamW's memory of the gradient.", group=STEPS, least=0, most=0.9999)
    beta2: float = option(0.999, "AdamW's memory of its square.", group=STEPS, least=0, most=0.99999)
    epsilon: float = option(1e-8, "Added to AdamW's denominator.", group=STEPS, least=1e-12, most=1e-2)
    max_grad_norm: float = option(1.0, "Gradients are scaled down to this norm; 0 leaves them.", group=STEPS, least=0)

    micro_tokens: int = option(
        8192, "Tokens in memory at once; gradients add up to a step.", group=MEMORY, least=16, most=100_000_000
    )
    share_prompts: Literal["auto", "never"] = option(
        "auto", "Completions of a prompt read it once, where the model allows it.", group=MEMORY
    )
    dtype: Literal["auto", "float32", "bfloat16"] = option("auto", PRECISION, group=MEMORY)
    gradient_checkpointing: bool = option(
        False, "Compute activations twice instead of keeping them: less memory, a third more work.", group=MEMORY
    )
    parallel: Literal["replicas", "sharded"] = option(
        "replicas",
        "Of several processes, each holds the whole model, or a part of it and of AdamW's memory (FSDP).",
        group=MEMORY,
    )
    lora_rank: int = option(
        0, "Train adapters of this rank beside frozen weights; 0 trains all weights.", group=MEMORY, least=0, most=1024
    )
    lora_alpha: float = option(
        0.0, "Adapters count by this over their rank; 0: twice the rank.", group=MEMORY, least=0, most=4096
    )

    evaluate_every: int = option(
        0, "Steps between evaluations on held-out prompts; 0: before and after.", group=MEASURE, least=0
    )
    patience: int = option(
        0,
        "Stop when so many evaluations in a row did not improve the held-out loss, and keep the best; 0: never.",
        group=MEASURE,
        least=0,
        most=1000,
    )

    checkpoint_every: int = option(50, "Steps between checkpoints.", group=WATCH, least=1)
    checkpoints_kept: int = option(2, "Newest checkpoints that stay on disk.", group=WATCH, least=1, most=1000)
    tracker: Literal["none", "tensorboard", "wandb"] = option(
        "none", "Where measurements go besides the run folder; its package must be installed.", group=WATCH
    )


@dataclass(frozen=True, kw_only=True)
class SftOptions(TrainingOptions):
    """Supervised training of a policy on answers that people wrote or ranked first."""

    command: ClassVar[str] = "sft"

    answers: Literal["demonstrations", "preferred", "both", "rationales"] = option(
        "demonstrations",
        "Answers that people wrote, completions they ranked first, both, or why they preferred what they preferred.",
        group=DATA,
    )


@dataclass(frozen=True, kw_only=True)
class RewardOptions(TrainingOptions):
    """A reward model from K-way comparisons."""

    command: ClassVar[str] = "reward"

    learning_rate: float = option(9e-6, "Learning rate after the warm-up.", group=STEPS, least=0, most=1)
    head_rate: float = option(
        1.0, "The new head learns by this multiple of the learning rate.", group=STEPS, least=0, most=1000
    )
    loss: Literal["bradley_terry", "plackett_luce", "likert"] = option(
        "bradley_terry", "Learn from pairs, from whole rankings, or from the ratings on their own.", group=LOSS
    )
    ties: Literal["drop", "soft", "rao_kupper"] = option(
        "drop", "Ties are left out, pull both scores together, or have a learned width.", group=LOSS
    )
    margin: Literal["none", "small", "large"] = option(
        "none", "Stronger preferences ask for a greater difference: up to 1 or up to 3 (Llama 2).", group=LOSS
    )
    centering: float = option(
        0.0, "Weight of the pull of each prompt's scores towards zero.", group=LOSS, least=0, most=1
    )
    weights: Literal["snapshot", "equal"] = option(
        "snapshot", "Comparisons count as the snapshot says, or each alike.", group=LOSS
    )
    pooling: Literal["last", "mean"] = option(
        "last", "The score is read at the last token, or is a mean over the completion.", group=LOSS
    )
    heads: tuple[str, ...] = option(
        (),
        "Several heads in one model, one a line: a name, or name=tag to learn from prompts with that tag only.",
        group=LOSS,
    )
    likert_weight: float = option(
        0.0, "Weight of a further head that predicts the rating of each completion.", group=LOSS, least=0, most=100
    )
    questions_weight: float = option(
        0.0, "Weight of further heads that predict the yes/no questions.", group=LOSS, least=0, most=100
    )
    zero_at: Literal["demonstrations", "held_out", "none"] = option(
        "demonstrations", "Shift scores so that these have the mean zero, where there are any.", group=LOSS
    )


@dataclass(frozen=True, kw_only=True)
class PreferenceOptions(TrainingOptions):
    """A policy trained from comparisons without a reward model."""

    command: ClassVar[str] = "preference"

    learning_rate: float = option(1e-6, "Learning rate after the warm-up.", group=STEPS, least=0, most=1)
    loss: Literal[
        "dpo", "cdpo", "robust", "hinge", "ipo", "ipo_mean", "simpo", "rdpo", "dpo_norm",
        "kto", "pro", "infonce", "plackett_luce", "orpo",
    ] = option("dpo", "Which loss compares completions.", group=LOSS)  # fmt: skip
    beta: float = option(
        0.0,
        "How strongly the policy is held to its reference (IPO: τ); 0: what is usual for the loss.",
        group=LOSS,
        least=0,
        most=100,
    )
    ties: Literal["drop", "soft"] = option("drop", "Ties are left out, or pull both completions together.", group=LOSS)
    held_to: Literal["start", "none", "sft"] = option(
        "start",
        "What the policy is held to: the starting model (or the one that is named), nothing, or a copy that first "
        "learns the preferred completions.",
        group=LOSS,
    )
    label_smoothing: float = option(
        0.1, "cdpo and robust: how often labels are thought to be wrong.", group=LOSS, least=0, most=0.499
    )
    gamma_ratio: float = option(0.5, "simpo: the margin γ that is asked for, over β.", group=LOSS, least=0, most=10)
    length_penalty: float = option(
        0.05, "rdpo: how much of the reward each token of the winner costs.", group=LOSS, least=0, most=10
    )
    desirable_weight: float = option(1.0, "kto: weight of desirable completions.", group=LOSS, least=0, most=100)
    undesirable_weight: float = option(1.0, "kto: weight of undesirable completions.", group=LOSS, least=0, most=100)
    labels: Literal["ratings", "ranking"] = option(
        "ratings",
        "kto: desirable by ratings, thumbs and severe flags; or the first and the last of each ranking.",
        group=LOSS,
    )
    odds_weight: float = option(0.1, "orpo: weight of the odds ratio.", group=LOSS, least=0, most=100)
    nll_weight: float = option(
        0.0, "Weight of the likelihood of the completion ranked first.", group=LOSS, least=0, most=100
    )


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
    dtype: Literal["auto", "float32", "bfloat16"] = option("auto", PRECISION)


@dataclass(frozen=True, kw_only=True)
class EvaluateOptions:
    """How completions are scored by a reward model, or compared under a policy and its reference."""

    command: ClassVar[str] = "evaluate"

    measure: Literal["reward", "kl", "critique"] = option(
        "reward",
        "Scores of a reward model, distance from the reference, or the verdicts of a model that writes critiques.",
    )
    batch_size: int = option(32, "Completions of the greatest length in memory at once; of shorter ones more.", least=1)
    max_length: int = option(1024, "Tokens of prompt and completion together.", least=8, most=1_000_000)
    dtype: Literal["auto", "float32", "bfloat16"] = option("auto", PRECISION)


@dataclass(frozen=True, kw_only=True)
class CombineOptions:
    """How several reward models become one."""

    command: ClassVar[str] = "combine"

    how: Literal["mean", "linear", "gated"] = option(
        "mean",
        "mean: an ensemble, with its disagreement. linear: standardised scores, weighted. gated: the first model's "
        "score, unless the second (safety) finds less than the threshold or the prompt has the tag.",
        group=COMBINATION,
    )
    weights: tuple[str, ...] = option(
        (), "linear: one weight a line, in the order of the models; none: all 1.", group=COMBINATION
    )
    threshold: float = option(
        0.15, "gated: least σ(score) of the second model (Llama 2).", group=COMBINATION, least=0, most=1
    )
    tag: str = option(
        "safety", "gated: prompts with this tag are always judged by the second model.", group=COMBINATION
    )
    max_length: int = option(1024, "Tokens of prompt and completion together.", group=DATA, least=8, most=1_000_000)
    batch_size: int = option(
        32, "Completions of the greatest length in memory at once; of shorter ones more.", group=MEMORY, least=1
    )
    dtype: Literal["auto", "float32", "bfloat16"] = option("auto", PRECISION, group=MEMORY)


Options = SftOptions | RewardOptions | PreferenceOptions | SampleOptions | EvaluateOptions | CombineOptions
OPTIONS: dict[str, type[Options]] = {
    kind.command: kind
    for kind in (SftOptions, RewardOptions, PreferenceOptions, SampleOptions, EvaluateOptions, CombineOptions)
}

USUAL_BETA = {"simpo": 2.0, "dpo_norm": 5.0, "pro": 1.0, "orpo": 1.0}
"""What β is for a loss where nothing else is asked for; 0.1 for all others."""

# Learning rates that models of a size stand without care: up to so many parameters, and then the rate.
_RATES = {
    "sft": ((5e6, 2e-3), (1e8, 2e-4), (1e9, 5e-5), (3e9, 2e-5)),
    "reward": ((5e6, 1e-3), (1e8, 1e-4), (1e9, 3e-5), (3e9, 1.5e-5)),
    "preference": ((5e6, 5e-4), (1e8, 2e-5), (1e9, 5e-6), (3e9, 2e-6)),
}
_LORA_FACTOR = 10


def option_fields(command: str) -> list[OptionField]:
    """The options of a command, in the order to show them."""
    fields = fields_of(OPTIONS[command])
    return sorted(fields, key=lambda field: GROUPS.index(field.group)) if fields[0].group else fields


def options_read(command: str, given: Mapping[str, Any]) -> Options:
    """Options from a form, a request or a command line; what is not given has its default.

    Raises OptionsError that names every option that is unknown or cannot be used.
    """
    if command not in OPTIONS:
        raise OptionsError({"command": f"must be one of {', '.join(OPTIONS)}, not {command!r}."})
    return OPTIONS[command](**values_read(OPTIONS[command], given))


def combine_problems(options: CombineOptions, models: int, *, has_snapshot: bool) -> dict[str, str]:
    """What keeps so many models from being combined as asked: sentences by what they are about, which is `models`,
    `snapshot` or `weights`. Empty when nothing does.
    """
    how, weights, problems = options.how, options.weights, dict[str, str]()
    if models < 2:
        problems["models"] = f"Two models or more are combined, not {models}."
    elif how == "gated" and models != 2:
        problems["models"] = f"Combining by how=gated takes two models, for helpfulness and for safety, not {models}."
    if how != "mean" and not has_snapshot:
        problems["snapshot"] = (
            f"Combining by how={how} needs a snapshot, on whose completions the scale of scores is measured."
        )
    if weights and how != "linear":
        problems["weights"] = f"Weights are for how=linear, not for how={how}. Leave them out."
    elif weights and (len(weights) != models or not all(map(_is_number, weights))):
        problems["weights"] = f"Weights must be {models} numbers, one for each model, not {', '.join(weights)}."
    return problems


def beta_of(options: PreferenceOptions) -> float:
    """β (or τ) of a preference loss: what was asked for, or what is usual."""
    return options.beta or USUAL_BETA.get(options.loss, 0.1)


def suggested(command: str, parameters: int, *, lora: bool = False) -> dict[str, Any]:
    """Options that suit a model with so many parameters better than the defaults, which are for billions.

    Small models want greater learning rates; large ones want their activations computed twice.
    """
    rates = _RATES.get(command)
    if rates is None:
        return {}
    rate = next((rate for size, rate in rates if parameters <= size), OPTIONS[command]().learning_rate)  # type: ignore[union-attr]
    values: dict[str, Any] = {"learning_rate": rate * _LORA_FACTOR if lora else rate}
    if parameters > 1e9:
        values["gradient_checkpointing"] = True
    return values


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False
