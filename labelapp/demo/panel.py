"""Simulated people who label a batch: the demo's panel. They say what gold says, each as well as they can.

A panelist fills the form that a person would see, from the texts alone, and it is read by the code that reads a
person's. What they say depends on nothing but the project's salt, the task and who they are.
"""

import random
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from statistics import fmean

from labelapp.demo.gold import gold_reward
from labelapp.demo.language import answer_write, instructions
from labelapp.labeling.judgement import Judgement, judgement_read
from labelapp.labeling.selectors import TaskShown
from labelapp.labeling.sheet import Sheet, Stage
from labelapp.models import Annotator, Prompt

TIE_WITHIN = 0.25
"""Two completions whose values lie so close are about equal to a panelist."""
STRENGTHS = (0.5, 1.0, 2.0)
"""How far apart two values lie from which on one is slightly better, better, and significantly better."""
TYPICAL_NOTES = 500


@dataclass(frozen=True)
class Panelist:
    """One simulated person: how well they see what gold sees.

    `noise` is the standard deviation of what is added to gold; of `careless` of their tasks they say just anything;
    `length_liking` is what a completion gains that is twice as long as its neighbours on average.
    """

    name: str
    noise: float
    careless: float = 0.0
    length_liking: float = 0.0


PANEL = (
    Panelist("Amira (simulated)", noise=0.2),
    Panelist("Bo (simulated)", noise=0.4),
    Panelist("Chen (simulated)", noise=0.8),
    Panelist("Dara (simulated)", noise=0.4, careless=0.2),
    Panelist("Eike (simulated)", noise=0.4, length_liking=1.0),
)
"""A careful one, an ordinary one, an unsure one, one who often clicks just anything, and one who likes length."""


@dataclass(frozen=True)
class Taste:
    """What a panel would like: the value of a completion to a prompt, None where it has no opinion of the prompt.

    `typical` are values of typical completions, ascending: they divide the points of a rating scale.
    """

    value: Callable[[str, str], float | None]
    typical: Sequence[float]


@cache
def gold_taste() -> Taste:
    """What gold wants; as typical serve notes by writers of all qualities."""
    chance = random.Random(0)  # noqa: S311 (made-up text, no secret)
    notes = [(asked, answer_write(asked, chance, chance.random())) for asked in instructions(0, TYPICAL_NOTES)]
    return Taste(gold_value, sorted(gold_reward(asked.text, note) for asked, note in notes))


def gold_value(prompt: str, completion: str) -> float | None:
    """The gold reward; None for prompts that are none of the demo's language."""
    try:
        return gold_reward(prompt, completion)
    except ValueError:
        return None


def panel_judgement(*, panelist: Panelist, annotator: Annotator, shown: TaskShown, taste: Taste) -> Judgement | None:
    """What the panelist says about the task; None where it is beyond them.

    Raises ValueError when their form is refused, which no protocol should make happen.
    """
    prompt, salt = last_words(shown.task.prompt), shown.task.batch.project.salt
    chance = random.Random(f"{salt}:{shown.task.pk}:{annotator.pk}:panel")  # noqa: S311 (a draw, not a secret)
    gold = [taste.value(prompt, text) for text in shown.texts]
    known = [value for value in gold if value is not None]
    if len(known) < len(gold):
        return None
    values = _as_seen(panelist, known, shown.texts, chance)
    fields = form_filled(shown.sheet, values, taste.typical)
    stage = Sheet.stage_of(shown.sheet.protocol, len(values), fields)
    reading = judgement_read(replace(shown.sheet, stage=stage), fields)
    if reading.judgement is None:
        raise ValueError(f"The panel's form was refused: {reading.problems}")
    return reading.judgement


def last_words(prompt: Prompt) -> str:
    """The last turn of the conversation, which asks for the completion."""
    return str(prompt.messages[-1]["content"])


def form_filled(sheet: Sheet, values: Sequence[float], typical: Sequence[float]) -> dict[str, str]:
    """The labeling form as somebody would leave it to whom the completions, as shown, have these values.

    Questions of yes and no stay open.
    """
    fields = {"stage": Stage.RANK.value}
    points = sheet.protocol.likert_points
    if points:
        for letter, value in zip(sheet.letters, values, strict=True):
            fields[f"likert-{letter}"] = str(_point(value, typical, points))
    if len(values) == 2:
        fields["preference"] = str(_step(values[0] - values[1], sheet.protocol.strength_steps))
    if len(values) > 1:
        fields["ranking"] = _ranking(dict(zip(sheet.letters, values, strict=True)), ties=sheet.protocol.ties_allowed)
        best, second = sorted(values, reverse=True)[:2]
        fields["confidence"] = str(_strength(best - second))
    return fields


def _as_seen(panelist: Panelist, gold: Sequence[float], texts: Sequence[str], chance: random.Random) -> list[float]:
    """The values through the panelist's eyes. The draws go with the texts, not with where they stand on the page."""
    careless = chance.random() < panelist.careless
    drawn = {text: chance.gauss(0, 1) for text in sorted(texts)}
    if careless:
        return [drawn[text] for text in texts]
    words = [len(text.split()) for text in texts]
    usual = fmean(words) or 1.0
    return [
        value + panelist.noise * drawn[text] + panelist.length_liking * (count / usual - 1)
        for value, text, count in zip(gold, texts, words, strict=True)
    ]


def _point(value: float, typical: Sequence[float], points: int) -> int:
    """The point of the scale, each of which covers as many typical completions as any other."""
    return min(points, 1 + points * bisect_right(typical, value) // len(typical))


def _strength(gap: float) -> int:
    return 1 + sum(abs(gap) > bound for bound in STRENGTHS)


def _step(lead: float, steps: int) -> int:
    """The step between two completions, of which the first leads by so much."""
    if steps == 9 and abs(lead) <= TIE_WITHIN:
        return 5
    return 5 - _strength(lead) if lead > 0 else steps - 4 + _strength(lead)


def _ranking(values: Mapping[str, float], *, ties: bool) -> str:
    """Letters best first; who lies close behind the best of a place shares it."""
    tiers: list[list[str]] = []
    for letter in sorted(values, key=lambda letter: -values[letter]):
        if ties and tiers and values[tiers[-1][0]] - values[letter] <= TIE_WITHIN:
            tiers[-1].append(letter)
        else:
            tiers.append([letter])
    return " ".join("=".join(tier) for tier in tiers)
