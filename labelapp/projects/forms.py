"""Forms for projects and protocols."""

from typing import Any, cast

from django import forms
from django.utils.text import slugify

from labelapp.models import Protocol, Question
from labelapp.models.tasks import MAX_COMPLETIONS
from labelapp.projects.specs import (
    MAX_GUIDELINES,
    MAX_QUESTIONS,
    ProtocolSpec,
    QuestionSpec,
    protocol_problems,
    question_problems,
    repeated_keys,
)

STRENGTH_CHOICES = [
    (0, "Do not ask"),
    (8, "8 steps: four each way"),
    (9, "9 steps: four each way, and “about equal”"),
]
YES_MEANS = {"good": "is good", "bad": "is bad", "descriptive": "only describes"}
LIKERT_CHOICES = [(0, "No rating"), (2, "Thumbs down or up"), (5, "1 to 5"), (7, "1 to 7"), (10, "1 to 10")]


class ProjectForm(forms.Form):
    """What a new project needs."""

    name = forms.CharField(max_length=100, help_text="Its address is made from it, as in /projects/support-answers/.")
    description = forms.CharField(
        widget=forms.Textarea,
        required=False,
        max_length=2000,
        help_text="A few sentences that members see on their start page.",
    )


class ProtocolForm(forms.Form):
    """A protocol apart from its questions."""

    name = forms.CharField(max_length=100)
    guidelines = forms.CharField(
        widget=forms.Textarea(attrs={"rows": 14}),
        required=False,
        max_length=MAX_GUIDELINES,
        help_text="Shown beside every task. Markdown: ## heading, **bold**, - list.",
    )
    layout = forms.ChoiceField(choices=Protocol.Layout.choices)
    asks_ranking = forms.BooleanField(label="Ask to put all completions in order", required=False)
    ties_allowed = forms.BooleanField(label="Allow “about equal”", required=False)
    strength_steps = forms.TypedChoiceField(
        label="How much better",
        choices=STRENGTH_CHOICES,
        coerce=int,
        help_text="Asked where a task has two completions.",
    )
    likert_points = forms.TypedChoiceField(label="Scale", choices=LIKERT_CHOICES, coerce=int)
    likert_low = forms.CharField(
        label="Lowest point means", max_length=60, required=False, help_text="Not shown beside thumbs."
    )
    likert_high = forms.CharField(label="Highest point means", max_length=60, required=False)
    questions_all_up_to = forms.IntegerField(
        label="About all completions in tasks of up to",
        min_value=0,
        max_value=MAX_COMPLETIONS,
        help_text="Completions. For the questions about completions.",
    )
    questions_sample = forms.IntegerField(
        label="In larger tasks about a random",
        min_value=0,
        max_value=MAX_COMPLETIONS,
        help_text="Completions, so that a task does not become a questionnaire.",
    )
    asks_confidence = forms.BooleanField(label="Ask how sure the labeler is", required=False)
    asks_rationale = forms.BooleanField(
        label="Offer a field for reasons",
        required=False,
        help_text="Reward models that learn from reasons need them; they cost the labeler a minute.",
    )
    asks_edit = forms.BooleanField(
        label="Offer to improve the best completion",
        required=False,
        help_text="The improved text becomes a completion of its own, which counts as better than the one it came "
        "from, and so than everything ranked below that.",
    )
    marks_contradictions = forms.BooleanField(
        label="Mark where ranking and ratings disagree",
        required=False,
        help_text="A quiet mark beside the completion; nothing has to be changed. A fifth of the tasks goes without "
        "it, so that its effect can be measured.",
    )

    def clean_guidelines(self) -> str:
        """Browsers send line ends of their own; keep one kind, so that equal texts are equal."""
        return str(self.cleaned_data["guidelines"]).replace("\r\n", "\n")

    def clean(self) -> dict[str, Any]:
        """Check what only several fields together can break."""
        if not self.errors:
            for name, problem in protocol_problems(ProtocolSpec(**self.cleaned_data)).items():
                self.add_error(name, problem)
        return self.cleaned_data


class QuestionForm(forms.Form):
    """One question of a protocol."""

    text = forms.CharField(label="Question", max_length=200)
    help = forms.CharField(label="Explanation", max_length=400, required=False)
    scope = forms.ChoiceField(label="About", choices=Question.Scope.choices, initial=Question.Scope.COMPLETION)
    polarity = forms.ChoiceField(label="A yes", choices=Question.Polarity.choices, initial=Question.Polarity.BAD)
    severity = forms.ChoiceField(label="Weight", choices=Question.Severity.choices, initial=Question.Severity.MINOR)
    allows_na = forms.BooleanField(label="Offer “not applicable”", required=False)
    key = forms.CharField(
        label="Name in exports",
        max_length=50,
        required=False,
        help_text="Made from the question where you leave it empty.",
    )

    @property
    def summary(self) -> str:
        """The question's settings in a few words, as they stand in the form."""
        scope = dict(Question.Scope.choices).get(str(self["scope"].value()), "?")
        polarity, severity = str(self["polarity"].value()), str(self["severity"].value())
        weight = "" if severity == Question.Severity.NONE else f", {severity}"
        return f"About {str(scope).lower()}; a yes {YES_MEANS.get(polarity, '?')}{weight}"

    def clean(self) -> dict[str, Any]:
        """Check the question by itself; an empty key is filled from its text."""
        if not self.errors:
            self.cleaned_data["key"] = self.cleaned_data["key"] or slugify(self.cleaned_data["text"])[:50] or "question"
            for name, problem in question_problems(QuestionSpec(**self.cleaned_data)).items():
                self.add_error(name, problem)
        return self.cleaned_data


class BaseQuestionFormSet(forms.BaseFormSet[QuestionForm]):
    """All questions of a protocol, in order. Rows left as they were added, without a text, do not count."""

    def initial_form_count(self) -> int:
        """None once posted: then an untouched row may be dropped, wherever it stands."""
        return 0 if self.is_bound else super().initial_form_count()

    def clean(self) -> None:
        """Refuse two questions of one key: answers are stored by it."""
        if any(self.errors):
            return
        repeated = repeated_keys(self.specs())
        for form in self.forms:
            if form.cleaned_data.get("key") in repeated:
                form.add_error("key", "Another question has this name too. Give each its own.")

    def specs(self) -> tuple[QuestionSpec, ...]:
        """The questions as posted. Only after validation."""
        return tuple(QuestionSpec(**form.cleaned_data) for form in self.forms if form.cleaned_data)


QuestionFormSet = cast(
    type[BaseQuestionFormSet],
    forms.formset_factory(
        QuestionForm,
        formset=BaseQuestionFormSet,
        extra=0,
        max_num=MAX_QUESTIONS,
        absolute_max=MAX_QUESTIONS,
        validate_max=True,
    ),
)
