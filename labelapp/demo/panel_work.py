"""Bringing a panel into a project, and letting it label the open seats of a batch, as a job."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from uuid import UUID, uuid5

from django.db import transaction
from django.db.models import Q, QuerySet
from django.utils import timezone

from labelapp.accounts.audit import audit_record
from labelapp.demo.panel import PANEL, Panelist, Taste, gold_taste, last_words, panel_judgement
from labelapp.demo.selectors import KIND, panel_works
from labelapp.errors import ConflictError, DomainError
from labelapp.jobs.registry import JobRun, job_handler
from labelapp.jobs.services import job_create, job_progress
from labelapp.labeling.selectors import pools_fit_for, task_shown
from labelapp.labeling.services.annotations import Effort, Seating, annotation_submit
from labelapp.labeling.services.seats import LEASE, annotator_lock, seat_transition, seats_return, task_skip
from labelapp.models import Annotation, Annotator, Batch, Job, Project, Prompt, Seat, TaskSkip, User

CHUNK = 25
"""Labels of one transaction: between two of them the job can be stopped, and people get the seats it had locked."""
KEYS = UUID("5e0d5c34-5b0c-4f7e-9c38-0e5f5f2a7b61")
PROMPTS_LOOKED_AT = 20
NO_PANEL = "This project has no panel. `manage.py panel add --project {slug}` brings simulated annotators into it."
NOT_THE_DEMOS = "The panel has no opinion of these prompts: it knows only those of the demo's little language."


@dataclass(frozen=True)
class Member:
    """A panelist with their row in the project."""

    panelist: Panelist
    annotator: Annotator


@dataclass(frozen=True)
class Pass:
    """How far the work has come: the job's cursor. The panel goes through the open seats in their order, again and
    again until a whole pass has brought nothing.
    """

    position: int = 0
    labels: int = 0
    beyond: int = 0
    labels_before: int = 0


@transaction.atomic
def panel_add(*, project: Project, actor: User | None) -> list[Annotator]:
    """Bring the panel into a project; who is there already stays as they are. Nothing else makes one."""
    annotators = []
    for panelist in PANEL:
        annotator, new = Annotator.objects.get_or_create(
            project=project, kind=Annotator.Kind.SIMULATED, name=panelist.name
        )
        if new:
            audit_record(actor=actor, verb="panel_add", subject=annotator, project_id=project.pk)
        annotators.append(annotator)
    return annotators


def panel_of(project: Project) -> list[Member]:
    """The panel of a project; empty where nobody brought it in."""
    rows = Annotator.objects.filter(project=project, kind=Annotator.Kind.SIMULATED).order_by("pk")
    by_name = {panelist.name: panelist for panelist in PANEL}
    return [Member(by_name[row.name], row) for row in rows if row.name in by_name]


@transaction.atomic
def panel_start(*, batch: Batch, actor: User | None) -> Job:
    """Let the panel label what is open in a batch; return the job.

    Raises DomainError when there is no panel or it has no opinion of these prompts, ConflictError when the batch is not
    open or the panel is at it already.
    """
    locked = Batch.objects.select_for_update(no_key=True).select_related("project").get(pk=batch.pk)
    if not panel_of(locked.project):
        raise DomainError(NO_PANEL.format(slug=locked.project.slug))
    if locked.state != Batch.State.OPEN:
        raise ConflictError(f"“{locked.name}” is {locked.get_state_display().lower()}. Open it first.")
    if panel_works(locked):
        raise ConflictError(f"The panel is at work on “{locked.name}” already.")
    some = Prompt.objects.filter(tasks__batch=locked)[:PROMPTS_LOOKED_AT]
    if not any(gold_taste().value(last_words(prompt), "") is not None for prompt in some):
        raise DomainError(NOT_THE_DEMOS)
    if actor:
        # Whoever lets the panel do the rest has stopped labelling; their last task would keep the batch waiting.
        seats_return(user=actor, batch=locked)
    return job_create(
        project=locked.project,
        kind=KIND,
        title=f"The simulated panel labels {locked.name}",
        payload={"batch": locked.pk},
        created_by=actor,
    )


@job_handler(KIND)
def panel_work(run: JobRun) -> Mapping[str, object]:
    """Label until nothing is left for anybody of the panel; what is committed is never done again."""
    return seats_label(run, gold_taste())


def seats_label(run: JobRun, taste: Taste) -> dict[str, object]:
    """As `panel_work`, to the given taste."""
    batch = Batch.objects.select_related("project").get(pk=run.job.payload["batch"])
    members = panel_of(batch.project)
    reached = Pass(**run.job.cursor)
    open_seats = Seat.objects.filter(pool__batch=batch, state=Seat.State.OPEN).count()
    total = reached.labels + open_seats
    while True:
        further = _chunk_label(run, batch, members, taste, reached, total)
        if further is None:
            return _result(reached)
        reached = further


def _result(reached: Pass) -> dict[str, object]:
    return {"labels": reached.labels, "beyond": reached.beyond}


@transaction.atomic
def _chunk_label(
    run: JobRun, batch: Batch, members: Sequence[Member], taste: Taste, reached: Pass, total: int
) -> Pass | None:
    """Label the next seats and save how far that came; None when a whole pass brought nothing."""
    # Always in one order, so that two panels at work never wait for each other.
    for member in members:
        annotator_lock(member.annotator.pk)
    seats = list(_seats_open(batch).filter(position__gt=reached.position)[:CHUNK])
    if not seats:
        if reached.labels == reached.labels_before:
            return None
        return Pass(labels=reached.labels, beyond=reached.beyond, labels_before=reached.labels)
    turns = _Turns(members, seats)
    labels, beyond = reached.labels, reached.beyond
    for seat in seats:
        turn = turns.next_for(seat, labels)
        if turn is None:
            continue
        done = _seat_label(seat, turn, taste)
        labels, beyond = labels + done, beyond + (not done)
    further = Pass(seats[-1].position, labels, beyond, reached.labels_before)
    job_progress(
        run, done=labels, total=max(total, labels), message=f"{labels:,} labels by the panel.", cursor=asdict(further)
    )
    return further


def _seats_open(batch: Batch) -> QuerySet[Seat]:
    """Open seats of an open batch in their order, locked; those that somebody takes at this moment are left out."""
    seats = Seat.objects.select_for_update(skip_locked=True, no_key=True, of=("self",))
    return seats.filter(pool__batch=batch, pool__batch__state=Batch.State.OPEN, state=Seat.State.OPEN).order_by(
        "position"
    )


class _Turns:
    """Whose turn it is: everybody who may see a task and has not answered it, in turn."""

    def __init__(self, members: Sequence[Member], seats: Sequence[Seat]) -> None:
        self.members = members
        pools = {seat.pool_id for seat in seats}
        self.fit = {
            member.annotator.pk: set(pools_fit_for(member.annotator).filter(pk__in=pools).values_list("pk", flat=True))
            for member in members
        }
        theirs = Q(annotator__in=[member.annotator.pk for member in members], task__in=[seat.task_id for seat in seats])
        self.done: dict[int, set[int]] = defaultdict(set)
        for rows in (Annotation.objects.filter(theirs), TaskSkip.objects.filter(theirs)):
            for task, annotator in rows.values_list("task_id", "annotator_id"):
                self.done[task].add(annotator)

    def next_for(self, seat: Seat, turn: int) -> Member | None:
        """Who answers this seat; None when it is for nobody of the panel."""
        for place in range(len(self.members)):
            member = self.members[(turn + place) % len(self.members)]
            who = member.annotator.pk
            if seat.pool_id in self.fit[who] and who not in self.done[seat.task_id]:
                self.done[seat.task_id].add(who)
                return member
        return None


def _seat_label(seat: Seat, member: Member, taste: Taste) -> bool:
    """Take a locked seat and fill it; False when the task is beyond the panelist, who then passes on it."""
    annotator, now = member.annotator, timezone.now()
    shown = task_shown(task_id=seat.task_id, annotator=annotator)
    judgement = panel_judgement(panelist=member.panelist, annotator=annotator, shown=shown, taste=taste)
    if judgement is None:
        task_skip(annotator_id=annotator.pk, task=shown.task, reason=TaskSkip.Reason.EXPERTISE)
        return False
    seat_transition(
        Seat.objects.filter(pk=seat.pk),
        Seat.State.HELD,
        annotator=annotator,
        held_at=now,
        input_at=now,
        lease_until=now + LEASE,
    )
    annotation_submit(
        seating=seating_of(seat.task_id, annotator, shown.task.batch.project.salt, now),
        judgement=judgement,
        protocol=shown.sheet.protocol,
        order_shown=shown.sheet.order,
        effort=Effort(None, None),
    )
    return True


def seating_of(task_id: int, annotator: Annotator, salt: str, opened_at: datetime) -> Seating:
    """The panelist's slip for a task: always the same, so that a repeat is known as one."""
    key = uuid5(KEYS, f"{salt}:{task_id}:{annotator.pk}")
    return Seating(task_id=task_id, annotator_id=annotator.pk, key=key, opened_at=opened_at)
