"""Forms of the training room. The options of a run and their limits are the trainer's own."""

from typing import Any

from django import forms

from labelapp.models import Batch, ModelVersion, Project, RunKind, Snapshot
from labelapp.training.services import STARTS, name_problem
from trainer.config import OptionField, OptionsError, option_fields, options_read

FIRST = {
    RunKind.SFT: ["answers", "epochs", "learning_rate", "prompts_per_step", "max_length"],
    RunKind.REWARD: ["epochs", "learning_rate", "prompts_per_step", "max_length", "ties"],
    RunKind.PREFERENCE: ["beta", "epochs", "learning_rate", "prompts_per_step", "max_length"],
}
"""The options that most people look at; the rest stands under “More options”."""


class SnapshotField(forms.ModelChoiceField):  # type: ignore[type-arg]
    """A choice of snapshots by their short names."""

    def label_from_instance(self, obj: Any) -> str:
        """Short name and date."""
        return f"{obj}, {obj.as_of:%Y-%m-%d %H:%M}"


class OptionText(forms.CharField):
    """An option as it was written: what it may be is said by the trainer's rules. Empty stands for its default."""

    def validate(self, value: str) -> None:
        """Let the trainer's rules speak."""


class RunForm(forms.Form):
    """A new run of one kind: its name, what it learns from, and the trainer's options for that kind."""

    name = forms.CharField(max_length=100, help_text="The model gets it too.")
    snapshot = SnapshotField(Snapshot.objects.none(), empty_label=None, help_text="The labels to learn from.")
    start = forms.ModelChoiceField(
        ModelVersion.objects.none(), empty_label=None, label="Starting model", help_text="Its weights are copied."
    )

    def __init__(self, *args: Any, project: Project, kind: RunKind, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.project, self.kind = project, kind
        ready = ModelVersion.objects.filter(project=project, state=ModelVersion.State.READY, kind__in=STARTS[kind])
        self._choices("snapshot", Snapshot.objects.filter(project=project).order_by("-pk"))
        self._choices("start", ready.order_by("-pk"))
        if kind == RunKind.PREFERENCE:
            self.fields["reference"] = forms.ModelChoiceField(
                ready.order_by("-pk"),
                required=False,
                empty_label="The starting model",
                help_text="The policy is held near it.",
            )
        self.option_fields = option_fields(kind.value)
        for field in self.option_fields:
            self.fields[field.name] = _form_field(field)

    @property
    def main_fields(self) -> list[forms.BoundField]:
        """What to learn from."""
        return [self[name] for name in ("name", "snapshot", "start", "reference") if name in self.fields]

    @property
    def first_options(self) -> list[forms.BoundField]:
        """The options that most people look at."""
        return [self[name] for name in FIRST[self.kind]]

    @property
    def more_options(self) -> list[forms.BoundField]:
        """All others."""
        return [self[field.name] for field in self.option_fields if field.name not in FIRST[self.kind]]

    @property
    def more_open(self) -> bool:
        """Whether one of the others has an error, which must not hide."""
        return any(field.errors for field in self.more_options)

    def clean_name(self) -> str:
        """Refuse a name that is taken."""
        name: str = self.cleaned_data["name"]
        if problem := name_problem(self.project, name):
            raise forms.ValidationError(problem)
        return name

    def clean(self) -> dict[str, Any]:
        """Have the trainer's own rules check the options."""
        cleaned = super().clean() or {}
        try:
            options_read(self.kind.value, self.options())
        except OptionsError as error:
            for name, problem in error.problems.items():
                self.add_error(name if name in self.fields else None, f"It {problem}")
        return cleaned

    def options(self) -> dict[str, str]:
        """The options that were filled in; an empty one has its default."""
        given = {field.name: self.cleaned_data.get(field.name, "") for field in self.option_fields}
        return {name: value for name, value in given.items() if value != ""}

    def _choices(self, name: str, rows: Any) -> None:
        self.fields[name].queryset = rows  # type: ignore[attr-defined]


class ScoreForm(forms.Form):
    """Which completions a reward model scores."""

    batch = forms.ModelChoiceField(
        Batch.objects.none(), required=False, empty_label="All completions of the project", label="Completions of"
    )

    def __init__(self, *args: Any, project: Project, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["batch"].queryset = Batch.objects.filter(project=project).order_by("-pk")  # type: ignore[attr-defined]


def _form_field(option: OptionField) -> OptionText:
    widget: forms.Widget
    if option.kind == "choice":
        widget = forms.Select(choices=[(choice, choice) for choice in option.choices])
    elif option.kind in {"int", "float"}:
        limits = {"min": option.least, "max": option.most, "step": "1" if option.kind == "int" else "any"}
        widget = forms.NumberInput(attrs={name: _text(limit) for name, limit in limits.items() if limit is not None})
    else:
        widget = forms.Textarea(attrs={"rows": 3})
    return OptionText(
        label=option.name.replace("_", " ").capitalize(),
        help_text=option.help_text,
        initial=_text(option.default),
        widget=widget,
    )


def _text(value: Any) -> str:
    """A number as a person would write it."""
    return f"{value:.10g}" if isinstance(value, float) else str(value)
