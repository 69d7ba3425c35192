"""Reads of one's own work: what was submitted and how it stands, questions, reports, skips, and paid time by day."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Any

from django.core.paginator import Page, Paginator
from django.db.models import CharField, Exists, OuterRef, QuerySet, Subquery, Sum, Value
from django.db.models.functions import TruncDate
from django.urls import reverse
from django.utils import timezone
from django.utils.functional import Promise
from django.utils.translation import gettext as _

from labelapp.desk.selectors import day_start
from labelapp.desk.triage import with_excerpt
from labelapp.desk.words import DISPUTE_STATES, REPORT_KINDS, REPORT_STATES, SKIP_REASONS, TIME_KINDS
from labelapp.labeling.selectors import correctable_until, frozen_before
from labelapp.models import (
    Annotation,
    Annotator,
    Batch,
    Demonstration,
    Inquiry,
    Report,
    TaskSkip,
    TimeDispute,
    TimeEntry,
)

Key = tuple[str, int]

WORK_PER_PAGE = 25
LISTED = 25
DAYS = 14


@dataclass(frozen=True)
class Done:
    """Something that a person submitted."""

    row: Annotation | Demonstration
    work: str
    state: str
    until: datetime | None = None
    correct_url: str = ""

    @property
    def is_comparison(self) -> bool:
        """Whether completions were compared, not written."""
        return self.work == Batch.Work.COMPARISON


@dataclass
class Day:
    """The paid seconds of a day."""

    day: date
    labels: int = 0
    answers: int = 0
    beside: dict[str | Promise, int] = field(default_factory=dict)

    @property
    def total(self) -> int:
        """All of them."""
        return self.labels + self.answers + sum(self.beside.values())


@dataclass(frozen=True)
class InWords:
    """A row of a list with its kind and state in the reader's words."""

    row: Report | TaskSkip | TimeDispute
    kind: str | Promise = ""
    state: str | Promise = ""


def work_done(annotator: Annotator, page: str | None) -> tuple[Page[tuple[int, str]], list[Done]]:
    """One page of what was submitted, newest first, labels and written answers together."""
    own = {"annotator": annotator, "imported_by__isnull": True}
    labels = Annotation.objects.filter(**own).values_list("pk", "created_at", _constant(Batch.Work.COMPARISON))
    answers = Demonstration.objects.filter(**own).values_list("pk", "created_at", _constant(Batch.Work.DEMONSTRATION))
    both = labels.union(answers, all=True).order_by("-created_at", "-pk")
    shown = Paginator(both, WORK_PER_PAGE).get_page(page)
    keys = [(work, pk) for pk, _when, work in shown]
    compared = _labels(annotator, [pk for work, pk in keys if work == Batch.Work.COMPARISON])
    written = _answers(annotator, [pk for work, pk in keys if work == Batch.Work.DEMONSTRATION])
    rows = {**compared, **written}
    return shown, [rows[key] for key in keys]


def inquiries_of(annotator: Annotator) -> list[Inquiry]:
    """The person's newest questions; those whose answer they have not seen come first."""
    own = with_excerpt(Inquiry.objects.filter(annotator=annotator))
    unseen = own.filter(answered_at__isnull=False, seen_at__isnull=True).order_by("-answered_at")
    others = own.exclude(answered_at__isnull=False, seen_at__isnull=True).order_by("-created_at", "-pk")
    return [*unseen, *others[:LISTED]]


def reports_of(annotator: Annotator) -> list[InWords]:
    """The person's newest reports with what became of them."""
    own = with_excerpt(Report.objects.filter(annotator=annotator)).order_by("-created_at", "-pk")
    return [
        InWords(row, REPORT_KINDS[Report.Kind(row.kind)], REPORT_STATES[Report.State(row.state)])
        for row in own[:LISTED]
    ]


def skips_of(annotator: Annotator) -> list[InWords]:
    """The tasks that the person passed on lately, with why."""
    own = with_excerpt(TaskSkip.objects.filter(annotator=annotator)).order_by("-created_at", "-pk")
    return [InWords(row, SKIP_REASONS[TaskSkip.Reason(row.reason)]) for row in own[:LISTED]]


def disputes_of(annotator: Annotator) -> list[InWords]:
    """What the person said about missing time, with the decisions."""
    own = TimeDispute.objects.filter(annotator=annotator).order_by("-created_at", "-pk")
    return [InWords(row, state=DISPUTE_STATES[TimeDispute.State(row.state)]) for row in own[:LISTED]]


def paid_days(annotator: Annotator) -> list[Day]:
    """Paid time of the last two weeks by day, newest first, without days on which there was none."""
    today = timezone.localdate()
    return _paid(annotator, today - timedelta(days=DAYS - 1), today)


def paid_day(annotator: Annotator, day: date) -> Day:
    """Paid time of one day."""
    return next(iter(_paid(annotator, day, day)), Day(day))


def _paid(annotator: Annotator, first: date, last: date) -> list[Day]:
    between = (day_start(first), day_start(last + timedelta(days=1)))
    days: dict[date, Day] = {}
    for day, seconds in _by_day(Annotation.objects.filter(annotator=annotator), between):
        days.setdefault(day, Day(day)).labels = seconds
    for day, seconds in _by_day(Demonstration.objects.filter(annotator=annotator), between):
        days.setdefault(day, Day(day)).answers = seconds
    entries = TimeEntry.objects.filter(annotator=annotator, created_at__gte=between[0], created_at__lt=between[1])
    by_kind = entries.order_by("kind").annotate(day=TruncDate("created_at")).values_list("day", "kind")
    for day, kind, seconds in by_kind.annotate(Sum("seconds")):
        days.setdefault(day, Day(day)).beside[TIME_KINDS[TimeEntry.Kind(kind)]] = seconds
    return sorted(days.values(), key=lambda day: day.day, reverse=True)


def _by_day(
    rows: QuerySet[Annotation] | QuerySet[Demonstration], between: tuple[datetime, datetime]
) -> list[tuple[date, int]]:
    dated = rows.filter(created_at__gte=between[0], created_at__lt=between[1]).order_by()
    by_day = dated.annotate(day=TruncDate("created_at")).values_list("day")
    return [(day, seconds or 0) for day, seconds in by_day.annotate(Sum("paid_seconds"))]


def _constant(word: str) -> Value:
    return Value(str(word), output_field=CharField())


def _labels(annotator: Annotator, pks: Sequence[int]) -> dict[Key, Done]:
    first = Annotation.objects.filter(task=OuterRef("task"), annotator=annotator, supersedes__isnull=True)
    frozen = frozen_before(annotator.project_id, Batch.Work.COMPARISON)
    done = {}
    for row in _marked(with_excerpt(Annotation.objects.filter(pk__in=pks)), first):
        until = correctable_until(row.begun, row.created_at, frozen)
        url = reverse("task_correct", args=[row.task_id])
        done[Batch.Work.COMPARISON.value, row.pk] = _done(row, Batch.Work.COMPARISON, until, url)
    return done


def _answers(annotator: Annotator, pks: Sequence[int]) -> dict[Key, Done]:
    first = Demonstration.objects.filter(task=OuterRef("task"), annotator=annotator, supersedes__isnull=True)
    frozen = frozen_before(annotator.project_id, Batch.Work.DEMONSTRATION)
    done = {}
    for row in _marked(with_excerpt(Demonstration.objects.filter(pk__in=pks), "prompt"), first):
        until = correctable_until(row.begun, row.created_at, frozen) if row.task_id else None
        url = reverse("write_correct", args=[row.task_id]) if row.task_id else ""
        done[Batch.Work.DEMONSTRATION.value, row.pk] = _done(row, Batch.Work.DEMONSTRATION, until, url)
    return done


def _marked(rows: QuerySet[Any, Any], first: QuerySet[Annotation] | QuerySet[Demonstration]) -> QuerySet[Any, Any]:
    """Add `replaced`, and `begun`, when the task was first answered: corrections are due from then on."""
    later = rows.model._default_manager.filter(supersedes=OuterRef("pk"))
    marked: QuerySet[Any, Any] = rows.annotate(replaced=Exists(later), begun=Subquery(first.values("created_at")[:1]))
    return marked


def _done(row: Any, work: Batch.Work, until: datetime | None, correct_url: str) -> Done:
    """How it stands, in words, and until when and where it can be corrected."""
    if row.replaced:
        return Done(row, work, _("Replaced by your correction"))
    late = _("Came late, after its place was taken; counted for pay") if row.surplus else ""
    if until is None:
        return Done(row, work, late or _("Settled"))
    return Done(row, work, late, until, correct_url)
