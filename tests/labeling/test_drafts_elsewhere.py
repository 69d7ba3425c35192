"""Drafts of one task from several openings of the page: nobody's work is overwritten by what did not know of it."""

import uuid

import pytest
from django.utils import timezone

from labelapp.errors import ConflictError
from labelapp.labeling.services.annotations import Seating, draft_save
from labelapp.labeling.services.seats import seat_take
from labelapp.models import Annotator, Draft, Project, Protocol
from tests.factories import batch_with_tasks

pytestmark = pytest.mark.django_db


@pytest.fixture
def seating(annotator: Annotator, project: Project, protocol: Protocol) -> Seating:
    batch_with_tasks(project, protocol, tasks=1)
    seat = seat_take(annotator_id=annotator.pk)
    assert seat is not None
    return Seating(task_id=seat.task_id, annotator_id=annotator.pk, key=uuid.uuid4(), opened_at=timezone.now())


def save(seating: Seating, text: str, page: str, revision: int, base: int, adopted: str = "") -> None:
    content = {"ranking": text, "page": page}
    draft_save(seating=seating, content=content, revision=revision, base=base, pages=[page, adopted])


def stored() -> str:
    return str(Draft.objects.get().content["ranking"])


def test_a_page_that_was_offline_does_not_overwrite_what_it_never_saw(seating: Seating) -> None:
    save(seating, "A", page="one", revision=1, base=0)
    save(seating, "A B", page="two", revision=2, base=1)
    with pytest.raises(ConflictError):
        save(seating, "D", page="one", revision=9, base=1)
    assert stored() == "A B"


def test_a_page_whose_answers_were_lost_goes_on(seating: Seating) -> None:
    save(seating, "A", page="one", revision=1, base=0)
    save(seating, "A B", page="one", revision=2, base=0)
    save(seating, "A B C", page="one", revision=3, base=0)
    assert stored() == "A B C"


def test_a_late_older_draft_is_refused_even_from_the_same_page(seating: Seating) -> None:
    save(seating, "A B", page="one", revision=2, base=0)
    with pytest.raises(ConflictError):
        save(seating, "A", page="one", revision=1, base=0)
    assert stored() == "A B"


def test_who_goes_on_with_another_openings_work_overwrites_its_last_words(seating: Seating) -> None:
    """The page was reloaded; what it sent while it closed arrives after the new page was made."""
    save(seating, "A B", page="one", revision=1, base=0)
    save(seating, "A B C", page="two", revision=2, base=0, adopted="one")
    assert stored() == "A B C"
    with pytest.raises(ConflictError):
        save(seating, "A B D", page="one", revision=3, base=1)


def test_who_says_nothing_of_what_they_saw_is_refused_by_the_revision_alone(seating: Seating) -> None:
    draft_save(seating=seating, content={"ranking": "A"}, revision=1)
    draft_save(seating=seating, content={"ranking": "A B"}, revision=2)
    with pytest.raises(ConflictError):
        draft_save(seating=seating, content={"ranking": "C"}, revision=2)
    assert stored() == "A B"
