"""Writes of the writing room: ideal answers, prompts by labelers, and what a project asks of them."""

import hashlib
from dataclasses import dataclass, field

from django.db import transaction
from django.utils.translation import gettext as _

from labelapp.accounts.audit import audit_record
from labelapp.errors import ConflictError, DomainError
from labelapp.labeling.services.annotations import Effort, Seating, seat_for, seconds_within
from labelapp.labeling.services.exposure import exposure_add
from labelapp.labeling.services.seats import annotator_lock, seat_transition, tally_count
from labelapp.models import (
    Annotator,
    ComparisonTask,
    Demonstration,
    Draft,
    Project,
    Prompt,
    Seat,
    TaskSkip,
    TimeEntry,
    User,
)
from labelapp.prompts.content import PromptContent, content_hash
from labelapp.prompts.services import prompts_import
from labelapp.writing.answers import Answer
from labelapp.writing.selectors import use_cases_of, written_for

SOURCE = "labelers"
"""Source of the prompts that labelers wrote."""
TAG_LENGTH = 50
PROMPT_LIMIT = 20_000
USE_CASES, USE_CASE_LENGTH = 200, 200


@dataclass(frozen=True)
class PromptDraft:
    """A prompt as a labeler wrote it. `use_case` is the one they wrote it for, of those the project lists."""

    kind: Prompt.WrittenAs
    text: str
    language: str = ""
    sensitivity: list[str] = field(default_factory=list)
    use_case: str = ""


@transaction.atomic
def demonstration_submit(*, seating: Seating, answer: Answer, effort: Effort) -> Demonstration:
    """Store an answer: in the person's seat, else in any free seat of the task, else as surplus.

    The same slip again returns what it made. Raises ConflictError when the person has answered this task in another
    way, or the prompt in these very words before.
    """
    annotator_lock(seating.annotator_id)
    earlier = Demonstration.objects.filter(
        task_id=seating.task_id, annotator_id=seating.annotator_id, supersedes__isnull=True
    ).first()
    if earlier and earlier.idempotency_key == seating.key:
        return earlier
    if earlier:
        raise ConflictError(_("You have already answered this from another tab or device; that answer was kept."))
    task = ComparisonTask.objects.select_related("prompt", "batch").get(pk=seating.task_id)
    seat = seat_for(seating)
    made = _demonstration_create(
        task, seating, answer, effort, seat_id=seat.pk if seat else None, surplus=seat is None, supersedes=None
    )
    if seat:
        seat_transition(
            Seat.objects.filter(pk=seat.pk), Seat.State.FILLED, annotator=seating.annotator_id, lease_until=None
        )
    if task.batch.quota is not None:
        tally_count(annotator_id=seating.annotator_id, batch_id=task.batch_id)
    # Who skipped it in one tab and answered it in another did answer it.
    TaskSkip.objects.filter(annotator_id=seating.annotator_id, task=task).delete()
    Draft.objects.filter(annotator_id=seating.annotator_id, task=task).delete()
    return made


@transaction.atomic
def demonstration_correct(*, seating: Seating, answer: Answer, effort: Effort) -> Demonstration:
    """Store a better version of the person's answer, which supersedes the one that stands; return what stands then.

    The same slip again, and the same words again, change nothing. Raises ConflictError when there is no answer, or it
    can no longer be changed.
    """
    annotator = annotator_lock(seating.annotator_id)
    task = ComparisonTask.objects.select_related("prompt", "batch").get(pk=seating.task_id)
    written = written_for(annotator=annotator, task=task)
    if written is None:
        raise ConflictError(_("There is no answer of yours to correct here."))
    standing = written.demonstration
    if standing.idempotency_key == seating.key or standing.text == answer.text:
        return standing
    if written.correctable_until is None:
        raise ConflictError(
            _("This answer can no longer be changed: a day has passed, or a snapshot of the answers was taken.")
        )
    return _demonstration_create(
        task, seating, answer, effort, seat_id=standing.seat_id, surplus=standing.surplus, supersedes=standing
    )


@transaction.atomic
def prompt_write(*, annotator: Annotator, draft: PromptDraft, seconds: int) -> Prompt:
    """Take in a prompt that a labeler wrote, and count the time they spent on it; return it.

    All prompts of one person get the same split. Raises DomainError when the project asks for none or the text is no
    good, ConflictError when the project has this very prompt already.
    """
    project = Project.objects.select_for_update(no_key=True).get(pk=annotator.project_id)
    _prompt_check(project, draft)
    messages = [{"role": "user", "content": draft.text}]
    known = Prompt.objects.filter(project=project, content_hash=content_hash(messages)).first()
    if known:
        raise ConflictError(_known_already(known, annotator))
    content = PromptContent(
        messages=messages,
        source=SOURCE,
        author=f"annotator-{annotator.pk}",
        language=draft.language,
        sensitivity=sorted(draft.sensitivity),
        tags=[draft.use_case[:TAG_LENGTH].strip()] if draft.use_case else [],
        written_by=annotator.pk,
        written_as=draft.kind.value,
    )
    imported = prompts_import(project=project, prompts=[content])
    if seconds > 0:
        TimeEntry.objects.create(annotator=annotator, kind=TimeEntry.Kind.PROMPTS, seconds=seconds)
    return Prompt.objects.get(pk=imported.ids[0])


@transaction.atomic
def prompts_asked_set(*, project: Project, asks: bool, use_cases: list[str], actor: User) -> Project:
    """Say whether labelers may write prompts, and for which use cases. Raises DomainError for too many or too long."""
    if len(use_cases) > USE_CASES:
        raise DomainError(f"These are {len(use_cases)} use cases; at most {USE_CASES} are possible.")
    long = next((case for case in use_cases if len(case) > USE_CASE_LENGTH), None)
    if long:
        raise DomainError(f"“{long[:40]}…” is too long for a use case: at most {USE_CASE_LENGTH} characters.")
    locked = Project.objects.select_for_update(no_key=True).get(pk=project.pk)
    locked.asks_prompts, locked.use_cases = asks, "\n".join(dict.fromkeys(use_cases))
    locked.save(update_fields=["asks_prompts", "use_cases"])
    audit_record(actor=actor, verb="prompts_asked_set", subject=locked, project_id=locked.pk, asks=int(asks))
    return locked


def _demonstration_create(
    task: ComparisonTask,
    seating: Seating,
    answer: Answer,
    effort: Effort,
    *,
    seat_id: int | None,
    surplus: bool,
    supersedes: Demonstration | None,
) -> Demonstration:
    text_hash = hashlib.sha256(answer.text.encode()).hexdigest()
    said = Demonstration.objects.filter(prompt=task.prompt_id, annotator=seating.annotator_id, text_hash=text_hash)
    if said.exists():
        raise ConflictError(_("You gave this very answer to this prompt before. Change it, or leave it as it is."))
    seconds = seconds_within(effort.paid_seconds, seating.opened_at)
    made = Demonstration.objects.create(
        task=task,
        prompt_id=task.prompt_id,
        annotator_id=seating.annotator_id,
        text=answer.text,
        text_hash=text_hash,
        seat_id=seat_id,
        surplus=surplus,
        supersedes=supersedes,
        active_seconds=seconds_within(effort.active_seconds, seating.opened_at),
        paid_seconds=seconds,
        pasted_share=answer.pasted.share,
        pasted_source=answer.pasted.source,
        idempotency_key=seating.key,
    )
    if task.prompt.sensitivity:
        exposure_add(annotator_id=seating.annotator_id, seconds=seconds or 0)
    return made


def _prompt_check(project: Project, draft: PromptDraft) -> None:
    if not project.asks_prompts:
        raise DomainError(_("This project asks for no prompts at the moment."))
    if not draft.text.strip():
        raise DomainError(_("Write the prompt first."))
    if len(draft.text) > PROMPT_LIMIT:
        raise DomainError(
            _("The prompt has %(count)d characters; shorten it to %(limit)d.")
            % {"count": len(draft.text), "limit": PROMPT_LIMIT}
        )
    if draft.kind == Prompt.WrittenAs.USER_BASED and draft.use_case not in use_cases_of(project):
        raise DomainError(_("This use case is no longer on the project's list. Choose another one."))


def _known_already(known: Prompt, annotator: Annotator) -> str:
    if known.written_by_id == annotator.pk:
        return _("You have sent this prompt already; it is in your list below.")
    return _(
        "Somebody already wrote this very prompt. Change it a little, or think of another: variety is what makes these "
        "prompts useful."
    )
