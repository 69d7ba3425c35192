"""Reads for pages of other rooms: what waits at the desk, and what a person finds on their start page."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from typing import Any

from django.contrib.auth.models import AnonymousUser
from django.db.models import Count, Exists, Func, IntegerField, OuterRef, Q, QuerySet, Subquery, Sum, Value
from django.utils import timezone

from labelapp.accounts.access import projects_of
from labelapp.desk.offers import Offer, offers_for
from labelapp.models import (
    Annotation,
    Annotator,
    Batch,
    Demonstration,
    Inquiry,
    Membership,
    PracticeExample,
    Project,
    Report,
    Role,
    TimeDispute,
    TimeEntry,
    User,
)


@dataclass(frozen=True)
class DeskCounts:
    """What waits for somebody: at the desk, or on their own page."""

    reports: int = 0
    questions: int = 0
    disputes: int = 0
    answers: int = 0
    writes: bool = False
    """Whether a batch is open in which answers are written."""

    @property
    def desk(self) -> int:
        """All that waits at the desk."""
        return self.reports + self.questions + self.disputes


@dataclass(frozen=True)
class HomeProject:
    """One project on a person's start page."""

    membership: Membership
    annotator: Annotator
    labels: int
    labels_this_week: int
    counts: DeskCounts
    paid_today: int
    practice_waits: bool
    offers: list[Offer] = field(default_factory=list)

    @property
    def only_labels(self) -> bool:
        """Whether the person has nothing but labeling to do here."""
        return self.membership.role == Role.LABELER

    @property
    def open_offers(self) -> list[Offer]:
        """Batches that are for this person, those with work first."""
        offers = [offer for offer in self.offers if not offer.why_not]
        return sorted(offers, key=lambda offer: offer.waiting == 0)

    @property
    def closed_offers(self) -> list[Offer]:
        """Batches that are open, but not for this person, each with the reason."""
        return [offer for offer in self.offers if offer.why_not]

    @property
    def compares(self) -> bool:
        """Whether something to compare may wait; without any batch the labeling page says so itself."""
        return not self.offers or any(offer.batch.work == Batch.Work.COMPARISON for offer in self.open_offers)

    @property
    def writes(self) -> bool:
        """Whether answers are to be written."""
        return any(offer.batch.work == Batch.Work.DEMONSTRATION for offer in self.open_offers)


def desk_counts(membership: Membership) -> DeskCounts:
    """What waits in one project for a member of this role, in one query."""
    questions = Inquiry.objects.filter(task__batch__project=OuterRef("pk"), answered_at__isnull=True)
    disputes = TimeDispute.objects.filter(annotator__project=OuterRef("pk"), state=TimeDispute.State.OPEN)
    reports = Report.objects.filter(project=OuterRef("pk"), state=Report.State.OPEN)
    answers = _answers_new(OuterRef("pk"), membership.user_id)
    role, nothing = Role(membership.role), Value(0)
    columns = [
        nothing if role == Role.LABELER else _number(reports),
        nothing if role == Role.LABELER else _number(questions),
        _number(disputes) if role == Role.ADMIN else nothing,
        _number(answers),
        Exists(Batch.objects.filter(project=OuterRef("pk"), state=Batch.State.OPEN, work=Batch.Work.DEMONSTRATION)),
    ]
    return DeskCounts(*Project.objects.filter(pk=membership.project_id).values_list(*columns).get())


def home_of(user: User | AnonymousUser, project: Project | None = None) -> list[HomeProject]:
    """The person's projects, or only one, with what waits for them, in as many queries for any number of projects."""
    memberships = projects_of(user).filter(project=project) if project else projects_of(user)
    found = {membership.project_id: membership for membership in memberships}
    annotators = list(_annotators(user, found.keys()))
    offers, paid = offers_for(annotators), paid_since(annotators, day_start(timezone.localdate()))
    return [
        HomeProject(
            membership=found[annotator.project_id],
            annotator=annotator,
            labels=annotator.labels,
            labels_this_week=annotator.labels_this_week,
            counts=DeskCounts(annotator.open_reports, annotator.open_questions, answers=annotator.new_answers),
            paid_today=paid[annotator.pk],
            practice_waits=annotator.can_practise and not annotator.has_practised,
            offers=offers[annotator.pk],
        )
        for annotator in annotators
    ]


def day_start(day: date) -> datetime:
    """The first moment of a day, in the time that all pages show."""
    return timezone.make_aware(datetime.combine(day, time.min))


def paid_since(annotators: Sequence[Annotator], start: datetime) -> dict[int, int]:
    """Paid seconds by annotator since a moment: labels, written answers, and time beside them; in three queries."""
    total: dict[int, int] = defaultdict(int)
    for model, column in ((Annotation, "paid_seconds"), (Demonstration, "paid_seconds"), (TimeEntry, "seconds")):
        rows = model._default_manager.filter(annotator__in=annotators, created_at__gte=start).order_by()
        for annotator_id, seconds in rows.values_list("annotator").annotate(Sum(column)):
            total[annotator_id] += seconds or 0
    return total


def _annotators(user: User | AnonymousUser, projects: Iterable[int]) -> QuerySet[Any]:
    own = Q(annotations__supersedes__isnull=True)
    week = own & Q(annotations__created_at__gte=timezone.now() - timedelta(days=7))
    practised = TimeEntry.objects.filter(annotator=OuterRef("pk"), kind=TimeEntry.Kind.PRACTICE)
    reports = Report.objects.filter(project=OuterRef("project"), state=Report.State.OPEN)
    questions = Inquiry.objects.filter(task__batch__project=OuterRef("project"), answered_at__isnull=True)
    own_rows = Annotator.objects.filter(user=user.pk or 0, project__in=projects).order_by("project__name", "pk")
    return own_rows.annotate(
        labels=Count("annotations", filter=own),
        labels_this_week=Count("annotations", filter=week),
        new_answers=_number(_answers_new(OuterRef("project"), user.pk or 0)),
        open_reports=_number(reports),
        open_questions=_number(questions),
        can_practise=Exists(PracticeExample.objects.filter(project=OuterRef("project"))),
        has_practised=Exists(practised),
    )


def _answers_new(project: OuterRef, user_id: int) -> QuerySet[Inquiry]:
    return Inquiry.objects.filter(
        annotator__project=project, annotator__user=user_id, answered_at__isnull=False, seen_at__isnull=True
    )


def _number(rows: QuerySet[Report] | QuerySet[Inquiry] | QuerySet[TimeDispute]) -> Subquery:
    counted = rows.order_by().annotate(number=Func("pk", function="COUNT", output_field=IntegerField()))
    return Subquery(counted.values("number"))
