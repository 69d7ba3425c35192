"""Forms of the writing room: the three kinds of prompts that labelers write, and what a project asks of them."""

from typing import Any

from django import forms
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from labelapp.accounts.languages import language_name
from labelapp.accounts.sensitivity import CATEGORIES
from labelapp.models import Annotator, Prompt
from labelapp.writing.answers import few_shot_text, said
from labelapp.writing.services import PROMPT_LIMIT, USE_CASE_LENGTH, USE_CASES, PromptDraft

FEWEST_PAIRS, MOST_PAIRS = 2, 6
PART_LIMIT = 5_000
MOST_SECONDS = 4 * 3600


def _long(rows: int) -> forms.Textarea:
    return forms.Textarea(attrs={"rows": rows, "dir": "auto"})


class PromptForm(forms.Form):
    """What every kind of prompt is asked."""

    kind = Prompt.WrittenAs.PLAIN
    paid_seconds = forms.IntegerField(required=False, min_value=0, max_value=MOST_SECONDS, widget=forms.HiddenInput)
    language = forms.ChoiceField(label=gettext_lazy("Language of the prompt"), required=False)
    sensitivity = forms.MultipleChoiceField(
        label=gettext_lazy("Sensitive content in it"),
        required=False,
        choices=list(CATEGORIES.items()),
        widget=forms.CheckboxSelectMultiple,
        help_text=gettext_lazy("Only people who agreed to see such content are given it. Tick nothing if none fits."),
    )

    def __init__(self, *args: Any, annotator: Annotator, use_case: str = "", **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.use_case = use_case
        languages = [(code, language_name(code)) for code in annotator.languages]
        self.fields["language"].choices = languages or [("", _("Not said"))]  # type: ignore[attr-defined]

    @property
    def parts(self) -> list[forms.BoundField]:
        """The fields that the prompt is made of."""
        return [self["text"]]

    @property
    def about(self) -> list[forms.BoundField]:
        """The fields about the prompt."""
        return [self["language"], self["sensitivity"]]

    @property
    def seconds(self) -> int:
        """For how long the person wrote, as the page counted."""
        return self.cleaned_data.get("paid_seconds") or 0

    def draft(self) -> PromptDraft:
        """The prompt as written."""
        data = self.cleaned_data
        return PromptDraft(
            kind=self.kind,
            text=self.assembled(),
            language=data["language"],
            sensitivity=data["sensitivity"],
            use_case=self.use_case,
        )

    def assembled(self) -> str:
        """The prompt's words."""
        return said(self.cleaned_data["text"]).strip()


class PlainForm(PromptForm):
    """Any task the person thinks of."""

    text = forms.CharField(label=gettext_lazy("Prompt"), max_length=PROMPT_LIMIT, widget=_long(8))


class UserBasedForm(PlainForm):
    """A prompt for a use case that the project names."""

    kind = Prompt.WrittenAs.USER_BASED


class FewShotForm(PromptForm):
    """An instruction with worked examples, and a query that is left to answer."""

    kind = Prompt.WrittenAs.FEW_SHOT
    instruction = forms.CharField(
        label=gettext_lazy("Instruction"),
        max_length=PART_LIMIT,
        widget=_long(3),
        help_text=gettext_lazy("For example: Say whether the review of a garden tool is positive or negative."),
    )
    query = forms.CharField(
        label=gettext_lazy("The query that is left to answer"), max_length=PART_LIMIT, widget=_long(2)
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for number in range(1, MOST_PAIRS + 1):
            wanted = number <= FEWEST_PAIRS
            for name, label in (("query", _("Query %(number)d")), ("response", _("Response %(number)d"))):
                self.fields[f"{name}_{number}"] = forms.CharField(
                    label=label % {"number": number}, required=wanted, max_length=PART_LIMIT, widget=_long(2)
                )

    @property
    def parts(self) -> list[forms.BoundField]:
        """The instruction; pairs and the last query stand apart."""
        return [self["instruction"]]

    @property
    def pairs(self) -> list[tuple[forms.BoundField, forms.BoundField]]:
        """The fields of each pair that is asked for."""
        return self._pairs()[:FEWEST_PAIRS]

    @property
    def more_pairs(self) -> list[tuple[forms.BoundField, forms.BoundField]]:
        """The fields of pairs that may be added."""
        return self._pairs()[FEWEST_PAIRS:]

    @property
    def has_more(self) -> bool:
        """Whether somebody used the fields that may be added."""
        return any(field.value() or field.errors for pair in self.more_pairs for field in pair)

    def clean(self) -> dict[str, Any]:
        """A pair needs both halves."""
        data = super().clean() or self.cleaned_data
        for number in range(FEWEST_PAIRS + 1, MOST_PAIRS + 1):
            halves = {name: data.get(f"{name}_{number}", "") for name in ("query", "response")}
            empty = [name for name, value in halves.items() if not value]
            if len(empty) == 1:
                self.add_error(f"{empty[0]}_{number}", _("A pair needs both a query and a response."))
        if not self.errors and len(self.assembled()) > PROMPT_LIMIT:
            self.add_error(None, _("All parts together may have %(limit)d characters.") % {"limit": PROMPT_LIMIT})
        return data

    def assembled(self) -> str:
        """All parts put together."""
        data = {name: said(value).strip() for name, value in self.cleaned_data.items() if isinstance(value, str)}
        numbers = [number for number in range(1, MOST_PAIRS + 1) if data.get(f"query_{number}")]
        pairs = [(data[f"query_{number}"], data[f"response_{number}"]) for number in numbers]
        return few_shot_text(instruction=data["instruction"], pairs=pairs, query=data["query"])

    def _pairs(self) -> list[tuple[forms.BoundField, forms.BoundField]]:
        return [(self[f"query_{number}"], self[f"response_{number}"]) for number in range(1, MOST_PAIRS + 1)]


FORMS: dict[str, type[PromptForm]] = {form.kind.value: form for form in (PlainForm, FewShotForm, UserBasedForm)}
"""By the kind of prompt that they ask for."""


class PromptsAskedForm(forms.Form):
    """Whether labelers write prompts in a project, and for which use cases."""

    asks_prompts = forms.BooleanField(required=False, label="Labelers may write prompts")
    use_cases = forms.CharField(
        required=False,
        label="Use cases",
        widget=forms.Textarea(attrs={"rows": 8}),
        help_text=f"What people use the model for, one per line: at most {USE_CASES} lines of {USE_CASE_LENGTH} "
        "characters. Each person who chooses to write for a use case is shown one of them by chance.",
    )

    def lines(self) -> list[str]:
        """The use cases, each once."""
        typed = (" ".join(line.split()) for line in self.cleaned_data["use_cases"].splitlines())
        return list(dict.fromkeys(line for line in typed if line))
