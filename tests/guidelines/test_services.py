"""Examples in the guidelines, visits to them, and the time they take."""

from datetime import timedelta

import pytest
from django.utils import timezone

from labelapp.errors import ConflictError, DomainError
from labelapp.guidelines.services import ENTRY_LIMIT, example_create, example_withdraw, time_note, visit_record
from labelapp.models import Annotator, AuditEntry, GuidelineExample, GuidelineVisit, Project, Protocol, TimeEntry, User
from tests.factories import protocol_make

READING = TimeEntry.Kind.GUIDELINES


def test_an_example_is_kept_with_who_made_it(project: Project, protocol: Protocol, omar: User) -> None:
    example = example_create(
        project=project, protocol_name=protocol.name, title="  Two   poems ", text=" Read both.\r\nTwice. ", actor=omar
    )
    assert (example.title, example.text, example.created_by) == ("Two poems", "Read both.\nTwice.", omar)
    assert AuditEntry.objects.filter(verb="example_create", object_id=example.pk, actor_id=omar.pk).exists()


@pytest.mark.parametrize(
    ("changed", "problem"),
    [
        ({"title": " "}, "needs a title"),
        ({"title": "t" * 201}, "needs a title"),
        ({"text": "\n"}, "Write what to do"),
        ({"text": "t" * 20_001}, "Write what to do"),
        ({"protocol_name": "Nothing"}, "has no protocol “Nothing”"),
    ],
)
def test_an_example_without_words_or_guidelines_is_refused(
    project: Project, protocol: Protocol, omar: User, changed: dict[str, str], problem: str
) -> None:
    given = {"protocol_name": protocol.name, "title": "Poems", "text": "Read both.", **changed}
    with pytest.raises(DomainError, match=problem):
        example_create(project=project, actor=omar, **given)
    assert not GuidelineExample.objects.exists()


def test_an_example_of_another_project_is_refused(project: Project, omar: User) -> None:
    protocol_make(Project.objects.create(name="Other", slug="other"), name="Theirs")
    with pytest.raises(DomainError, match="has no protocol"):
        example_create(project=project, protocol_name="Theirs", title="Poems", text="Read.", actor=omar)


def test_an_example_is_withdrawn_once(project: Project, protocol: Protocol, omar: User) -> None:
    example = example_create(project=project, protocol_name=protocol.name, title="Poems", text="Read.", actor=omar)
    example_withdraw(example=example, actor=omar)
    example.refresh_from_db()
    assert example.withdrawn_at is not None
    with pytest.raises(ConflictError, match="withdrawn already"):
        example_withdraw(example=example, actor=omar)
    assert AuditEntry.objects.filter(verb="example_withdraw").count() == 1


def test_the_last_visit_is_kept_for_each_person_and_protocol(annotator: Annotator, protocol: Protocol) -> None:
    visit_record(annotator=annotator, protocol=protocol)
    first = GuidelineVisit.objects.get()
    second = protocol_make(protocol.project, version=2)
    visit_record(annotator=annotator, protocol=second)
    visit = GuidelineVisit.objects.get()
    assert (visit.pk, visit.protocol) == (first.pk, second)
    assert visit.seen_at > first.seen_at


def test_who_looks_at_an_older_version_has_still_seen_the_newer(annotator: Annotator, protocol: Protocol) -> None:
    newer = protocol_make(protocol.project, version=2)
    visit_record(annotator=annotator, protocol=newer)
    before = GuidelineVisit.objects.get().seen_at
    visit_record(annotator=annotator, protocol=protocol)
    visit = GuidelineVisit.objects.get()
    assert visit.protocol == newer
    assert visit.seen_at > before


@pytest.mark.parametrize(
    ("said", "open_for", "counted"),
    [
        (40, timedelta(minutes=1), 40),
        (600, timedelta(minutes=1), 60),
        (99_999, timedelta(hours=5), ENTRY_LIMIT.total_seconds()),
        (-5, timedelta(minutes=1), 0),
        (10, timedelta(minutes=-1), 0),
    ],
)
def test_no_more_time_counts_than_has_passed(
    annotator: Annotator, said: int, open_for: timedelta, counted: int
) -> None:
    opened_at = timezone.now() - open_for
    assert time_note(annotator=annotator, kind=READING, seconds=said, opened_at=opened_at) == counted
    assert sum(TimeEntry.objects.values_list("seconds", flat=True)) == counted


def test_an_opening_counts_once_with_the_most_it_said(annotator: Annotator) -> None:
    opened_at = timezone.now() - timedelta(minutes=3)
    said = [time_note(annotator=annotator, kind=READING, seconds=n, opened_at=opened_at) for n in (30, 50, 50, 20)]
    assert said == [30, 50, 50, 50]
    assert list(TimeEntry.objects.order_by("pk").values_list("seconds", flat=True)) == [30, 20]
    assert set(TimeEntry.objects.values_list("created_at", "kind")) == {(opened_at, READING)}


def test_two_openings_count_each(annotator: Annotator) -> None:
    for minutes in (3, 9):
        opened_at = timezone.now() - timedelta(minutes=minutes)
        time_note(annotator=annotator, kind=READING, seconds=30, opened_at=opened_at)
    assert TimeEntry.objects.count() == 2
