"""The keys of the labeling page: what each does unless a person chose otherwise, and how keys are written.

A key is written as the browser names it: `j`, `=`, `ArrowUp`, with modifiers in front, as in `Shift+ArrowUp` and
`Control+Enter`. A sign that needs Shift on some keyboards is written as the sign alone (`?`); letters are small, and
Shift stands in front of them (`Shift+n`). Control stands for Command too, on keyboards that have it.
"""

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from django.contrib.auth.models import AnonymousUser
from django.db import transaction
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from labelapp.errors import DomainError
from labelapp.models import User

OFF = "off"
MODIFIERS = ("Control", "Alt", "Shift")
KEY_LENGTH = 40


@dataclass(frozen=True)
class Action:
    """Something that a key does."""

    label: str | Promise
    default: str


ACTIONS: dict[str, Action] = {
    "next_completion": Action(gettext_lazy("Go to the next completion"), "j"),
    "previous_completion": Action(gettext_lazy("Go to the previous completion"), "k"),
    "move_up": Action(gettext_lazy("Move the completion up in the ranking"), "Shift+ArrowUp"),
    "move_down": Action(gettext_lazy("Move the completion down in the ranking"), "Shift+ArrowDown"),
    "tie": Action(gettext_lazy("About equal to the one above it"), "="),
    "all_equal": Action(gettext_lazy("All about equal"), "e"),
    "rank": Action(gettext_lazy("Go to the ranking"), "r"),
    "lean_first": Action(gettext_lazy("With two completions: lean towards A"), "h"),
    "lean_second": Action(gettext_lazy("With two completions: lean towards B"), "l"),
    "none_apply": Action(gettext_lazy("None of the faults apply to this completion"), "n"),
    "none_apply_all": Action(gettext_lazy("None of the faults apply to any completion"), "Shift+n"),
    "diff": Action(gettext_lazy("Compare two completions word by word"), "d"),
    "submit": Action(gettext_lazy("Submit"), "Control+Enter"),
    "skip": Action(gettext_lazy("Skip the task"), "s"),
    "distressing": Action(gettext_lazy("Skip at once: this is distressing"), "Shift+d"),
    "guidelines": Action(gettext_lazy("Open the guidelines"), "g"),
    "help": Action(gettext_lazy("Open the guidelines and this list of keys"), "?"),
}
"""What keys do on the labeling page, in the order in which pages list them."""

DEFAULTS = {name: action.default for name, action in ACTIONS.items()}

_ALIASES = {
    "ctrl": "Control", "control": "Control", "strg": "Control", "cmd": "Control", "command": "Control",
    "meta": "Control", "alt": "Alt", "option": "Alt", "shift": "Shift", "umschalt": "Shift",
}  # fmt: skip
_NAMED = {
    name.lower(): name
    for name in (
        *("ArrowUp", "ArrowDown", "ArrowLeft", "ArrowRight", "Enter", "Home", "End", "PageUp", "PageDown"),
        *("Insert", "Delete", "Backspace"),
        *(f"F{number}" for number in range(1, 13)),
    )
} | {"up": "ArrowUp", "down": "ArrowDown", "left": "ArrowLeft", "right": "ArrowRight", "return": "Enter"}
_SIGNS = {"ArrowUp": "↑", "ArrowDown": "↓", "ArrowLeft": "←", "ArrowRight": "→", "Control": "Ctrl"}
_PARTS = re.compile(r"\s*\+\s*")


def shortcuts_of(user: User | AnonymousUser) -> dict[str, str]:
    """The person's keys by action, {} when they switched them off. Costs no query."""
    own = getattr(user, "shortcuts", None) or {}
    return {} if own.get(OFF) else keys_of(user)


def keys_of(user: User | AnonymousUser) -> dict[str, str]:
    """The person's keys by action, switched off or not."""
    own = getattr(user, "shortcuts", None) or {}
    return {name: str(own.get(name, key)) for name, key in DEFAULTS.items()}


@transaction.atomic
def shortcuts_set(*, user: User, changes: Mapping[str, str], off: bool | None = None) -> dict[str, str]:
    """Give actions other keys, by action; an empty key gives back the usual one. `off` switches all of them.

    Returns the keys in force. Raises DomainError for an unknown action, a key that cannot be used, or one used twice.
    """
    locked = User.objects.select_for_update(no_key=True).get(pk=user.pk)
    keys = keys_of(locked)
    for name, text in changes.items():
        if name not in ACTIONS:
            raise DomainError(_("There is no action “%(name)s” on the labeling page.") % {"name": name[:50]})
        keys[name] = (key_parse(text) or text) if text.strip() else DEFAULTS[name]
    if problems := shortcut_problems(keys):
        raise DomainError(" ".join(f"{ACTIONS[name].label}: {problem}" for name, problem in problems.items()))
    stored: dict[str, object] = {name: key for name, key in keys.items() if key != DEFAULTS[name]}
    if locked.shortcuts.get(OFF) if off is None else off:
        stored[OFF] = True
    User.objects.filter(pk=user.pk).update(shortcuts=stored)
    user.shortcuts = stored
    return shortcuts_of(user)


@transaction.atomic
def shortcuts_reset(*, user: User) -> dict[str, str]:
    """Give all actions their usual keys, and switch them on."""
    User.objects.filter(pk=user.pk).update(shortcuts={})
    user.shortcuts = {}
    return shortcuts_of(user)


def shortcut_problems(keys: Mapping[str, str]) -> dict[str, str]:
    """What is wrong with a map of keys, in words, by action; empty when nothing is."""
    problems = {name: problem for name, key in keys.items() if (problem := _key_problem(key))}
    counts = Counter(keys.values())
    for name, key in keys.items():
        if counts[key] > 1 and name not in problems:
            other = next(each for each, used in keys.items() if used == key and each != name)
            problems[name] = _("%(key)s is also the key of “%(other)s”. Give each a key of its own.") % {
                "key": key_shown(key),
                "other": ACTIONS[other].label,
            }
    return problems


def key_parse(text: str) -> str | None:
    """Read a key as people write it ("ctrl + enter", "shift+N", "J") into the one way it is stored, or None."""
    *words, name = _split(text.strip())
    modifiers = {_ALIASES.get(word.lower(), "") for word in words}
    if "" in modifiers or not name or _ALIASES.get(name.lower()):
        return None
    if len(name) == 1:
        if not name.isprintable() or name.isspace():
            return None
        if name.isalpha():
            # A capital letter alone is how keyboards are labelled, not a wish for Shift.
            name = name.lower()
        else:
            modifiers.discard("Shift")
    else:
        name = _NAMED.get(name.lower(), "")
    return "+".join([*(word for word in MODIFIERS if word in modifiers), name]) if name else None


def key_shown(key: str) -> str:
    """A key as pages name it: "Shift + ↑", "Ctrl + Enter", "J"."""
    parts = [_SIGNS.get(part, part) for part in _split(key)]
    return " + ".join([*parts[:-1], parts[-1].upper() if len(parts[-1]) == 1 else parts[-1]])


def _split(text: str) -> list[str]:
    """The parts of a written key; the last may itself be a plus."""
    if text == "+" or text.endswith("++"):
        return [*(part for part in _PARTS.split(text[:-1]) if part), "+"]
    return _PARTS.split(text)


def _key_problem(key: str) -> str:
    """Why a key cannot be used, or nothing."""
    if len(key) > KEY_LENGTH or key_parse(key) != key:
        return _("This is no key. Press the key in the field, or write it as in J, Shift+N or Ctrl+Enter.")
    *modifiers, name = _split(key)
    if name.isdecimal():
        return _("Digits are kept for ratings. Choose another key.")
    if len(name) > 1 and not modifiers and not name.startswith("F"):
        return _("This key moves about in the page. Add Shift, Ctrl or Alt to it.")
    if "Control" in modifiers and len(name) == 1:
        return _("The browser has its own use for Ctrl with this key. Choose another.")
    return ""
