"""The page on which a person chooses the keys of the labeling page."""

from typing import Any

from django import forms
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_http_methods

from labelapp.accounts.shortcuts import (
    ACTIONS,
    DEFAULTS,
    KEY_LENGTH,
    OFF,
    key_parse,
    key_shown,
    keys_of,
    shortcut_problems,
    shortcuts_of,
    shortcuts_reset,
    shortcuts_set,
)
from labelapp.models import User


class ShortcutsForm(forms.Form):
    """A field for each action; left empty, it takes the usual key."""

    off = forms.BooleanField(
        label=gettext_lazy("Switch off all keys of the labeling page"),
        required=False,
        help_text=gettext_lazy(
            "For those who dictate, or use a screen reader with keys of its own. Everything can be done by buttons."
        ),
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for name, action in ACTIONS.items():
            self.fields[name] = forms.CharField(label=str(action.label), required=False, max_length=KEY_LENGTH)

    def clean(self) -> dict[str, Any]:
        """Read the keys as they are stored, and check them together."""
        typed = {name: str(self.cleaned_data.get(name, "")) for name in ACTIONS}
        keys = {name: (key_parse(text) or text) if text else DEFAULTS[name] for name, text in typed.items()}
        for name, problem in shortcut_problems(keys).items():
            if name not in self.errors:
                self.add_error(name, problem)
        return {OFF: self.cleaned_data.get(OFF, False), **keys}

    def rows(self) -> list[tuple[forms.BoundField, str]]:
        """The fields of the actions, each with its usual key as pages name it."""
        return [(self[name], key_shown(key)) for name, key in DEFAULTS.items()]


@require_http_methods(["GET", "POST"])
def shortcuts(request: HttpRequest) -> HttpResponse:
    """One's own keys. Whoever is signed in has some, in whatever project."""
    user = request.user
    if not isinstance(user, User):
        return redirect("account_login")
    if "reset" in request.POST:
        shortcuts_reset(user=user)
        messages.success(request, _("All keys are the usual ones again."))
        return redirect("shortcuts")
    form = ShortcutsForm(request.POST or None, initial={OFF: not shortcuts_of(user), **keys_of(user)})
    if form.is_valid():
        changes = dict(form.cleaned_data)
        shortcuts_set(user=user, off=changes.pop(OFF), changes=changes)
        messages.success(request, _("Saved. It counts on the next page you open."))
        return redirect("shortcuts")
    return render(request, "accounts/shortcuts.html", {"form": form}, status=422 if form.errors else 200)
