"""What the pages of the desk accept."""

from collections.abc import Mapping
from typing import Any

from django import forms
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from labelapp.models import Report

ANSWER_LIMIT = 20_000


class AnswerForm(forms.Form):
    """The answer to a labeler's question, and whether it becomes a guideline example."""

    answer = forms.CharField(
        widget=forms.Textarea(attrs={"rows": 5, "dir": "auto"}),
        max_length=ANSWER_LIMIT,
        help_text="Markdown. Say what to do, and why: the person reads it under “My work”.",
    )
    becomes_example = forms.BooleanField(
        label="Show it as an example in the guidelines",
        required=False,
        help_text="Everybody who works under this protocol reads it then, in every version.",
    )
    example_title = forms.CharField(
        label="Title of the example",
        max_length=200,
        required=False,
        help_text="Empty for the question itself. The example shows this title and the answer.",
    )


class ReportDecisionForm(forms.Form):
    """What becomes of a reported task."""

    state = forms.ChoiceField(
        label="The task",
        widget=forms.RadioSelect,
        choices=[
            (Report.State.RELEASED, "Goes on: labelers are seated at it again"),
            (Report.State.REMOVED, "Stays away: nobody is given it any more; personal data stays in quarantine"),
        ],
    )
    sensitivity = forms.MultipleChoiceField(
        label="Sensitive content to mark the prompt with",
        required=False,
        widget=forms.CheckboxSelectMultiple,
        help_text="Only people who opted in to all of it are given its tasks from then on.",
    )
    answer = forms.CharField(
        label="Answer to the person who reported it",
        required=False,
        max_length=1000,
        widget=forms.Textarea(attrs={"rows": 3, "dir": "auto"}),
        help_text="They read it under “My work”, with your decision.",
    )

    def __init__(self, *args: Any, categories: Mapping[str, str], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["sensitivity"].choices = list(categories.items())  # type: ignore[attr-defined]


class DisputeForm(forms.Form):
    """A labeler says that paid time is missing."""

    day = forms.DateField(
        label=_("Day"), widget=forms.DateInput(attrs={"type": "date"}, format="%Y-%m-%d"), initial=timezone.localdate
    )
    minutes = forms.IntegerField(
        label=_("Minutes that are missing"),
        min_value=1,
        max_value=24 * 60,
        widget=forms.NumberInput(attrs={"inputmode": "numeric"}),
    )
    text = forms.CharField(
        label=_("What happened"),
        max_length=1000,
        widget=forms.Textarea(attrs={"rows": 3, "dir": "auto"}),
        help_text=_("For example: the page was reloaded, and the time of a long task was lost."),
    )


class DisputeDecisionForm(forms.Form):
    """What an admin decides about missing time."""

    minutes = forms.IntegerField(
        label="Minutes to grant",
        min_value=0,
        max_value=24 * 60,
        help_text="0 declines.",
        widget=forms.NumberInput(attrs={"inputmode": "numeric"}),
    )
    answer = forms.CharField(
        label="In words",
        required=False,
        max_length=1000,
        widget=forms.Textarea(attrs={"rows": 2, "dir": "auto"}),
        help_text="The person reads it. Needed when you decline.",
    )
