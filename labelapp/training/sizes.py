"""How large a model is, and which options suit that size."""

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from labelapp.artifacts.services import artifact_localise
from labelapp.errors import DomainError
from labelapp.generation.option_fields import option_text
from labelapp.models import ModelVersion, RunKind
from trainer.config import option_fields, suggested
from trainer.records import MEMBERS

INDEX, WHOLE = "model.safetensors.index.json", "model.safetensors"
HEADER_LIMIT = 100_000_000
"""Bytes that a header may have, as the format has it."""


@dataclass(frozen=True)
class Suggestion:
    """Options that suit a starting model, as they would be typed; those of the trainer where its size is not known."""

    model: ModelVersion | None
    lora: bool
    parameters: int | None
    values: dict[str, str]

    @property
    def key(self) -> str:
        """What it was made for, in a text that a form can carry."""
        return f"{self.model.pk if self.model else ''}{'-lora' if self.lora else ''}"

    @property
    def words(self) -> str:
        """What is suggested for what, in a sentence."""
        if self.parameters is None:
            return "How large this model is cannot be seen from here, so these are the trainer's defaults."
        listed = ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in self.values.items())
        size = f"{number_words(self.parameters)} parameters{' and LoRA' if self.lora else ''}"
        return f"Suggested for {size}: {listed or 'the defaults'}."


def suggestion_make(kind: RunKind, model: ModelVersion | None, *, lora: bool) -> Suggestion:
    """What the trainer suggests for a run of a kind that starts from a model."""
    parameters = parameter_count(model) if model else None
    values = suggested(kind.value, parameters, lora=lora) if parameters is not None else {}
    return Suggestion(model, lora, parameters, {name: option_text(value) for name, value in values.items()})


def refreshed(kind: RunKind, shown: dict[str, str], before: Suggestion, now: Suggestion) -> dict[str, str]:
    """What the fields of a form become that still hold what was suggested before. A person's own entries stay."""
    defaults = {field.name: option_text(field.default) for field in option_fields(kind.value)}
    old, new = ({name: made.values.get(name, default) for name, default in defaults.items()} for made in (before, now))
    return {
        name: new[name]
        for name, value in shown.items()
        if name in defaults and value == old[name] and old[name] != new[name]
    }


def parameter_count(model: ModelVersion) -> int | None:
    """How many numbers the weights of a model are; None where they do not lie on this machine as safetensors.

    Only the headers of the files are read, which takes milliseconds whatever the size.
    """
    try:
        folder = model_folder(model)
        return sum(map(_numbers_in, _files_of(folder))) or None if folder else None
    except (OSError, ValueError, KeyError, TypeError, AttributeError, DomainError):
        return None


def model_folder(model: ModelVersion) -> Path | None:
    """Where a model lies on this machine; None for one of the hub, or without weights.

    Raises DomainError when its files are gone or damaged.
    """
    folder = artifact_localise(model.weights) if model.weights else Path(model.location)
    return folder if folder.is_absolute() else None


def number_words(number: int) -> str:
    """A large number as people say it."""
    for size, word in ((1e9, "billion"), (1e6, "million")):
        if number >= size:
            return f"{number / size:.3g} {word}"
    return f"{number:,}"


def _files_of(folder: Path) -> list[Path]:
    """The files of weights; of a combination, those of all its models."""
    if (folder / MEMBERS).is_dir():
        return [file for member in (folder / MEMBERS).iterdir() for file in _files_of(member)]
    if (folder / INDEX).is_file():
        return sorted({folder / name for name in json.loads((folder / INDEX).read_text())["weight_map"].values()})
    return [folder / WHOLE]


def _numbers_in(path: Path) -> int:
    """How many numbers a file of weights holds: eight bytes say how long its header is, which says each shape."""
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if length > HEADER_LIMIT:
            raise ValueError(f"{path} has no header.")
        header: dict[str, Any] = json.loads(file.read(length))
    return sum(math.prod(tensor["shape"]) for name, tensor in header.items() if name != "__metadata__")
