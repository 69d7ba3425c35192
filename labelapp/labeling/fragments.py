"""The labeling form as HTML. Forms that nobody has touched differ in few places, so the rest is rendered once.

Such a form is rendered with marks in the place of what differs: the task's number, its texts and their language, the
slip, the token and the person. The pieces between the marks are kept in the process, by everything else that they
depend on.
"""

import re
import secrets
from collections import OrderedDict
from collections.abc import Hashable, Mapping
from threading import Lock

from django.http import HttpRequest
from django.middleware.csrf import get_token
from django.template.loader import render_to_string
from django.utils.html import escape
from django.utils.safestring import SafeString, mark_safe
from django.utils.translation import get_language

from labelapp.accounts.shortcuts import shortcuts_of
from labelapp.labeling.page import Contents, Prose, Turn, contents_of, language_of, page_context
from labelapp.labeling.selectors import TaskShown

KEPT = 200
"""How many forms are kept. One has about 30 KB."""
TASK = 10**15 + secrets.randbelow(10**15)
"""Stands for the task's number, which must be one."""
NONCE = secrets.token_hex(8)
MARK = re.compile(f"⟦{NONCE}:([a-z0-9-]+)⟧")

_moulds: OrderedDict[Hashable, list[str]] = OrderedDict()
_lock = Lock()


def form_html(
    request: HttpRequest,
    shown: TaskShown,
    *,
    seating: str,
    problems: Mapping[str, str] | None = None,
    **extra: object,
) -> SafeString:
    """The form of a task that a person holds, or will hold next; `extra` goes to the template where it is true."""
    taken = frozenset(shortcuts_of(request.user).values())
    person, token = request.user.pk or 0, get_token(request)
    if problems or any(extra.values()) or not is_untouched(shown):
        context = page_context(shown, seating=seating, person=person, problems=problems, taken=taken)
        return render_to_string("labeling/form.html", {**context, **extra, "csrf_token": token})
    contents = contents_of(shown)
    values = {"seating": escape(seating), "person": str(person), "token": token, "task": str(contents.pk)}
    values["language"] = escape(contents.language)
    for place, turn in enumerate(contents.turns):
        values[f"turn-{place}"] = turn.html
    for place, said in enumerate(contents.completions):
        values |= {f"text-{place}": escape(said.text), f"html-{place}": said.html, f"length-{place}": said.length}
    return _filled(_mould(shown, taken), values)


def is_untouched(shown: TaskShown) -> bool:
    """Whether the form is as everybody's: nobody has entered anything, and what it asks will not change."""
    return not shown.fields and shown.draft is None and shown.sheet.protocol.used_at is not None


def _filled(mould: list[str], values: Mapping[str, str]) -> SafeString:
    """Every second piece is the name of what stands there."""
    pieces = [values[piece] if place % 2 else piece for place, piece in enumerate(mould)]
    return mark_safe("".join(pieces))  # noqa: S308 (the values are rendered, escaped or our own)


def _mould(shown: TaskShown, taken: frozenset[str]) -> list[str]:
    sheet = shown.sheet
    key = (
        *(sheet.protocol.pk, sheet.stage, sheet.first_seat, sheet.marks, get_language()),
        *(tuple(slot in sheet.questioned for slot in sheet.order), tuple(shown.task.prompt.sensitivity)),
        bool(language_of(shown.task.prompt)),
        *(tuple(turn["role"] for turn in shown.task.prompt.messages), taken, shown.task.batch.project.slug),
    )
    with _lock:
        if found := _moulds.get(key):
            _moulds.move_to_end(key)
            return found
    context = page_context(
        shown, seating=_mark("seating"), person=_mark("person"), taken=taken, contents=_marked(shown)
    )
    html = render_to_string("labeling/form.html", {**context, "csrf_token": _mark("token")})
    mould = MARK.split(html.replace(str(TASK), _mark("task")))
    with _lock:
        _moulds[key] = mould
        while len(_moulds) > KEPT:
            _moulds.popitem(last=False)
    return mould


def _marked(shown: TaskShown) -> Contents:
    turns = [Turn(turn["role"], _mark(f"turn-{place}")) for place, turn in enumerate(shown.task.prompt.messages)]
    completions = [
        Prose(_mark(f"text-{place}"), _mark(f"html-{place}"), _mark(f"length-{place}"))
        for place in range(len(shown.texts))
    ]
    language = _mark("language") if language_of(shown.task.prompt) else ""
    return Contents(pk=TASK, turns=turns, completions=completions, language=language)


def _mark(name: str) -> SafeString:
    return mark_safe(f"⟦{NONCE}:{name}⟧")  # noqa: S308 (letters of our own)
