"""Writes about guideline examples, worked examples, visits to the guidelines, and the time that reading them takes."""

from dataclasses import asdict
from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import Max, Sum
from django.utils import timezone

from labelapp.accounts.audit import audit_record
from labelapp.errors import ConflictError, DomainError
from labelapp.guidelines.practice import PracticeSpec, practice_problems
from labelapp.labeling.services.seats import annotator_lock
from labelapp.models import (
    Annotator,
    GuidelineExample,
    GuidelineVisit,
    Inquiry,
    PracticeExample,
    Project,
    Protocol,
    TimeEntry,
    User,
)

TITLE_LIMIT = 200
TEXT_LIMIT = 20_000
ENTRY_LIMIT = timedelta(minutes=20)
"""Most that one opening of the guidelines, or one practice example, can add to the paid time."""


@transaction.atomic
def example_create(
    *, project: Project, protocol_name: str, title: str, text: str, actor: User, inquiry: Inquiry | None = None
) -> GuidelineExample:
    """Add a case, and what to do in it, to the guidelines of a protocol, in all its versions.

    Raises DomainError without a title or a text, with overlong ones, or for a protocol that the project does not have.
    """
    title, text = " ".join(title.split()), text.replace("\r\n", "\n").strip()
    if not 0 < len(title) <= TITLE_LIMIT:
        raise DomainError(f"An example needs a title of at most {TITLE_LIMIT} characters: say what the case is.")
    if not 0 < len(text) <= TEXT_LIMIT:
        raise DomainError(f"Write what to do in this case, in at most {TEXT_LIMIT:,} characters.")
    _protocol_require(project, protocol_name)
    example = GuidelineExample.objects.create(
        project=project, protocol_name=protocol_name, title=title, text=text, inquiry=inquiry, created_by=actor
    )
    audit_record(actor=actor, verb="example_create", subject=example, project_id=project.pk)
    return example


@transaction.atomic
def example_withdraw(*, example: GuidelineExample, actor: User) -> None:
    """Show an example no longer. Raises ConflictError when somebody did that already."""
    shown = GuidelineExample.objects.filter(pk=example.pk, withdrawn_at__isnull=True)
    if not shown.update(withdrawn_at=timezone.now()):
        raise ConflictError(f"“{example.title}” was withdrawn already. Reload the page to see the others.")
    audit_record(actor=actor, verb="example_withdraw", subject=example, project_id=example.project_id)


@transaction.atomic
def practice_create(*, project: Project, spec: PracticeSpec, actor: User) -> PracticeExample:
    """Add a worked example, after those that there are. Raises DomainError when one of its rules is broken."""
    _practice_check(project, spec)
    last = PracticeExample.objects.filter(project=project).aggregate(last=Max("position"))["last"]
    example = PracticeExample.objects.create(project=project, position=(last or 0) + 1, **asdict(spec))
    audit_record(actor=actor, verb="practice_create", subject=example, project_id=project.pk)
    return example


@transaction.atomic
def practice_update(*, example: PracticeExample, spec: PracticeSpec, actor: User) -> None:
    """Write a worked example anew. Nobody's answers hang on it. Raises DomainError when one of its rules is broken."""
    _practice_check(example.project, spec)
    PracticeExample.objects.filter(pk=example.pk).update(**asdict(spec))
    audit_record(actor=actor, verb="practice_update", subject=example, project_id=example.project_id)


@transaction.atomic
def practice_withdraw(*, example: PracticeExample, actor: User) -> None:
    """Take a worked example away for good: nothing hangs on it."""
    audit_record(actor=actor, verb="practice_withdraw", subject=example, project_id=example.project_id)
    PracticeExample.objects.filter(pk=example.pk).delete()


@transaction.atomic
def visit_record(*, annotator: Annotator, protocol: Protocol) -> None:
    """Note that a person has been shown the guidelines of a protocol just now, in this version.

    Somebody who looks at an older version than before has still seen the newer one.
    """
    newer = Protocol.objects.filter(project=protocol.project_id, name=protocol.name, version__gt=protocol.version)
    now = timezone.now()
    visits = GuidelineVisit.objects.filter(annotator=annotator, protocol_name=protocol.name)
    if not visits.filter(protocol__in=newer).update(seen_at=now):
        GuidelineVisit.objects.bulk_create(
            [GuidelineVisit(annotator=annotator, protocol_name=protocol.name, protocol=protocol, seen_at=now)],
            update_conflicts=True,
            unique_fields=["annotator", "protocol_name"],
            update_fields=["protocol", "seen_at"],
        )


@transaction.atomic
def time_note(*, annotator: Annotator, kind: TimeEntry.Kind, seconds: int, opened_at: datetime) -> int:
    """Add paid time spent on one opening of a page; return the seconds that this opening counts now.

    `seconds` is what the page measured in all; it is cut to the time since the opening, and to `ENTRY_LIMIT`. A page
    that was left and came back reports again, and only what is more than before is added. So that openings can be told
    apart, entries carry the moment of theirs.
    """
    passed = timezone.now() - opened_at
    seconds = max(0, min(seconds, int(min(passed, ENTRY_LIMIT).total_seconds())))
    annotator_lock(annotator.pk)
    noted = TimeEntry.objects.filter(annotator=annotator, kind=kind, created_at=opened_at)
    before = noted.aggregate(total=Sum("seconds", default=0))["total"]
    if seconds > before:
        TimeEntry.objects.create(annotator=annotator, kind=kind, seconds=seconds - before, created_at=opened_at)
    return int(max(seconds, before))


def _practice_check(project: Project, spec: PracticeSpec) -> None:
    if problems := practice_problems(spec):
        raise DomainError(" ".join(problems))
    _protocol_require(project, spec.protocol_name)


def _protocol_require(project: Project, name: str) -> None:
    if not Protocol.objects.filter(project=project, name=name).exists():
        raise DomainError(f"{project.name} has no protocol “{name}”. Choose one of its protocols.")
