import threading
import uuid
from datetime import timedelta

import pytest
from django.db import IntegrityError, connection, transaction
from django.utils import timezone

from labelapp.errors import ConflictError, DomainError
from labelapp.labeling.judgement import Judgement, SlotRating
from labelapp.labeling.ordering import edges_from_ranking
from labelapp.labeling.seating import seating_new
from labelapp.labeling.selectors import drafts_open
from labelapp.labeling.services.annotations import Effort, Seating, annotation_submit, draft_save
from labelapp.labeling.services.seats import seat_take, seats_expire, task_skip
from labelapp.models import Annotation, Annotator, Draft, Project, Protocol, Rating, Seat, TaskSkip, User
from tests.factories import batch_with_tasks, external_make, labeler_make, protocol_make

TIERS = [[2], [0, 3], [1]]
JUDGEMENT = Judgement(
    tiers=TIERS,
    edges=edges_from_ranking(TIERS),
    first_tiers=[[0], [1], [2], [3]],
    ratings={slot: SlotRating(likert=slot + 1, answers={"harmful": "no", "constraint": None}) for slot in range(4)},
    answers={"ambiguous": "yes"},
    confidence=None,
    rationale="",
)


def seating_at(seat: Seat | None, annotator: Annotator, minutes_ago: int = 1) -> Seating:
    assert seat is not None
    opened_at = timezone.now() - timedelta(minutes=minutes_ago)
    return Seating(task_id=seat.task_id, annotator_id=annotator.pk, key=uuid.uuid4(), opened_at=opened_at)


def submit(seating: Seating, protocol: Protocol, effort: Effort | None = None) -> Annotation:
    return annotation_submit(
        seating=seating,
        judgement=JUDGEMENT,
        protocol=protocol,
        order_shown=[3, 1, 0, 2],
        effort=effort or Effort(30, 45),
    )


def abandon(seat: Seat | None) -> None:
    assert seat is not None
    Seat.objects.filter(pk=seat.pk).update(lease_until=timezone.now() - timedelta(seconds=1))
    seats_expire()


def test_submit_fills_the_held_seat(annotator: Annotator, project: Project, protocol: Protocol) -> None:
    batch_with_tasks(project, protocol, tasks=1)
    seat = seat_take(annotator_id=annotator.pk)
    annotation = submit(seating_at(seat, annotator), protocol)
    assert seat is not None
    assert annotation.seat_id == seat.pk
    assert not annotation.surplus
    assert Seat.objects.get(pk=seat.pk).state == Seat.State.FILLED


def test_submit_stores_everything_that_was_said(annotator: Annotator, project: Project, protocol: Protocol) -> None:
    batch_with_tasks(project, protocol, tasks=1)
    made = submit(seating_at(seat_take(annotator_id=annotator.pk), annotator), protocol)
    stored = Annotation.objects.get(pk=made.pk)
    assert stored.ranking == TIERS
    assert stored.first_ranking == [[0], [1], [2], [3]]
    assert stored.order_shown == [3, 1, 0, 2]
    assert [2, 0, ">", None, 1.0] in stored.edges
    assert len(stored.edges) == 6
    assert stored.answers == {"ambiguous": "yes"}
    ratings = Rating.objects.filter(annotation=stored)
    assert [(rating.slot, rating.likert) for rating in ratings] == [(0, 1), (1, 2), (2, 3), (3, 4)]
    assert ratings[0].answers == {"harmful": "no", "constraint": None}


def test_the_same_key_again_gets_the_same_answer(annotator: Annotator, project: Project, protocol: Protocol) -> None:
    batch_with_tasks(project, protocol, tasks=2)
    seating = seating_at(seat_take(annotator_id=annotator.pk), annotator)
    assert len({submit(seating, protocol).pk for _ in range(3)}) == 1
    assert Annotation.objects.count() == 1
    assert Rating.objects.count() == 4
    assert Seat.objects.filter(state=Seat.State.FILLED).count() == 1


def test_another_tab_with_another_key_is_told(annotator: Annotator, project: Project, protocol: Protocol) -> None:
    batch_with_tasks(project, protocol, tasks=1)
    seat = seat_take(annotator_id=annotator.pk)
    submit(seating_at(seat, annotator), protocol)
    with pytest.raises(ConflictError, match="already submitted"):
        submit(seating_at(seat, annotator), protocol)
    assert Annotation.objects.count() == 1


def test_a_late_submit_takes_a_free_seat(annotator: Annotator, project: Project, protocol: Protocol) -> None:
    batch_with_tasks(project, protocol, tasks=1, overlap=2, shared_overlap=2)
    seat = seat_take(annotator_id=annotator.pk)
    seating = seating_at(seat, annotator)
    abandon(seat)
    other = labeler_make(project, "mia")
    submit(seating_at(seat_take(annotator_id=other.pk), other), protocol)
    late = submit(seating, protocol)
    assert not late.surplus
    assert Seat.objects.filter(state=Seat.State.FILLED).count() == 2


def test_a_late_submit_without_a_free_seat_is_surplus(
    annotator: Annotator, project: Project, protocol: Protocol
) -> None:
    batch_with_tasks(project, protocol, tasks=1)
    seat = seat_take(annotator_id=annotator.pk)
    seating = seating_at(seat, annotator)
    abandon(seat)
    other = labeler_make(project, "mia")
    taken = seat_take(annotator_id=other.pk)
    late = submit(seating, protocol)
    assert late.surplus
    assert late.seat_id is None
    assert late.paid_seconds == 45
    submit(seating_at(taken, other), protocol)
    assert Annotation.objects.filter(surplus=False).count() == 1


def test_someone_holding_another_task_may_still_submit_late(
    annotator: Annotator, project: Project, protocol: Protocol
) -> None:
    batch_with_tasks(project, protocol, tasks=2)
    seat = seat_take(annotator_id=annotator.pk)
    seating = seating_at(seat, annotator)
    abandon(seat)
    second = seat_take(annotator_id=annotator.pk)
    assert second is not None
    assert second.task_id != seating.task_id
    assert not submit(seating, protocol).surplus
    assert Seat.objects.get(pk=second.pk).state == Seat.State.HELD


def test_seconds_never_exceed_the_time_since_opening(
    annotator: Annotator, project: Project, protocol: Protocol
) -> None:
    batch_with_tasks(project, protocol, tasks=1)
    seating = seating_at(seat_take(annotator_id=annotator.pk), annotator, minutes_ago=1)
    annotation = submit(seating, protocol, Effort(active_seconds=50, paid_seconds=10_000))
    assert annotation.active_seconds == 50
    assert annotation.paid_seconds in {60, 61, 62}


def test_a_draft_is_stored_and_renews_the_lease(annotator: Annotator, project: Project, protocol: Protocol) -> None:
    batch_with_tasks(project, protocol, tasks=1)
    seat = seat_take(annotator_id=annotator.pk)
    soon = timezone.now() + timedelta(seconds=5)
    Seat.objects.update(lease_until=soon)
    kept = draft_save(seating=seating_at(seat, annotator), content={"ranking": "A B"}, revision=1).seat
    assert kept is not None
    assert kept.lease_until is not None
    assert kept.lease_until > soon
    assert Draft.objects.get().content == {"ranking": "A B"}


def test_an_older_draft_never_overwrites_a_newer(annotator: Annotator, project: Project, protocol: Protocol) -> None:
    batch_with_tasks(project, protocol, tasks=1)
    seating = seating_at(seat_take(annotator_id=annotator.pk), annotator)
    draft_save(seating=seating, content={"ranking": "new"}, revision=2)
    for revision in (1, 2):
        with pytest.raises(ConflictError, match="another tab"):
            draft_save(seating=seating, content={"ranking": "old"}, revision=revision)
    assert Draft.objects.get().content == {"ranking": "new"}


def test_a_draft_outlives_the_seat_and_is_offered_again(
    annotator: Annotator, project: Project, protocol: Protocol
) -> None:
    batch_with_tasks(project, protocol, tasks=1)
    seat = seat_take(annotator_id=annotator.pk)
    seating = seating_at(seat, annotator)
    draft_save(seating=seating, content={"ranking": "A"}, revision=1)
    assert not drafts_open(annotator=annotator).exists()
    abandon(seat)
    assert draft_save(seating=seating, content={"ranking": "A B"}, revision=2).seat is None
    assert drafts_open(annotator=annotator).get().content == {"ranking": "A B"}


def test_a_draft_that_arrives_after_the_submit_is_refused(
    annotator: Annotator, project: Project, protocol: Protocol
) -> None:
    batch_with_tasks(project, protocol, tasks=1)
    seating = seating_at(seat_take(annotator_id=annotator.pk), annotator)
    draft_save(seating=seating, content={"ranking": "A"}, revision=1)
    submit(seating, protocol)
    with pytest.raises(ConflictError):
        draft_save(seating=seating, content={"ranking": "B"}, revision=2)
    assert not Draft.objects.exists()


def test_a_draft_with_a_nul_character_is_stored_without_it(
    annotator: Annotator, project: Project, protocol: Protocol
) -> None:
    batch_with_tasks(project, protocol, tasks=1)
    seating = seating_at(seat_take(annotator_id=annotator.pk), annotator)
    draft_save(seating=seating, content={"rationale": "a\x00b"}, revision=1)
    assert Draft.objects.get().content == {"rationale": "ab"}


def test_a_huge_draft_is_refused(annotator: Annotator, project: Project, protocol: Protocol) -> None:
    batch_with_tasks(project, protocol, tasks=1)
    seating = seating_at(seat_take(annotator_id=annotator.pk), annotator)
    with pytest.raises(DomainError, match="too long"):
        draft_save(seating=seating, content={"rationale": "x" * 200_001}, revision=1)


@pytest.mark.parametrize("change", [{"rationale": "changed"}, {"edges": []}, {"surplus": True}, {"paid_seconds": 1}])
def test_the_database_refuses_to_change_an_annotation(
    annotator: Annotator, project: Project, protocol: Protocol, change: dict[str, object]
) -> None:
    batch_with_tasks(project, protocol, tasks=1)
    made = submit(seating_at(seat_take(annotator_id=annotator.pk), annotator), protocol)
    with pytest.raises(IntegrityError, match="never changed"), transaction.atomic():
        Annotation.objects.filter(pk=made.pk).update(**change)


@pytest.mark.parametrize(
    ("change", "constraint"),
    [
        ({"answers": {"harmful": "maybe"}}, "annotation_answers_known"),
        ({"answers": ["yes"]}, "annotation_answers_known"),
        ({"edges": [[0, 1, "<", None, 1.0]]}, "annotation_edges_shape"),
        ({"edges": [[0, 1, ">"]]}, "annotation_edges_shape"),
        ({"edges": [[0, 0, ">", None, 1.0]]}, "annotation_edges_shape"),
        ({"edges": [[0, 9, ">", None, 1.0]]}, "annotation_edges_shape"),
        ({"edges": [["x", 1, ">", None, 1.0]]}, "annotation_edges_shape"),
        ({"edges": [[0, 1, ">", 5, 1.0]]}, "annotation_edges_shape"),
        ({"edges": [[0, 1, ">", "y", 1.0]]}, "annotation_edges_shape"),
        ({"edges": [[0, 1, ">", None, 0]]}, "annotation_edges_shape"),
        ({"edges": ["0>1"]}, "annotation_edges_shape"),
        ({"edges": {"0": 1}}, "annotation_edges_shape"),
        ({"ranking": {"best": 0}}, "annotation_ranking_shape"),
        ({"ranking": [[0], []]}, "annotation_ranking_shape"),
        ({"first_ranking": [0, 1]}, "annotation_first_ranking_shape"),
        ({"confidence": 5}, "annotation_confidence"),
    ],
)
def test_the_database_refuses_malformed_annotations(
    annotator: Annotator, project: Project, protocol: Protocol, change: dict[str, object], constraint: str
) -> None:
    batch_with_tasks(project, protocol, tasks=1)
    task = Seat.objects.get().task
    values = {"order_shown": [], "idempotency_key": uuid.uuid4(), "surplus": True, **change}
    with pytest.raises(IntegrityError, match=constraint), transaction.atomic():
        Annotation.objects.create(task=task, annotator=annotator, protocol=protocol, **values)


@pytest.mark.django_db(transaction=True)
def test_ten_retries_at_once_make_one_annotation(annotator: Annotator, project: Project, protocol: Protocol) -> None:
    batch_with_tasks(project, protocol, tasks=1)
    seating = seating_at(seat_take(annotator_id=annotator.pk), annotator)
    barrier, made = threading.Barrier(10), list[int]()

    def retry() -> None:
        barrier.wait()
        made.append(submit(seating, protocol).pk)
        connection.close()

    threads = [threading.Thread(target=retry) for _ in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 10
    assert len(set(made)) == 1
    assert Rating.objects.count() == 4


def test_time_at_work_is_kept_when_the_seat_was_lost_in_between(
    annotator: Annotator, project: Project, protocol: Protocol
) -> None:
    """Forty minutes of work, then the lease runs out and the same task comes back with its draft."""
    batch_with_tasks(project, protocol, tasks=1)
    seat = seat_take(annotator_id=annotator.pk)
    draft_save(seating=seating_at(seat, annotator, minutes_ago=41), content={"ranking": "A"}, revision=1)
    abandon(seat)
    again = seat_take(annotator_id=annotator.pk)
    assert again is not None
    seating = seating_new(task_id=again.task_id, annotator_id=annotator.pk, seat=again, draft=Draft.objects.get())
    assert submit(seating, protocol, Effort(2400, 2460)).paid_seconds == 2460


def test_a_skipped_draft_is_gone_and_stays_gone(annotator: Annotator, project: Project, protocol: Protocol) -> None:
    batch_with_tasks(project, protocol, tasks=1)
    seat = seat_take(annotator_id=annotator.pk)
    assert seat is not None
    seating = seating_at(seat, annotator)
    draft_save(seating=seating, content={"ranking": "A"}, revision=1)
    task_skip(annotator_id=annotator.pk, task=seat.task, reason=TaskSkip.Reason.DISTRESSING)
    with pytest.raises(ConflictError, match="skipped"):
        draft_save(seating=seating, content={"ranking": "A"}, revision=2)
    assert not Draft.objects.exists()


def test_a_task_is_either_answered_or_skipped(annotator: Annotator, project: Project, protocol: Protocol) -> None:
    batch_with_tasks(project, protocol, tasks=1)
    seat = seat_take(annotator_id=annotator.pk)
    assert seat is not None
    seating = seating_at(seat, annotator)
    task_skip(annotator_id=annotator.pk, task=seat.task, reason=TaskSkip.Reason.UNCLEAR)
    submit(seating, protocol)
    assert not TaskSkip.objects.exists()
    task_skip(annotator_id=annotator.pk, task=seat.task, reason=TaskSkip.Reason.UNCLEAR)
    assert not TaskSkip.objects.exists()


def counted_elsewhere(annotator: Annotator, protocol: Protocol, **fields: object) -> None:
    task = Seat.objects.order_by("pk")[0].task
    values = {"order_shown": [], "idempotency_key": uuid.uuid4(), "protocol": protocol, **fields}
    Annotation.objects.create(task=task, annotator=annotator, **values)


def test_the_database_counts_only_what_has_a_seat_of_its_task(
    annotator: Annotator, project: Project, protocol: Protocol
) -> None:
    batch_with_tasks(project, protocol, tasks=2)
    other = Seat.objects.order_by("pk")[1]
    with pytest.raises(IntegrityError, match="annotation_counted"), transaction.atomic():
        counted_elsewhere(annotator, protocol)
    with pytest.raises(IntegrityError, match="annotation_seat"), transaction.atomic():
        counted_elsewhere(annotator, protocol, seat=other)
    with pytest.raises(IntegrityError, match="annotation_protocol"), transaction.atomic():
        counted_elsewhere(annotator, protocol_make(project, name="Another"), surplus=True)
    stranger = external_make(Project.objects.create(name="Other", slug="other"))
    with pytest.raises(IntegrityError, match="annotation_project"), transaction.atomic():
        counted_elsewhere(stranger, protocol, surplus=True)
    counted_elsewhere(annotator, protocol, surplus=True)


def test_the_database_keeps_labels_unless_somebody_is_erased(
    annotator: Annotator, project: Project, protocol: Protocol
) -> None:
    batch_with_tasks(project, protocol, tasks=1)
    made = submit(seating_at(seat_take(annotator_id=annotator.pk), annotator), protocol)
    with pytest.raises(IntegrityError, match="kept as they are"), transaction.atomic():
        made.delete()
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL labelapp.erasing = 'on'")
    Annotation.objects.update(rationale="")
    assert Annotation.objects.filter(pk=made.pk).delete()[0] == 5


def test_a_person_can_be_erased_though_their_protocol_is_in_use(
    omar: User, project: Project, protocol: Protocol
) -> None:
    Protocol.objects.filter(pk=protocol.pk).update(created_by=omar, used_at=timezone.now())
    omar.delete()
    protocol.refresh_from_db()
    assert protocol.created_by is None
