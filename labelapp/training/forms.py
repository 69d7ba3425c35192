"""Forms of the training room. The options of a run and their limits are the trainer's own."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from django import forms

from labelapp.generation.option_fields import OptionText, option_formfield, option_limits, option_problems
from labelapp.models import Batch, ModelVersion, Project, RunKind, Snapshot
from labelapp.training.services import (
    MOST_MEMBERS,
    STARTS,
    combination_problems,
    name_problem,
    reference_problem,
)
from labelapp.training.sizes import Suggestion, refreshed, suggestion_make
from trainer.config import GROUPS, option_fields
from trainer.fields import OptionField

FIRST = {
    RunKind.SFT: ["answers", "epochs", "learning_rate", "prompts_per_step", "max_length", "lora_rank"],
    RunKind.REWARD: ["loss", "ties", "margin", "epochs", "learning_rate", "prompts_per_step", "max_length"],
    RunKind.PREFERENCE: ["loss", "beta", "held_to", "epochs", "learning_rate", "prompts_per_step", "max_length"],
    RunKind.COMBINE: ["how", "weights", "threshold", "tag"],
}
"""The options that most people look at. The others stand under their groups."""
MAIN = ("name", "snapshot", "start", "reference")
LEAST_MEMBERS = 2


class SnapshotField(forms.ModelChoiceField):  # type: ignore[type-arg]
    """A choice of snapshots by their short names."""

    def label_from_instance(self, obj: Any) -> str:
        """Short name and date."""
        return f"{obj}, {obj.as_of:%Y-%m-%d %H:%M}"


@dataclass(frozen=True)
class OptionGroup:
    """Options that belong together, under a name. `names` is a foretaste of what is inside."""

    name: str
    fields: list[forms.BoundField]

    @property
    def names(self) -> str:
        """What its options are called, in a line."""
        return ", ".join(str(field.label) for field in self.fields)

    @property
    def is_open(self) -> bool:
        """Whether one of them has an error, which must not hide."""
        return any(field.errors for field in self.fields)


class OptionsForm(forms.Form):
    """What the forms of all kinds of runs have: a name that is free, and the trainer's options for the kind."""

    name = forms.CharField(max_length=100, help_text="The model gets it too.")

    def __init__(self, *args: Any, project: Project, kind: RunKind, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.project, self.kind = project, kind
        self.option_fields = option_fields(kind.value)

    @property
    def first_options(self) -> list[forms.BoundField]:
        """The options that most people look at."""
        return [self[name] for name in FIRST[self.kind]]

    @property
    def option_groups(self) -> list[OptionGroup]:
        """All others, in the trainer's groups."""
        others = [option for option in self.option_fields if option.name not in FIRST[self.kind]]
        names = {group: [option.name for option in others if option.group == group] for group in GROUPS}
        return [OptionGroup(group, [self[name] for name in inside]) for group, inside in names.items() if inside]

    def clean_name(self) -> str:
        """Refuse a name that is taken."""
        name: str = self.cleaned_data["name"]
        if problem := name_problem(self.project, name):
            raise forms.ValidationError(problem)
        return name

    def clean(self) -> dict[str, Any]:
        """Have the trainer's own rules check the options."""
        cleaned = super().clean() or {}
        for name, problem in option_problems(self.kind.value, self.options()).items():
            self.add_error(name if name in self.fields else None, problem)
        return cleaned

    def options(self) -> dict[str, str]:
        """The options that were filled in; an empty one has its default."""
        given = {option.name: self.cleaned_data.get(option.name, "") for option in self.option_fields}
        return {name: value for name, value in given.items() if value.strip()}

    def _options_add(self, suggested: Mapping[str, str]) -> None:
        for option in self.option_fields:
            self.fields[option.name] = _form_field(option, suggested.get(option.name))

    def _choices(self, name: str, rows: Any) -> None:
        self.fields[name].queryset = rows  # type: ignore[attr-defined]


class RunForm(OptionsForm):
    """A new training of one kind: its name, what it learns from, and the trainer's options for that kind.

    Options are filled in as the trainer suggests for the size of the starting model.
    """

    snapshot = SnapshotField(Snapshot.objects.none(), empty_label=None, help_text="The labels to learn from.")
    start = forms.ModelChoiceField(
        ModelVersion.objects.none(), empty_label=None, label="Starting model", help_text="Its weights are copied."
    )

    def __init__(self, *args: Any, project: Project, kind: RunKind, **kwargs: Any) -> None:
        super().__init__(*args, project=project, kind=kind, **kwargs)
        ready = ModelVersion.objects.filter(project=project, state=ModelVersion.State.READY, kind__in=STARTS[kind])
        trained = ready.exclude(made_by__kind=RunKind.COMBINE)
        self.ready = trained.select_related("weights").order_by("-pk")
        self._choices("snapshot", Snapshot.objects.filter(project=project).order_by("-pk"))
        self._choices("start", self.ready)
        if kind == RunKind.REWARD:
            self.fields["start"].help_text = "Its weights are copied. Combined reward models have none of their own."
        if kind == RunKind.PREFERENCE:
            self.fields["reference"] = forms.ModelChoiceField(
                self.ready,
                required=False,
                empty_label="The starting model",
                help_text="The policy is held near it, for losses that have a reference.",
            )
        given: Mapping[str, Any] = self.data if self.is_bound else self.initial
        self.suggestion = self.suggestion_for(given)
        self._options_add(self.suggestion.values)

    @property
    def main_fields(self) -> list[forms.BoundField]:
        """What to learn from."""
        return [self[name] for name in MAIN if name in self.fields]

    def suggestion_for(self, given: Mapping[str, Any]) -> Suggestion:
        """What suits the starting model and the kind of training that a form holds; the first model where none."""
        chosen = str(given.get("start", ""))
        models = self.ready.filter(pk=chosen) if chosen.isdecimal() and len(chosen) < 19 else self.ready
        return suggestion_make(self.kind, models.first(), lora=_is_on(given.get("lora_rank", "")))

    def refresh(self, given: Mapping[str, str]) -> list[str]:
        """Of a form whose starting model was changed: take over the new suggestions, and return which fields change."""
        model, _, lora = given.get("suggested_for", "").partition("-")
        before = self.suggestion_for({"start": model, "lora_rank": lora})
        self.suggestion = self.suggestion_for(given)
        shown = {option.name: given.get(option.name, "") for option in self.option_fields}
        changed = refreshed(self.kind, shown, before, self.suggestion)
        for name, value in changed.items():
            self.initial[name] = value
        return list(changed)

    def clean(self) -> dict[str, Any]:
        """Refuse a reference beside what the options hold the policy to."""
        cleaned = super().clean()
        if problem := reference_problem(cleaned.get("reference"), self.options()):
            self.add_error("reference", problem)
        return cleaned


class CombineForm(OptionsForm):
    """Several reward models of the project as one, in an order that weights and gates go by."""

    snapshot = SnapshotField(
        Snapshot.objects.none(),
        required=False,
        empty_label="None",
        help_text="Its held-out comparisons show how often the combination and its models are right. linear and gated "
        "need one: all its completions set the scale of scores.",
    )

    def __init__(self, *args: Any, project: Project, kind: RunKind = RunKind.COMBINE, **kwargs: Any) -> None:
        super().__init__(*args, project=project, kind=kind, **kwargs)
        rewards = ModelVersion.objects.filter(project=project, kind=ModelVersion.Kind.REWARD)
        self.ready = rewards.filter(state=ModelVersion.State.READY).order_by("-pk")
        choices = [("", "–"), *((model.pk, model.name) for model in self.ready)]
        self.found = len(choices) - 1
        places = range(1, max(LEAST_MEMBERS, min(MOST_MEMBERS, self.found)) + 1)
        self.member_names = [f"model_{place}" for place in places]
        for place, name in enumerate(self.member_names, start=1):
            self.fields[name] = forms.TypedChoiceField(
                choices=choices,
                coerce=int,
                empty_value=None,
                required=place <= LEAST_MEMBERS,
                label=f"Model {place}",
                help_text={1: "gated: for helpfulness.", 2: "gated: for safety."}.get(place, ""),
            )
        self._choices("snapshot", Snapshot.objects.filter(project=project).order_by("-pk"))
        self._options_add({})

    @property
    def main_fields(self) -> list[forms.BoundField]:
        """What to combine, without the third model and those after it."""
        return [self[name] for name in ("name", *self.member_names[:LEAST_MEMBERS])]

    @property
    def more_members(self) -> OptionGroup:
        """Places for further models."""
        return OptionGroup("More models", [self[name] for name in self.member_names[LEAST_MEMBERS:]])

    @property
    def more_open(self) -> bool:
        """Whether a further model is chosen, or has an error."""
        return self.more_members.is_open or any(field.value() for field in self.more_members.fields)

    @cached_property
    def members(self) -> list[ModelVersion]:
        """The models that were chosen, in their order."""
        chosen = [pk for name in self.member_names if (pk := self.cleaned_data.get(name))]
        models = self.ready.select_related("weights").in_bulk(chosen)
        return [models[pk] for pk in chosen]

    def clean(self) -> dict[str, Any]:
        """Refuse what the service would, beside the field that it is about."""
        cleaned = super().clean()
        if not self.errors:
            found = combination_problems(self.project, self.members, cleaned["snapshot"], self.options())
            for name, problem in found.items():
                self.add_error(name if name in self.fields else None, problem)
        return cleaned


RUN_FORMS: Mapping[RunKind, type[RunForm] | type[CombineForm]] = {RunKind.COMBINE: CombineForm}
"""The form of a kind of run, where it is not that of a training."""


class ScoreForm(forms.Form):
    """Which completions a reward model scores."""

    batch = forms.ModelChoiceField(
        Batch.objects.none(), required=False, empty_label="All completions of the project", label="Completions of"
    )

    def __init__(self, *args: Any, project: Project, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["batch"].queryset = Batch.objects.filter(project=project).order_by("-pk")  # type: ignore[attr-defined]


def _form_field(option: OptionField, suggested: str | None) -> OptionText:
    """An option with its meaning, its limits and what it is where nobody writes anything."""
    field = option_formfield(option)
    field.help_text = f"{option.help_text} {option_limits(option)}".strip()
    if suggested is not None:
        field.initial = suggested
    return field


def _is_on(text: Any) -> bool:
    """Whether a rank is asked for."""
    return str(text).strip() not in ("", "0")
