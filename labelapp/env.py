"""Typed readers of environment variables. A value that cannot be read stops the start with its name."""

import os
from collections.abc import Mapping
from typing import overload

TRUE = frozenset({"1", "true", "yes", "on"})
FALSE = frozenset({"0", "false", "no", "off"})


class EnvironmentValueError(ValueError):
    """An environment variable holds something that its reader does not understand."""

    def __init__(self, name: str, value: str, expected: str) -> None:
        super().__init__(f"{name}={value!r}: expected {expected}. Correct it or unset it to take the default.")


@overload
def env_str(name: str, default: str, environ: Mapping[str, str] = ...) -> str: ...
@overload
def env_str(name: str, default: None = ..., environ: Mapping[str, str] = ...) -> str | None: ...
def env_str(name: str, default: str | None = None, environ: Mapping[str, str] = os.environ) -> str | None:
    """Return the variable's text; an empty one counts as unset."""
    return environ.get(name) or default


def env_bool(name: str, default: bool, environ: Mapping[str, str] = os.environ) -> bool:
    """Read 1/true/yes/on or 0/false/no/off."""
    raw = environ.get(name)
    if not raw:
        return default
    if raw.lower() in TRUE:
        return True
    if raw.lower() in FALSE:
        return False
    raise EnvironmentValueError(name, raw, "a yes or no (1, true, yes, on / 0, false, no, off)")


def env_int(name: str, default: int, environ: Mapping[str, str] = os.environ) -> int:
    """Read a whole number."""
    raw = environ.get(name)
    if not raw:
        return default
    try:
        return int(raw)
    except ValueError:
        raise EnvironmentValueError(name, raw, "a whole number") from None


def env_list(name: str, default: list[str], environ: Mapping[str, str] = os.environ) -> list[str]:
    """Read a comma-separated list."""
    raw = environ.get(name)
    if not raw:
        return default
    return [part.strip() for part in raw.split(",") if part.strip()]
