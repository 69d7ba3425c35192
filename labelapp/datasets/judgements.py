"""The labels of an import row, gathered by annotator: one judgement each. Pure: needs neither settings nor database."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from labelapp.datasets.fields import (
    NAME_LIMIT,
    WORD_LIMIT,
    RowError,
    read_choice,
    read_list,
    read_name,
    read_object,
    read_text,
    read_whole,
    shown,
)
from labelapp.labeling.ordering import Edge, edges_from_ranking

RANKING_FIELDS = ("annotator", "order", "rationale", "confidence")
PREFERENCE_FIELDS = ("annotator", "a", "b", "preferred", "strength")
RATING_FIELDS = ("annotator", "completion", "likert", "answers")
ANSWERS = ("yes", "no", "na")
LIKERT_POINTS = 7
RATIONALE_LIMIT = 50_000
SAME_TEXT = "Give the same text the same place, or remove one of them."
LABELLED_TEXTS = 9
"""Different completions a labelled row may have: the slots of a task."""


@dataclass(frozen=True, slots=True)
class RatingRow:
    """What was said about one completion on its own."""

    likert: int | None
    answers: Mapping[str, str | None]


@dataclass(frozen=True, slots=True)
class Judgement:
    """Everything one annotator said about the completions of a row.

    Completions go by their place in the row; those with the same text all go by the first one's.
    """

    annotator: str
    edges: list[Edge]
    ratings: Mapping[int, RatingRow]
    rationale: str
    confidence: int | None


@dataclass(slots=True)
class _Sheet:
    """A judgement in the making."""

    pairs: dict[tuple[int, int], Edge] = field(default_factory=dict)
    ratings: dict[int, RatingRow] = field(default_factory=dict)
    compared_in: str = ""
    rationale: str = ""
    confidence: int | None = None


class JudgementReader:
    """Reads the labels of one row, given the ids ("" where there is none) and texts of its completions."""

    def __init__(self, completions: Sequence[tuple[str, str]]) -> None:
        first: dict[str, int] = {}
        self.places = {name: first.setdefault(text, index) for index, (name, text) in enumerate(completions)}
        self.places.pop("", None)
        self.different_texts = len(first)
        self.sheets: dict[str, _Sheet] = {}

    def read(self, row: Mapping[str, object]) -> list[Judgement]:
        """Return one judgement per annotator. Raises RowError."""
        for index, item in enumerate(read_list(row.get("rankings"), "rankings")):
            self._ranking(item, f"rankings[{index}]")
        for index, item in enumerate(read_list(row.get("preferences"), "preferences")):
            self._preference(item, f"preferences[{index}]")
        for index, item in enumerate(read_list(row.get("ratings"), "ratings")):
            self._rating(item, f"ratings[{index}]")
        if self.sheets and self.different_texts > LABELLED_TEXTS:
            reason = f"A labelled row has at most {LABELLED_TEXTS} different completions, not {self.different_texts}."
            raise RowError("completions", f"{reason} Split it.")
        return [
            Judgement(annotator, list(sheet.pairs.values()), sheet.ratings, sheet.rationale, sheet.confidence)
            for annotator, sheet in self.sheets.items()
        ]

    def _ranking(self, item: object, path: str) -> None:
        fields = read_object(item, path, RANKING_FIELDS)
        sheet = self._sheet(fields, path)
        if sheet.compared_in:
            raise RowError(path, "This annotator has a ranking in this row already. Keep one of them.")
        sheet.compared_in = "rankings"
        for edge in edges_from_ranking(self._tiers(fields.get("order"), f"{path}.order")):
            sheet.pairs[_pair(edge)] = edge
        if fields.get("rationale") not in (None, ""):
            sheet.rationale = read_text(fields["rationale"], f"{path}.rationale", limit=RATIONALE_LIMIT)
        if fields.get("confidence") is not None:
            sheet.confidence = read_whole(fields["confidence"], f"{path}.confidence", 1, 4)

    def _tiers(self, value: object, path: str) -> list[list[int]]:
        """Tiers of places, best first; an id that stands outside of a list is a tier of its own."""
        tiers: list[list[int]] = []
        tier_of: dict[int, int] = {}
        named: set[str] = set()
        for rank, tier in enumerate(read_list(value, path)):
            members = tier if isinstance(tier, list) else [tier]
            if not members:
                raise RowError(f"{path}[{rank}]", "This place of the ranking is empty. Remove it.")
            for index, member in enumerate(members):
                where = f"{path}[{rank}][{index}]" if isinstance(tier, list) else f"{path}[{rank}]"
                name, place = self._completion(member, where)
                if name in named:
                    raise RowError(where, f"“{shown(name)}” stands in this ranking twice.")
                if tier_of.setdefault(place, rank) != rank:
                    raise RowError(where, f"“{shown(name)}” has the text of a completion ranked above. {SAME_TEXT}")
                named.add(name)
            tiers.append([place for place, found in tier_of.items() if found == rank])
        if len(named) < 2:
            raise RowError(path, "A ranking needs the ids of at least two completions, best first.")
        return tiers

    def _preference(self, item: object, path: str) -> None:
        fields = read_object(item, path, PREFERENCE_FIELDS)
        sheet = self._sheet(fields, path)
        if sheet.compared_in == "rankings":
            raise RowError(path, "This annotator has a ranking in this row too. Keep the ranking or the preferences.")
        sheet.compared_in = "preferences"
        name_a, a = self._completion(fields.get("a"), f"{path}.a")
        name_b, b = self._completion(fields.get("b"), f"{path}.b")
        preferred = read_choice(fields.get("preferred"), f"{path}.preferred", ("a", "b", "tie"))
        strength = None
        if fields.get("strength") is not None:
            strength = read_whole(fields["strength"], f"{path}.strength", 1, 4)
        if name_a == name_b:
            raise RowError(f"{path}.b", f"“{shown(name_a)}” is compared with itself.")
        if preferred == "tie" and strength is not None:
            raise RowError(f"{path}.strength", "A tie has no strength. Remove it.")
        if a == b:
            if preferred != "tie":
                raise RowError(path, f"“{shown(name_a)}” and “{shown(name_b)}” have the same text. {SAME_TEXT}")
            return
        self._compare(sheet, a, b, preferred, strength, path)

    def _compare(self, sheet: _Sheet, a: int, b: int, preferred: str, strength: int | None, path: str) -> None:
        better, worse = (b, a) if preferred == "b" else (a, b)
        edge: Edge = (better, worse, ">", strength, 1.0)
        if preferred == "tie":
            edge = (min(a, b), max(a, b), "=", None, 1.0)
        if sheet.pairs.setdefault(_pair(edge), edge) != edge:
            raise RowError(path, "This annotator has judged the same two texts differently in this row. Keep one.")

    def _rating(self, item: object, path: str) -> None:
        fields = read_object(item, path, RATING_FIELDS)
        sheet = self._sheet(fields, path)
        _, place = self._completion(fields.get("completion"), f"{path}.completion")
        answers = _answers(fields.get("answers"), f"{path}.answers")
        likert = None
        if fields.get("likert") is not None:
            likert = read_whole(fields["likert"], f"{path}.likert", 1, LIKERT_POINTS)
        elif not answers:
            raise RowError(f"{path}.likert", f"It is missing. Rate from 1 to {LIKERT_POINTS}, or give answers.")
        rating = RatingRow(likert, answers)
        if sheet.ratings.setdefault(place, rating) != rating:
            raise RowError(path, "This annotator has rated the same text differently in this row. Keep one.")

    def _sheet(self, fields: Mapping[str, object], path: str) -> _Sheet:
        return self.sheets.setdefault(read_name(fields.get("annotator"), f"{path}.annotator"), _Sheet())

    def _completion(self, value: object, path: str) -> tuple[str, int]:
        name = read_name(value, path, limit=NAME_LIMIT)
        if name not in self.places:
            known = ", ".join(shown(name) for name in list(self.places)[:LABELLED_TEXTS])
            hint = f"Its completions have the ids {known}." if known else "None of its completions has an id."
            raise RowError(path, f"No completion of this row has the id “{shown(name)}”. {hint}")
        return name, self.places[name]


def _pair(edge: Edge) -> tuple[int, int]:
    return min(edge[:2]), max(edge[:2])


def _answers(value: object, path: str) -> dict[str, str | None]:
    """Answers by question key: yes, no, na, or null for a question that was left open."""
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise RowError(path, "Expected an object of answers by question key.")
    answers: dict[str, str | None] = {}
    for key, answer in value.items():
        name = read_name(key, path, limit=WORD_LIMIT)
        answers[name] = None if answer is None else read_choice(answer, f"{path}.{shown(name)}", ANSWERS)
    return answers
