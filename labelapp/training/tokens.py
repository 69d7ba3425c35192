"""Which tokens models read, as far as that can be seen without loading them."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from labelapp.errors import DomainError
from labelapp.models import ModelVersion
from labelapp.training.sizes import model_folder
from trainer.records import MEMBERS

TOKENIZER = "tokenizer.json"
SIZE_LIMIT = 100_000_000
"""Bytes; a larger file is left to the trainer."""


def strangers_of(models: Sequence[ModelVersion]) -> tuple[ModelVersion, ModelVersion] | None:
    """The first model whose vocabulary can be read, and the first that has another one; None where all have the same,
    or nobody can say.

    The trainer, which loads them, has the last word.
    """
    known: list[tuple[bytes, ModelVersion]] = []
    for model in models:
        if content := _content(model):
            known.append((content, model))
    others = [(content, model) for content, model in known[1:] if content != known[0][0]]
    if not others or (first := vocabulary_read(known[0][0])) is None:
        return None
    found = ((vocabulary_read(content), model) for content, model in others)
    other = next((model for vocabulary, model in found if vocabulary is not None and vocabulary != first), None)
    return (known[0][1], other) if other else None


def vocabulary_read(content: bytes) -> Mapping[str, int] | None:
    """The id of each token in a tokenizer.json; None where it is in no known form."""
    try:
        given: dict[str, Any] = json.loads(content)
        listed = given["model"]["vocab"]
        ids = listed if isinstance(listed, dict) else {token: id_ for id_, (token, _) in enumerate(listed)}
        return ids | {added["content"]: added["id"] for added in given["added_tokens"]}
    except (ValueError, KeyError, TypeError):
        return None


def _content(model: ModelVersion) -> bytes | None:
    try:
        folder = model_folder(model)
        path = _file(folder) if folder else None
        return path.read_bytes() if path and path.stat().st_size <= SIZE_LIMIT else None
    except (OSError, DomainError):
        return None


def _file(folder: Path) -> Path | None:
    """The tokenizer of a model; of a combination, that of its first one, since all have the same tokens."""
    if (folder / MEMBERS).is_dir():
        return _file(folder / MEMBERS / "1")
    return folder / TOKENIZER if (folder / TOKENIZER).is_file() else None
