from datetime import timedelta

import pytest
from django.test import Client
from django.utils import timezone

from labelapp.labeling.services.breaks import break_note
from labelapp.models import Annotator, Project, TimeEntry, User

pytestmark = pytest.mark.django_db
ADDRESS = "/projects/garden-helper/label/break/"


def test_a_break_is_paid_up_to_ten_minutes(annotator: Annotator) -> None:
    assert break_note(annotator_id=annotator.pk, seconds=1_800) == 600
    entry = TimeEntry.objects.get()
    assert (entry.kind, entry.seconds) == (TimeEntry.Kind.BREAK, 600)


def test_a_break_that_is_reported_again_is_paid_once(annotator: Annotator) -> None:
    assert break_note(annotator_id=annotator.pk, seconds=300) == 300
    assert break_note(annotator_id=annotator.pk, seconds=300) == 0
    assert TimeEntry.objects.count() == 1


def test_the_next_break_is_paid_again(annotator: Annotator) -> None:
    before = timezone.now() - timedelta(minutes=41)
    TimeEntry.objects.create(annotator=annotator, kind=TimeEntry.Kind.BREAK, seconds=300, created_at=before)
    assert break_note(annotator_id=annotator.pk, seconds=200) == 200


def test_no_break_is_no_entry(annotator: Annotator) -> None:
    assert break_note(annotator_id=annotator.pk, seconds=0) == 0
    assert not TimeEntry.objects.exists()


def test_the_page_reports_it(client: Client, lena: User, project: Project) -> None:
    client.force_login(lena)
    assert client.post(ADDRESS, {"seconds": "240"}).json() == {"paid": 240}
    assert client.post(ADDRESS, {"seconds": "much"}).json() == {"paid": 0}
    assert client.get(ADDRESS).status_code == 405


def test_strangers_have_no_breaks_and_the_signed_out_are_told(client: Client, stan: User, project: Project) -> None:
    assert client.post(ADDRESS, {"seconds": "240"}).status_code == 401
    client.force_login(stan)
    assert client.post(ADDRESS, {"seconds": "240"}).status_code == 404
    assert not TimeEntry.objects.exists()
