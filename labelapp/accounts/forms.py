"""Forms about people."""

import re
from collections.abc import Mapping
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.http import HttpRequest
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from labelapp.accounts.languages import language_name, language_parse
from labelapp.models import Annotator, Role

MAX_WORDS = 30
COMMA = re.compile("[,\uff0c\u3001]")
"""As Latin and Chinese keyboards write it."""


class SignupNameForm(forms.Form):
    """What sign-up asks beyond address and password."""

    name = forms.CharField(
        label=gettext_lazy("Your name"),
        max_length=150,
        help_text=gettext_lazy("Reviewers and admins of your projects see it."),
    )
    field_order = ["name", "email", "password1", "password2"]

    def signup(self, request: HttpRequest, user: Any) -> None:
        """Called by allauth with the new user before it is shown anywhere."""
        user.name = self.cleaned_data["name"]
        user.save(update_fields=["name"])


class WordListField(forms.Field):
    """A list that is typed with commas between its words."""

    widget = forms.TextInput
    word_length = 50

    def prepare_value(self, value: Any) -> Any:
        """Show a list as it would be typed."""
        return ", ".join(self.show(word) for word in value) if isinstance(value, list) else value

    def to_python(self, value: Any) -> list[str]:
        """Split at commas; empty places and repeated words are dropped."""
        typed = value if isinstance(value, list) else COMMA.split(str(value or ""))
        words = [self.read(" ".join(word.split())) for word in typed if word.strip()]
        if len(words) > MAX_WORDS:
            raise ValidationError(
                _("These are %(count)d; at most %(limit)d fit here.") % {"count": len(words), "limit": MAX_WORDS}
            )
        return list(dict.fromkeys(words))

    def read(self, word: str) -> str:
        """Turn one typed word into what is stored. Raises ValidationError."""
        if len(word) > self.word_length:
            raise ValidationError(
                _("“%(word)s…” is too long: at most %(limit)d characters each.")
                % {"word": word[:20], "limit": self.word_length}
            )
        if not word.isprintable():
            raise ValidationError(_("There is an invisible character in it. Type the words again."))
        return word.lower()

    def show(self, word: str) -> str:
        """How a stored word is shown."""
        return word


class LanguagesField(WordListField):
    """Languages by name or code, stored as codes."""

    def read(self, word: str) -> str:
        """Find the code of a language. Raises ValidationError."""
        code = language_parse(word)
        if code is None:
            raise ValidationError(
                _("“%(word)s” is not a language that we know. Write its name, as in German, or its code, as in de.")
                % {"word": word[:40]}
            )
        return code

    def show(self, word: str) -> str:
        """Show a code as the name that is read back as the same code."""
        name = language_name(word)
        return name if language_parse(name) == word else word


class InvitationForm(forms.Form):
    """Who is invited."""

    role = forms.ChoiceField(
        choices=Role.choices,
        initial=Role.LABELER,
        help_text="Labelers label. Reviewers also see what came in and who labeled what. Admins do everything else.",
    )
    note = forms.CharField(
        label="For whom",
        max_length=150,
        required=False,
        help_text="A name, so that you know the open links apart. Only admins see it.",
    )


class MemberForm(forms.Form):
    """What an admin decides about a member."""

    role = forms.ChoiceField(choices=Role.choices)
    skills = WordListField(
        required=False,
        help_text="With commas, as in medicine, python. Batches that ask for a skill go to those who have it.",
    )
    group = forms.ChoiceField(
        label="Labels are for",
        choices=[
            (Annotator.Group.TRAINING, "Training: models learn from this person's labels"),
            (Annotator.Group.HELD_OUT, "Held out: labels only test models, they never train them"),
        ],
    )


class ProfileForm(forms.Form):
    """What a person says about themselves in one project."""

    languages = LanguagesField(
        label=gettext_lazy("Languages you read well"),
        help_text=gettext_lazy("With commas, as in English, German. You are given tasks in these languages only."),
    )
    accepts_sensitive = forms.MultipleChoiceField(
        label=gettext_lazy("Sensitive content you are willing to see"),
        required=False,
        widget=forms.CheckboxSelectMultiple,
        help_text=gettext_lazy(
            "Tasks with such content go only to people who ticked it. Tick as few as you like; you can take a tick "
            "away at any time, and nobody asks why."
        ),
    )

    def __init__(self, *args: Any, categories: Mapping[str, str], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["accepts_sensitive"].choices = list(categories.items())  # type: ignore[attr-defined]
