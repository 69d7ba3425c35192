"""What a person is asked about one task: the sheet, and the stage of it that is on the page."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from labelapp.labeling.presentation import LETTERS
from labelapp.models import Marks, Protocol, Question


class Stage(StrEnum):
    """Which part of a task is on the page."""

    WHOLE = "whole"
    RATE = "rate"
    RANK = "rank"


@dataclass(frozen=True)
class Sheet:
    """What a person is asked about one task."""

    protocol: Protocol
    questions: Sequence[Question]
    order: Sequence[int]
    questioned: frozenset[int]
    stage: Stage = Stage.WHOLE
    first_seat: bool = True
    """Whether nobody else had answered when it was opened; questions about the prompt are asked only then."""
    group: str = Marks.SHOWN
    """Whether contradictions are marked to this person in this task, where there can be any."""

    @property
    def letters(self) -> str:
        """The letters of the completions shown."""
        return LETTERS[: len(self.order)]

    @property
    def asks_order(self) -> bool:
        """Whether the completions are compared on this page, in one way or the other."""
        return len(self.order) > 1 and self.protocol.asks_ranking and self.stage != Stage.RATE

    @property
    def asks_preference(self) -> bool:
        """Whether two completions are compared on a scale of steps instead of by a typed ranking."""
        return len(self.order) == 2 and self.protocol.strength_steps > 0 and self.asks_order

    @property
    def asks_ranking(self) -> bool:
        """Whether a ranking is typed."""
        return self.asks_order and not self.asks_preference

    @property
    def asks_confidence(self) -> bool:
        """Whether confidence is asked on this page."""
        return self.protocol.asks_confidence and self.stage != Stage.RATE

    @property
    def asks_rationale(self) -> bool:
        """Whether a rationale is asked on this page."""
        return self.protocol.asks_rationale and self.stage != Stage.RATE

    @property
    def asks_edit(self) -> bool:
        """Whether the best completion may be improved on this page."""
        return self.protocol.asks_edit and self.stage != Stage.RATE

    @property
    def severe(self) -> list[str]:
        """Keys of the questions whose yes is a severe flag."""
        return [
            question.key
            for question in self.questions
            if question.scope == Question.Scope.COMPLETION and question.severity == Question.Severity.SEVERE
        ]

    @property
    def marks(self) -> str:
        """Whether contradictions are marked on this page, or would be; empty where none can arise."""
        differ = self.protocol.likert_points > 0 or bool(self.severe and self.questioned)
        return self.group if self.protocol.marks_contradictions and self.asks_order and differ else ""

    def asked(self, scope: Question.Scope) -> list[Question]:
        """The questions of one scope that are on this page, in order; those about the ranking come with a ranking."""
        if scope == Question.Scope.RANKING and not self.asks_order:
            return []
        if scope == Question.Scope.PROMPT and not self.first_seat:
            return []
        return [question for question in self.questions if question.scope == scope]

    def asked_about(self, slot: int) -> list[Question]:
        """The questions asked about one completion."""
        return self.asked(Question.Scope.COMPLETION) if slot in self.questioned else []

    @staticmethod
    def stage_of(protocol: Protocol, k: int, fields: Mapping[str, str]) -> Stage:
        """The stage that a form is in: two-stage protocols rate first, and rank once the ratings are in."""
        rates = protocol.likert_points > 0
        if protocol.layout != Protocol.Layout.TWO_STAGE or not (rates and protocol.asks_ranking and k > 1):
            return Stage.WHOLE
        return Stage.RANK if fields.get("stage") == Stage.RANK else Stage.RATE
