"""Forms about batches. The labeling form itself is read by `judgement.py`."""

from dataclasses import dataclass
from typing import Any

from django import forms

from labelapp.accounts.forms import LanguagesField, WordListField
from labelapp.labeling.services.batches import BatchPlan, PromptChoice, plan_problem
from labelapp.models import Batch, ModelVersion, Project, Prompt, Protocol
from labelapp.models.tasks import MAX_COMPLETIONS, MAX_OVERLAP


class TagsField(WordListField):
    """Tags as they were imported: unlike skills, they keep their capitals."""

    def read(self, word: str) -> str:
        """Check the word, and leave it as it is."""
        super().read(word)
        return word


@dataclass(frozen=True)
class Section:
    """Fields of a form that belong together, in rows."""

    title: str
    rows: list[list[forms.BoundField]]


SECTIONS = {
    "Tasks": [["work"], ["k", "overlap"]],
    "Shared tasks": [["shared_percent", "shared_overlap"]],
    "Which prompts": [["split", "source"], ["tags", "languages"], ["model_versions"], ["limit"]],
    "Who gets it, and when": [["skills", "quota"], ["priority", "deadline"]],
}


class BatchForm(forms.Form):
    """A new batch."""

    name = forms.CharField(max_length=100)
    protocol = forms.ModelChoiceField(Protocol.objects.none(), empty_label=None)
    work = forms.ChoiceField(
        label="What people do",
        choices=Batch.Work.choices,
        initial=Batch.Work.COMPARISON,
        widget=forms.RadioSelect,
        help_text="To write the ideal answer, a prompt needs no completions, and the fields about them say nothing.",
    )
    k = forms.IntegerField(
        label="Completions per task",
        min_value=1,
        max_value=MAX_COMPLETIONS,
        initial=4,
        help_text="At the most. Prompts with more get a random choice, prompts with fewer than two are left out. "
        "With 1, one completion of each prompt is rated alone; the protocol needs a rating.",
    )
    overlap = forms.IntegerField(
        label="Labels per task", min_value=1, max_value=MAX_OVERLAP, initial=1, help_text="Each by another person."
    )
    shared_percent = forms.IntegerField(
        label="Share in percent",
        min_value=0,
        max_value=100,
        initial=15,
        help_text="A random share that more people label, so that agreement can be measured.",
    )
    shared_overlap = forms.IntegerField(label="Labels per shared task", min_value=1, max_value=MAX_OVERLAP, initial=3)
    priority = forms.IntegerField(initial=0, min_value=-100, max_value=100, help_text="Higher is served first.")
    deadline = forms.DateField(required=False, widget=forms.DateInput(attrs={"type": "date"}))
    skills = WordListField(required=False, help_text="Only people with all of these. Separate with commas.")
    quota = forms.IntegerField(
        required=False,
        min_value=1,
        label="Labels one person may give",
        help_text="So that no single taste weighs too much. Empty for any number.",
    )
    languages = LanguagesField(
        required=False, help_text="Only prompts in these, as in English, German. Empty takes all."
    )
    split = forms.ChoiceField(required=False, choices=[("", "All splits"), *Prompt.Split.choices])
    source = forms.CharField(required=False, max_length=200, help_text="Only prompts of this source.")
    tags = TagsField(required=False, help_text="Only prompts with all of these tags.")
    model_versions = forms.ModelMultipleChoiceField(
        ModelVersion.objects.none(),
        required=False,
        label="Written by",
        help_text="Only completions of these models. None chosen takes all.",
        widget=forms.CheckboxSelectMultiple,
    )
    limit = forms.IntegerField(
        required=False, min_value=1, help_text="At most this many prompts, drawn at random. Empty takes all."
    )
    open_when_made = forms.BooleanField(required=False, initial=True, label="Open for labeling when its tasks are made")

    def __init__(self, *args: Any, project: Project, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.project = project
        protocols = Protocol.objects.filter(project=project).order_by("name", "-version")
        self.fields["protocol"].queryset = protocols  # type: ignore[attr-defined]
        writers = ModelVersion.objects.filter(project=project).order_by("name")
        self.fields["model_versions"].queryset = writers  # type: ignore[attr-defined]

    @property
    def sections(self) -> list[Section]:
        """The fields as the page groups them."""
        return [Section(title, [[self[name] for name in row] for row in rows]) for title, rows in SECTIONS.items()]

    def clean_name(self) -> str:
        """A name of its own within the project."""
        name: str = self.cleaned_data["name"]
        if Batch.objects.filter(project=self.project, name=name).exists():
            raise forms.ValidationError(f"There is already a batch called “{name}”. Choose another name.")
        return name

    def clean(self) -> dict[str, Any]:
        """Shared tasks cannot be labelled by fewer people than the others, and every task must ask something."""
        data = super().clean() or self.cleaned_data
        if data.get("shared_overlap", 0) < data.get("overlap", 0):
            self.add_error("shared_overlap", "This cannot be less than the labels per task.")
        if {"protocol", "k", "work"} <= data.keys():
            problem = plan_problem(protocol=data["protocol"], k=data["k"], work=data["work"])
            if problem:
                self.add_error("k", problem)
        return data

    def plan(self) -> BatchPlan:
        """What the form asks of the batch."""
        data = self.cleaned_data
        return BatchPlan(
            name=data["name"],
            work=data["work"],
            k=data["k"],
            overlap=data["overlap"],
            shared_share=data["shared_percent"] / 100,
            shared_overlap=data["shared_overlap"],
            priority=data["priority"],
            deadline=data["deadline"],
            quota=data["quota"],
            languages=data["languages"],
            skills=data["skills"],
        )

    def choice(self) -> PromptChoice:
        """Which prompts and completions the form chooses."""
        data = self.cleaned_data
        return PromptChoice(
            split=data["split"],
            source=data["source"],
            tags=data["tags"],
            model_versions=[model.pk for model in data["model_versions"]],
            limit=data["limit"],
        )
