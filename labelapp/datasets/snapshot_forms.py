"""The form that freezes labels."""

from collections import Counter, defaultdict
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from django import forms
from django.db.models import Q

from labelapp.datasets.freeze_options import COMBINATIONS, MINIMUM_STATES, MOST_HOURS, TIES, FreezeOptions
from labelapp.errors import DomainError
from labelapp.models import Annotator, Batch, Project, Prompt, Round

WEIGHT_LINES = 1000


@dataclass(frozen=True)
class Section:
    """Fields of the form that belong together."""

    title: str
    fields: list[forms.BoundField]


SECTIONS = {
    "How several labels of one task combine": ["combine", "ties"],
    "Whose labels": ["groups", "kinds", "weights", "include_surplus"],
    "Which tasks": ["rounds", "batches", "splits"],
    "What else comes along": ["ratings", "demonstrations"],
}


class FreezeForm(forms.Form):
    """Which labels to freeze, and how."""

    minimum_state = forms.ChoiceField(
        label="Take a label once it is", choices=list(MINIMUM_STATES.items()), widget=forms.RadioSelect
    )
    settled_hours = forms.FloatField(
        label="Hours until accepted", min_value=0, max_value=MOST_HOURS, help_text="Counts for accepted labels only."
    )
    combine = forms.ChoiceField(label="Combine", choices=list(COMBINATIONS.items()), widget=forms.RadioSelect)
    ties = forms.ChoiceField(label="Ties", choices=list(TIES.items()), widget=forms.RadioSelect)
    groups = forms.MultipleChoiceField(
        label="Groups of annotators",
        choices=Annotator.Group.choices,
        widget=forms.CheckboxSelectMultiple,
        help_text="Labels of those held out are for testing models, not for training them.",
    )
    kinds = forms.MultipleChoiceField(
        label="Kinds of annotators", choices=Annotator.Kind.choices, widget=forms.CheckboxSelectMultiple
    )
    weights = forms.CharField(
        required=False,
        widget=forms.Textarea(attrs={"rows": 3}),
        help_text="One annotator per line: e-mail address or imported name, a space, and how much they count, such as "
        "0.5. Who is not named counts 1; 0 leaves their labels out.",
    )
    include_surplus = forms.BooleanField(
        required=False, label="Also surplus labels", help_text="Those that came after all places of a task were filled."
    )
    rounds = forms.TypedMultipleChoiceField(required=False, coerce=int, widget=forms.CheckboxSelectMultiple)
    batches = forms.ModelMultipleChoiceField(
        Batch.objects.none(),
        required=False,
        widget=forms.CheckboxSelectMultiple,
        help_text="With no round and no batch chosen, all are taken.",
    )
    splits = forms.MultipleChoiceField(choices=Prompt.Split.choices, widget=forms.CheckboxSelectMultiple)
    ratings = forms.BooleanField(required=False, label="Ratings and answers to questions")
    demonstrations = forms.BooleanField(required=False, label="Demonstrations")

    def __init__(self, *args: Any, project: Project, **kwargs: Any) -> None:
        super().__init__(*args, **{"initial": FreezeOptions().payload() | {"weights": ""}, **kwargs})
        self.project = project
        self.fields["batches"].queryset = Batch.objects.filter(project=project).order_by("-pk")  # type: ignore[attr-defined]
        self.fields["batches"].label_from_instance = lambda batch: batch.name  # type: ignore[attr-defined]
        numbers = Round.objects.filter(project=project, batch__isnull=False).order_by("-number")
        choices = [(number, f"Round {number}") for number in numbers.values_list("number", flat=True)]
        self.fields["rounds"].choices = choices  # type: ignore[attr-defined]
        if not choices:
            del self.fields["rounds"]

    @property
    def sections(self) -> list[Section]:
        """The fields below the first two, as the page groups them."""
        return [
            Section(title, [self[name] for name in names if name in self.fields]) for title, names in SECTIONS.items()
        ]

    def clean_weights(self) -> dict[int, float]:
        """Weights by annotator id."""
        lines = [line.strip() for line in self.cleaned_data["weights"].splitlines() if line.strip()]
        if len(lines) > WEIGHT_LINES:
            raise forms.ValidationError(f"Name at most {WEIGHT_LINES} annotators.")
        return weights_read(self.project, lines)

    def clean(self) -> dict[str, Any]:
        """Check what the options themselves refuse."""
        data = super().clean() or self.cleaned_data
        if not self.errors:
            try:
                data["options"] = self._options(data)
            except DomainError as error:
                raise forms.ValidationError(error.message) from None
        return data

    def _options(self, data: dict[str, Any]) -> FreezeOptions:
        chosen: dict[str, Any] = {name: tuple(data[name]) for name in ("groups", "kinds", "splits")}
        plain = ("minimum_state", "settled_hours", "combine", "ties", "weights", "include_surplus")
        chosen |= {name: data[name] for name in (*plain, "ratings", "demonstrations")}
        batches = tuple(batch.pk for batch in data["batches"])
        return FreezeOptions(rounds=tuple(data.get("rounds", ())), batches=batches, **chosen)


def weights_read(project: Project, lines: list[str]) -> dict[int, float]:
    """Weights by annotator id from lines of a name and a number. Raises ValidationError that names the bad ones."""
    weights: dict[int, float] = {}
    problems = []
    said = [line.rpartition(" ")[::2] for line in lines]
    times = Counter(name for name, _ in said)
    named = _annotators_named(project, times)
    for name, number in dict(said).items():
        if problem := _name_problem(name, times[name], named.get(name, [])):
            problems.append(problem if name else f"Nobody in this project is called “{number}”.")
            continue
        try:
            weights[named[name][0].pk] = float(number)
        except ValueError:
            problems.append(f"“{number}” behind “{name}” is no number.")
    if problems:
        raise forms.ValidationError(problems)
    return weights


def _annotators_named(project: Project, names: Collection[str]) -> dict[str, list[Annotator]]:
    """The project's annotators by e-mail address, or by imported name where they are nobody's account."""
    # People whose account is gone have an empty name, which a line without a name must not stand for.
    wanted = [name for name in names if name]
    known = Annotator.objects.filter(Q(user__email__in=wanted) | Q(name__in=wanted, user__isnull=True), project=project)
    named: dict[str, list[Annotator]] = defaultdict(list)
    for annotator in known.select_related("user").order_by("pk"):
        named[annotator.user.email if annotator.user else annotator.name].append(annotator)
    return named


def _name_problem(name: str, times: int, annotators: list[Annotator]) -> str:
    """Why a name does not say who is meant, or how much they count; empty when it does."""
    if not annotators:
        return f"Nobody in this project is called “{name}”."
    if len(annotators) > 1:
        kinds = ", ".join(annotator.get_kind_display() for annotator in annotators)
        return (
            f"“{name}” stands for {len(annotators)} annotators in this project ({kinds}), so it cannot have a weight. "
            "Take the line away; to leave one of them out, choose among the kinds of annotators."
        )
    return f"“{name}” is named on {times} lines. Keep one of them." if times > 1 else ""
