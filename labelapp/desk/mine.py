"""Reads of one's own work: what was submitted and how it stands, questions, reports, skips, and paid time by day."""

from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Any

from django.core.paginator import Page, Paginator
from django.db.models import CharField, Exists, OuterRef, QuerySet, Sum, Value
from django.db.models.functions import TruncDate
from django.utils import timezone
from django.utils.functional import Promise
from django.utils.translation import gettext as _

from labelapp.desk.selectors import day_start
from labelapp.desk.triage import with_excerpt
from labelapp.desk.words import DISPUTE_STATES, REPORT_KINDS, REPORT_STATES, SKIP_REASONS, TIME_KINDS
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

WORK_PER_PAGE = 25
LISTED = 25
DAYS = 14
CORRECTION_TIME = timedelta(hours=24)
"""How long after it was submitted a label can be corrected; then it is settled."""


@dataclass(frozen=True)
class Done:
    """Something that a person submitted."""

    row: Annotation | Demonstration
    work: str
    state: str
    until: datetime | None = None

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
    compared = Annotation.objects.filter(pk__in=[pk for work, pk in keys if work == Batch.Work.COMPARISON])
    written = Demonstration.objects.filter(pk__in=[pk for work, pk in keys if work == Batch.Work.DEMONSTRATION])
    rows = _standings(with_excerpt(compared), Batch.Work.COMPARISON)
    rows |= _standings(with_excerpt(written, "prompt"), Batch.Work.DEMONSTRATION)
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


def _standings(
    rows: QuerySet[Annotation, Any] | QuerySet[Demonstration, Any], work: Batch.Work
) -> dict[tuple[str, int], Done]:
    later = rows.model._default_manager.filter(supersedes=OuterRef("pk"))
    marked = rows.annotate(replaced=Exists(later))
    return {(work.value, row.pk): Done(row, work, *_standing(row, replaced=row.replaced)) for row in marked}


def _standing(row: Annotation | Demonstration, *, replaced: bool) -> tuple[str, datetime | None]:
    """How it stands, in words, and until when it can be corrected; None once it cannot."""
    if replaced:
        return _("Replaced by your correction"), None
    until = row.created_at + CORRECTION_TIME
    state = _("Came late, after its place was taken; counted for pay") if row.surplus else ""
    if until <= timezone.now():
        return state or _("Settled"), None
    return state, until
