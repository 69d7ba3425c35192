"""Forms for guideline examples and worked examples."""

import re
from typing import Any

from django import forms
from django.utils.translation import gettext_lazy as _

from labelapp.guidelines.practice import MOST_COMPLETIONS, PracticeSpec, practice_problems
from labelapp.guidelines.services import TEXT_LIMIT, TITLE_LIMIT
from labelapp.labeling.notation import ranking_parse, ranking_write
from labelapp.labeling.presentation import LETTERS
from labelapp.models import PracticeExample, Project, Protocol
from labelapp.projects.selectors import protocols_newest


def protocol_names(project: Project) -> list[tuple[str, str]]:
    """The project's protocols, as choices."""
    return [(protocol.name, protocol.name) for protocol in protocols_newest(project)]


class ExampleForm(forms.Form):
    """A case, and what to do in it."""

    protocol_name = forms.ChoiceField(label=_("Guidelines"), help_text=_("It stands with all versions of them."))
    title = forms.CharField(label=_("The case"), max_length=TITLE_LIMIT, help_text=_("A few words to find it by."))
    text = forms.CharField(
        label=_("What to do"),
        max_length=TEXT_LIMIT,
        widget=forms.Textarea(attrs={"rows": 8}),
        help_text=_("Markdown: **bold**, - list. Say why, too."),
    )

    def __init__(self, *args: Any, project: Project, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["protocol_name"].choices = protocol_names(project)  # type: ignore[attr-defined]


TURN_MARK = "---"
"""A line of a prompt that ends a turn."""


class PracticeForm(forms.Form):
    """A worked example: a prompt, its completions with what the team says of each, and their order."""

    protocol_name = forms.ChoiceField(label="To practise", help_text="The protocol whose labelers see it.")
    title = forms.CharField(max_length=TITLE_LIMIT, help_text="What it shows, as in “Clear, vague and wrong”.")
    prompt = forms.CharField(
        max_length=TEXT_LIMIT,
        widget=forms.Textarea(attrs={"rows": 5}),
        help_text=f"For a conversation put {TURN_MARK} on a line of its own between the turns: the user begins, "
        "the assistant answers, and the user has the last word.",
    )
    ranking = forms.CharField(
        max_length=40,
        help_text="Best first, as labelers type it: B A=C says that B is best, and A and C are about equal. They see "
        "other letters, each person in an order of their own.",
    )
    explanation = forms.CharField(
        label="Why in this order",
        max_length=TEXT_LIMIT,
        widget=forms.Textarea(attrs={"rows": 4}),
        help_text="Markdown, shown after somebody has checked their answer.",
    )

    def __init__(self, *args: Any, project: Project, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.project = project
        self.fields["protocol_name"].choices = protocol_names(project)  # type: ignore[attr-defined]
        for letter in LETTERS[:MOST_COMPLETIONS]:
            needed = letter in "AB"
            self.fields[f"text-{letter}"] = forms.CharField(
                label=f"Completion {letter}", max_length=TEXT_LIMIT, required=needed, widget=_area(5)
            )
            self.fields[f"explanation-{letter}"] = forms.CharField(
                label=f"What is to be said about {letter}", max_length=TEXT_LIMIT, required=False, widget=_area(2)
            )
            self.fields[f"likert-{letter}"] = forms.IntegerField(
                label=f"The team's rating of {letter}", min_value=1, max_value=10, required=False
            )

    def completions(self) -> list[list[forms.BoundField]]:
        """The fields of each completion."""
        return [
            [self[f"{name}-{letter}"] for name in ("text", "explanation", "likert")]
            for letter in LETTERS[:MOST_COMPLETIONS]
        ]

    def clean(self) -> dict[str, Any]:
        """Check what only several fields together can break."""
        if not self.errors:
            self._ratings_check()
        if not self.errors:
            filled = self._filled()
            tiers = ranking_parse(self.cleaned_data["ranking"], range(len(filled)))
            if filled != list(LETTERS[: len(filled)]):
                self.add_error(f"text-{filled[-1]}", "Fill the completions in order, and leave none out between two.")
            elif isinstance(tiers, str):
                self.add_error("ranking", tiers)
            else:
                for problem in practice_problems(self.spec()):
                    self.add_error(None, problem)
        return self.cleaned_data

    def spec(self) -> PracticeSpec:
        """The example as written. Only when valid."""
        data, filled = self.cleaned_data, self._filled()
        tiers = ranking_parse(data["ranking"], range(len(filled)))
        return PracticeSpec(
            protocol_name=data["protocol_name"],
            title=data["title"],
            messages=_messages(data["prompt"]),
            completions=[self._completion(letter) for letter in filled],
            ranking=tiers if isinstance(tiers, list) else [],
            explanation=data["explanation"],
        )

    def _filled(self) -> list[str]:
        return [letter for letter in LETTERS[:MOST_COMPLETIONS] if self.cleaned_data.get(f"text-{letter}")]

    def _completion(self, letter: str) -> dict[str, Any]:
        text, explanation, likert = (
            self.cleaned_data[f"{name}-{letter}"] for name in ("text", "explanation", "likert")
        )
        rated = {} if likert is None else {"likert": likert, "points": self._points()}
        return {"text": text, "explanation": explanation, **rated}

    def _points(self) -> int:
        """The scale that the protocol asks for now."""
        versions = Protocol.objects.filter(project=self.project, name=self.cleaned_data["protocol_name"])
        return versions.order_by("-version").values_list("likert_points", flat=True)[0]

    def _ratings_check(self) -> None:
        points = self._points()
        for letter in self._filled():
            likert = self.cleaned_data[f"likert-{letter}"]
            if likert is not None and likert > points:
                problem = f"This protocol rates from 1 to {points}." if points else "This protocol asks for no rating."
                self.add_error(f"likert-{letter}", problem)


def practice_initial(example: PracticeExample) -> dict[str, Any]:
    """A worked example as its form shows it."""
    fields: dict[str, Any] = {
        "protocol_name": example.protocol_name,
        "title": example.title,
        "prompt": f"\n{TURN_MARK}\n".join(message["content"] for message in example.messages),
        "ranking": ranking_write(example.ranking, range(len(example.completions))),
        "explanation": example.explanation,
    }
    for letter, completion in zip(LETTERS, example.completions, strict=False):
        fields |= {f"{name}-{letter}": completion.get(name) for name in ("text", "explanation", "likert")}
    return fields


def _area(rows: int) -> forms.Textarea:
    return forms.Textarea(attrs={"rows": rows})


def _messages(prompt: str) -> list[dict[str, str]]:
    turns = re.split(rf"^{TURN_MARK}[ \t]*$", prompt.replace("\r\n", "\n"), flags=re.MULTILINE)
    roles = ("user", "assistant")
    return [{"role": roles[number % 2], "content": turn.strip()} for number, turn in enumerate(turns)]
