"""The model card: what a published model is, what it learned from, how good it is, and the command that makes it again.

`README.md` in the folder of the model, as Hugging Face reads it: YAML front matter and Markdown.
"""

import dataclasses
import hashlib
import json
import platform
import re
import shlex
from collections.abc import Iterator, Mapping
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

from trainer.config import CombineOptions, Options, option_fields
from trainer.records import MANIFEST, Request

CARD = "README.md"
AGAIN = "run-again"
"""Where the command of a card writes: the folder of the run itself is finished."""
LIBRARIES = ("torch", "transformers", "tokenizers", "safetensors", "peft", "accelerate")

COMBINE = "combine"

_TITLES = {
    "sft": "Supervised model",
    "reward": "Reward model",
    "preference": "Preference-tuned model",
    COMBINE: "Combined reward model",
}
_PIPELINES = {"sft": "text-generation", "reward": "text-classification", "preference": "text-generation"}
_WHAT = {
    "sft": "A language model that learned answers by heart: every token of an answer counts alike.",
    "reward": "A reward model: it gives a prompt with a completion one number, greater for what people prefer. It "
    "learned from comparisons of all completions of a prompt at once.",
    "preference": "A language model that learned directly from comparisons of completions, without a reward model.",
    COMBINE: "Several reward models as one: it gives a prompt with a completion one number, made of theirs, and is not "
    "trained itself. `scorer.json` says how, and the models are in `members`. Prefloop's `evaluate` takes this folder "
    "for a reward model; transformers loads its members, each by itself.",
}
_SCORES_COMPARE = "A score only means something beside the scores of other completions of the same prompt."
_LIMITS = {
    "sft": (
        "It imitates the answers it was shown, with their mistakes. Nobody tested here whether what it says is true, "
        "safe or fair.",
    ),
    "reward": (
        _SCORES_COMPARE,
        "It stands for the people who labeled this snapshot under these guidelines, and for prompts like theirs; the "
        "figures above say nothing about others.",
        "A policy that is trained or selected by these scores finds their errors. Hold it near its reference, and let "
        "people judge the result.",
    ),
    "preference": (
        "The accuracy above is that of its implicit reward, on completions that other models wrote. It does not say "
        "how good its own answers are: let people compare them with the starting model's.",
        "It stands for the people who labeled this snapshot under these guidelines. Nobody tested here whether what it "
        "says is true, safe or fair.",
    ),
    COMBINE: (
        _SCORES_COMPARE,
        "It makes the mistakes that its models have in common; models of one base and one snapshot have many.",
        "It takes the time and the memory of all its models together.",
    ),
}
_HOW = {
    "mean": "The score is the mean of theirs; beside it stands their disagreement (standard deviation).",
    "linear": "The score is the sum of theirs, each times its weight, standardised on all completions of the snapshot.",
    "gated": "The score is that of model 2 where σ of it is less than {threshold:g} or the prompt has the tag {tag}, "
    "else that of model 1; standardised on all completions of the snapshot.",
}
# Figures of the report in the order of the card, and what they are.
_FIGURES = {
    "accuracy": "Pair accuracy, ties left out",
    "longer_wins": "… of preferring the longer completion",
    "first_wins": "… of preferring the one listed first",
    "random": "… of a coin",
    "over_longer_wins": "Accuracy above that of preferring the longer",
    "length_matched": "Pair accuracy where lengths differ by less than 10 %",
    "best_of_k": "The best score is ranked first",
    "best_of_k_random": "… of a random pick",
    "kendall_tau": "Kendall's τ_b, mean over prompts",
    "loss": "Loss",
    "loss_before": "… before training",
    "ece": "Expected calibration error",
    "margin": "Margin between preferred and other completions",
    "kl": "KL divergence from the reference, nats per completion",
    "mean_disagreement": "Disagreement: standard deviation between its models, mean over completions",
}


def card_write(
    folder: Path,
    *,
    command: str,
    request: Request,
    options: Options,
    resolved: Mapping[str, Any],
    report: Mapping[str, Any],
    versions: Mapping[str, str],
) -> Path:
    """Write README.md into the folder of a model that is not published yet; returns its path.

    `resolved` is what config.json says the request came to (`snapshot`, `held_out`, `device`, `dtype`, `threads`);
    `report` what report.json will say (`counts`, `metrics`, `steps`), whole before the model is published; `versions`
    those of the libraries, by name: see `versions_here`. What is not there is left out.
    """
    sections = (
        _front_matter(command, request, options),
        [f"# {_TITLES.get(command, command)}", "", _WHAT.get(command, ""), "", *_origin(request, options, report)],
        [
            f"## What it {'was measured on' if command == COMBINE else 'learned from'}",
            "",
            *_data(request, resolved, report),
        ],
        ["## Figures", "", *_figures(resolved, report.get("metrics", {}))],
        ["## Limits", "", *(f"- {limit}" for limit in _limits(command, report.get("metrics", {})))],
        ["## Options", "", *_options(options)],
        ["## Reproduce", "", *_reproduce(request, options, resolved, versions)],
    )
    path = folder / CARD
    path.write_text("\n\n".join("\n".join(lines) for lines in sections) + "\n", encoding="utf-8")
    return path


def command_of(request: Request, options: Options, *, output: str = AGAIN, start: Path | None = None) -> list[str]:
    """The arguments that run a request again: every option that has not its default, and every name.

    Paths below the folder `start` are written from there, as somebody who works there would.
    """
    flags = [
        ("model" if name == "models" else name, value if start is None else _from(start, value))
        for name, given in request.items()
        if name not in ("command", "options")
        for value in _values(given)
    ]
    flags += [(field.name, value) for field in _chosen(options) for value in _values(getattr(options, field.name))]
    parts = [part for name, value in [*flags, ("output", output)] for part in _flag(name, value)]
    return ["python", "-m", "trainer", options.command, *parts]


def versions_here() -> dict[str, str]:
    """Versions of what trains: Python, the libraries that are installed, and the SHA-256 of the trainer's files."""
    found = {"python": platform.python_version()}
    for name in LIBRARIES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found | {"prefloop": trainer_version()}


@cache
def trainer_version() -> str:
    """Which code trains: the SHA-256 of the trainer's source files."""
    folder, digest = Path(__file__).parents[1], hashlib.sha256()
    for path in sorted(folder.rglob("*.py")):
        digest.update(f"{path.relative_to(folder)} {hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
    return digest.hexdigest()


def _chosen(options: Options) -> "list[dataclasses.Field[Any]]":
    """The options that have not their default."""
    return [field for field in dataclasses.fields(options) if getattr(options, field.name) != field.default]


def _values(value: Any) -> list[str]:
    """How a value is given on the command line; several for a list of texts."""
    if isinstance(value, bool):
        return [str(value).lower()]
    return [str(each) for each in value] if isinstance(value, list | tuple) else [str(value)]


def _flag(name: str, value: str) -> list[str]:
    flag = f"--{name.replace('_', '-')}"
    # What begins like a flag would be taken for one.
    return [f"{flag}={value}"] if value.startswith("-") else [flag, value]


def _from(start: Path, value: str) -> str:
    path = Path(value)
    return str(path.relative_to(start)) if path.is_absolute() and path.is_relative_to(start) else value


def _front_matter(command: str, request: Request, options: Options) -> list[str]:
    """YAML, in which every JSON text is a text. A base model is one of the hub; a folder has a whole path."""
    kind = {"sft": "sft", "reward": "reward-model", COMBINE: "reward-model"}.get(
        command, getattr(options, "loss", command)
    )
    lines = ["---"]
    if command in _PIPELINES:
        lines += ["library_name: transformers", f"pipeline_tag: {_PIPELINES[command]}"]
    if "model" in request and not Path(request["model"]).is_absolute():
        lines.append(f"base_model: {json.dumps(request['model'])}")
    return [*lines, "tags:", "- prefloop", f"- {json.dumps(str(kind).replace('_', '-'))}", "---"]


def _origin(request: Request, options: Options, report: Mapping[str, Any]) -> Iterator[str]:
    if isinstance(options, CombineOptions):
        yield from _members(options, report)
        return
    yield f"- Starts from {_code(_from(Path.cwd(), request['model']))}."
    if "reference" in request:
        yield f"- Held to the reference {_code(_from(Path.cwd(), request['reference']))}."
    if loss := getattr(options, "loss", None):
        yield f"- Loss: {_code(loss)}."
    if rank := getattr(options, "lora_rank", 0):
        yield f"- Trained as adapters of rank {rank} (LoRA)."


def _members(options: CombineOptions, report: Mapping[str, Any]) -> Iterator[str]:
    """How scores become one, and of which models, in their order."""
    how = _HOW[options.how].format(threshold=options.threshold, tag=_code(options.tag))
    yield f"- How: {_code(options.how)}. {how}"
    metrics, weights = report.get("metrics", {}), options.weights
    for number, member in enumerate(report.get("members", ()), start=1):
        place = _code(_from(Path.cwd(), member["source"]))
        weight = f", weight {weights[number - 1]}" if weights else ""
        yield f"- Model {number}: {place}{weight}, SHA-256 of its files {_code(member['digest'])}."
        if options.how == "linear":
            yield f"  Its scores: {_scale(metrics, number)}."
    if options.how == "gated":
        yield f"- Of the scores that decide: {_scale(metrics, 1)}."


def _scale(metrics: Mapping[str, Any], number: int) -> str:
    return f"mean {metrics[f'mean_{number}']:.4g}, standard deviation {metrics[f'deviation_{number}']:.4g}"


def _data(request: Request, resolved: Mapping[str, Any], report: Mapping[str, Any]) -> Iterator[str]:
    manifest = _manifest(request)
    if "snapshot" not in request:
        yield "- No snapshot was named."
    else:
        digest = f", digest {_code(resolved['snapshot'])}" if "snapshot" in resolved else ""
        yield f"- Snapshot {_code(_from(Path.cwd(), request['snapshot']))}{digest}."
    if as_of := manifest.get("as_of"):
        yield f"- Labels as of {as_of}."
    if protocols := manifest.get("protocols"):
        yield f"- What the labelers were asked: {', '.join(_protocol(*item) for item in sorted(protocols.items()))}."
    if left_out := manifest.get("counts", {}).get("left_out"):
        yield f"- Labels left out of the snapshot: {_numbers(left_out)}."
    for name, counts in report.get("counts", {}).items():
        if isinstance(counts, Mapping):
            yield f"- {name.replace('_', ' ').capitalize()}: {_numbers(counts)}."


def _manifest(request: Request) -> dict[str, Any]:
    """What the snapshot says of itself. A training is not lost because the snapshot has gone in the meantime."""
    try:
        return dict(json.loads(Path(request["snapshot"], MANIFEST).read_text()))
    except (KeyError, OSError, ValueError):
        return {}


def _protocol(id_: str, protocol: Any) -> str:
    name = protocol.get("name") if isinstance(protocol, Mapping) else None
    version = f" version {protocol['version']}" if name and "version" in protocol else ""
    return f"protocol {id_}" + (f" ({_code(name)}{version})" if name else "")


def _numbers(counts: Mapping[str, Any]) -> str:
    """Counts in words: first plain ones, then those that have several of their own."""
    plain = [f"{name.replace('_', ' ')} {value}" for name, value in counts.items() if not isinstance(value, Mapping)]
    nested = [
        f"{name.replace('_', ' ')}: {_numbers(value)}" for name, value in counts.items() if isinstance(value, Mapping)
    ]
    return "; ".join([", ".join(plain), *nested] if plain else nested)


def _figures(resolved: Mapping[str, Any], metrics: Mapping[str, Any]) -> Iterator[str]:
    rows = [(words, name) for name, words in _FIGURES.items() if name in metrics]
    if not resolved.get("held_out") or not rows:
        yield "Nothing was held out: no figure says how it does on prompts that it has not seen."
        return
    sizes = "".join(f", {metrics[name]} {name}" for name in ("prompts", "comparisons") if name in metrics)
    yield f"On the {resolved['held_out']} split{sizes}, which it did not learn from. Intervals are over prompts."
    yield from ("", "| | | 95 % interval |", "|---|---:|---|")
    for words, name in rows:
        low, high = metrics.get(f"{name}_low"), metrics.get(f"{name}_high")
        interval = "" if low is None or high is None else f"{low:.4g} to {high:.4g}"
        yield f"| {words} | {metrics[name]:.4g} | {interval} |"


def _limits(command: str, metrics: Mapping[str, Any]) -> Iterator[str]:
    """What must not be read into it: of its kind, and what its figures admit."""
    yield from _LIMITS.get(command, ())
    if metrics.get("over_longer_wins_low", 1.0) <= 0:
        yield "**It is not shown to judge better than preferring the longer completion does.**"
    if metrics.get("accuracy_low", 1.0) <= metrics.get("random", 0.0):
        yield "**It is not shown to judge better than a coin.**"
    yield "It was made for these prompts' languages and lengths; beyond them, test before use."


def _options(options: Options) -> Iterator[str]:
    chosen = _chosen(options)
    if not chosen:
        yield "All options have their defaults."
        return
    meanings = {field.name: field.help_text for field in option_fields(options.command)}
    yield from ("These differ from the defaults:", "", "| Option | Value | Default | Meaning |", "|---|---|---|---|")
    for field in chosen:
        value, default = _code(_shown(getattr(options, field.name))), _code(_shown(field.default))
        yield f"| {_code(field.name)} | {value} | {default} | {_cell(meanings[field.name])} |"


def _reproduce(
    request: Request, options: Options, resolved: Mapping[str, Any], versions: Mapping[str, str]
) -> Iterator[str]:
    line = shlex.join(command_of(request, options, start=Path.cwd()))
    if resolved.get("device") == "cpu" and "threads" in resolved:
        # Sums in another order have other last digits.
        line = f"OMP_NUM_THREADS={resolved['threads']} {line}"
    fence = "`" * max(3, *(len(run) + 1 for run in re.findall("`+", line) or [""]))
    yield from (f"{fence}sh", line, fence, "")
    here = [f"seed {seed}"] if (seed := getattr(options, "seed", None)) is not None else []
    here += [f"{name} {resolved[name]}" for name in ("device", "dtype", "max_length", "processes") if name in resolved]
    yield f"- {', '.join(here).replace('_', ' ').capitalize()}."
    yield f"- {', '.join(f'{name} {version}' for name, version in versions.items())}."
    if options.command == COMBINE:
        return
    yield (
        "- With these versions, on a processor of the same kind, the weights come out the same to the last bit; on a "
        "GPU nearly so."
    )


def _shown(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _code(text: object) -> str:
    """A text as code, whatever is in it."""
    words = _cell(str(text))
    ticks = "`" * (max((len(run) for run in re.findall("`+", words)), default=0) + 1)
    room = " " if words.startswith("`") or words.endswith("`") else ""
    return f"{ticks}{room}{words}{room}{ticks}"


def _cell(text: str) -> str:
    """A text in a line of a table."""
    return " ".join(text.split()).replace("|", "\\|")
