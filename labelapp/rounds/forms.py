"""The form of a new round."""

from dataclasses import asdict
from typing import Any

from django import forms

from labelapp.errors import DomainError
from labelapp.labeling.forms import Section
from labelapp.models import ModelVersion, Project, Prompt, Protocol, Round
from labelapp.models.tasks import MAX_OVERLAP
from labelapp.rounds.options import ANCHORS, COMMANDS, LABELS, MOST_PROMPTS, NEW, RoundOptions, round_options_read
from labelapp.rounds.services import WRITERS
from trainer.config import option_fields
from trainer.fields import OptionField

SHOWN = {
    "sampling": ("n", "temperature", "top_p", "max_tokens", "seed"),
    "reward": ("learning_rate", "epochs", "max_length", "ties"),
    "preference": ("learning_rate", "epochs", "max_length", "beta", "nll_weight"),
}
"""Options of the trainer that the form asks for; the others keep what the last round had, or their defaults."""
TRAINER_LABELS = {
    "n": "Completions per prompt",
    "top_p": "Top p",
    "max_tokens": "Most tokens",
    "max_length": "Most tokens together",
    "nll_weight": "Likelihood weight",
}
OWN = ("labels", "prompts", "split", "overlap", "shared_percent", "shared_overlap", "anchor")


def field_name(group: str, option: str) -> str:
    """The form's name of an option of the trainer."""
    return f"{group}-{option}"


class RoundForm(forms.Form):
    """A new round, filled in as the last one was done."""

    policy = forms.ModelChoiceField(ModelVersion.objects.none(), empty_label=None)
    labels = forms.ChoiceField(choices=LABELS.items(), initial=NEW, widget=forms.RadioSelect)
    prompts = forms.IntegerField(min_value=1, max_value=MOST_PROMPTS, help_text="At most this many, drawn at random.")
    split = forms.ChoiceField(
        required=False,
        choices=[("", "All splits"), *Prompt.Split.choices],
        help_text="The reward model is measured on validation prompts, so leave them in.",
    )
    protocol = forms.ModelChoiceField(Protocol.objects.none(), empty_label=None)
    overlap = forms.IntegerField(
        label="Labels per task", min_value=1, max_value=MAX_OVERLAP, help_text="Each by another person."
    )
    shared_percent = forms.IntegerField(
        label="Shared tasks in percent",
        min_value=0,
        max_value=100,
        help_text="A random share that more people label, so that agreement can be measured.",
    )
    shared_overlap = forms.IntegerField(label="Labels per shared task", min_value=1, max_value=MAX_OVERLAP)
    anchor = forms.ChoiceField(label="The new policy stays close to", choices=ANCHORS.items(), widget=forms.RadioSelect)

    def __init__(self, *args: Any, project: Project, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        last = Round.objects.filter(project=project).order_by("-number").first()
        self.usual = round_options_read(last.options) if last else RoundOptions()
        protocols = Protocol.objects.filter(project=project).order_by("name", "-version")
        self.fields["protocol"].queryset = protocols  # type: ignore[attr-defined]
        self.fields["policy"].queryset = writers_of(project)  # type: ignore[attr-defined]
        self.initial.update({name: getattr(self.usual, name) for name in OWN}, protocol=self.usual.protocol)
        for group, names in SHOWN.items():
            usual = self.usual.trainer_options(group)
            for option in (option for option in option_fields(COMMANDS[group]) if option.name in names):
                self.fields[field_name(group, option.name)] = _field(option)
                self.initial[field_name(group, option.name)] = usual[option.name]
        self.fields[field_name("sampling", "n")].help_text = ""  # its label says it all

    @property
    def sections(self) -> list[Section]:
        """The fields as the page groups them."""
        groups = {group: [[field_name(group, name) for name in names]] for group, names in SHOWN.items()}
        layout = {
            "Who writes": [["policy"], ["labels"]],
            "Sample": [["prompts", "split"], *groups["sampling"]],
            "Label": [["protocol"], ["overlap", "shared_percent", "shared_overlap"]],
            "Reward model": groups["reward"],
            "Policy": [*groups["preference"], ["anchor"]],
        }
        return [Section(title, [[self[name] for name in row] for row in rows]) for title, rows in layout.items()]

    def clean(self) -> dict[str, Any]:
        """What the options themselves refuse stands above the form."""
        data = super().clean() or self.cleaned_data
        if not self.errors:
            try:
                self.options()
            except DomainError as error:
                self.add_error(None, error.message)
        return data

    def options(self) -> RoundOptions:
        """What the form asks of the round."""
        data = self.cleaned_data
        given = asdict(self.usual) | {name: data[name] for name in OWN} | {"protocol": data["protocol"].pk}
        for group, names in SHOWN.items():
            given[group] = {**given[group], **{name: data[field_name(group, name)] for name in names}}
        return RoundOptions(**given)


def writers_of(project: Project) -> Any:
    """Models of the project that can write completions, newest first."""
    return ModelVersion.objects.filter(project=project, state=ModelVersion.State.READY, kind__in=WRITERS).order_by(
        "-pk"
    )


def _field(option: OptionField) -> forms.Field:
    """The form field of one of the trainer's options."""
    label = TRAINER_LABELS.get(option.name, option.name.replace("_", " ").capitalize())
    if option.kind == "choice":
        return forms.ChoiceField(
            label=label, choices=[(choice, choice) for choice in option.choices], help_text=option.help_text
        )
    if option.kind == "int":
        return forms.IntegerField(
            label=label,
            min_value=None if option.least is None else int(option.least),
            max_value=None if option.most is None else int(option.most),
            help_text=option.help_text,
        )
    widget = forms.NumberInput(attrs={"step": "any"})
    return forms.FloatField(
        label=label, min_value=option.least, max_value=option.most, help_text=option.help_text, widget=widget
    )
