"""What a person is shown of the guidelines, and what of it is new to them."""

from dataclasses import replace

import pytest
from django.http import Http404

from labelapp.guidelines.selectors import Reading, protocol_shown, protocols_at_work, reading_of
from labelapp.guidelines.services import example_create, example_withdraw, visit_record
from labelapp.models import Annotator, Batch, Project, Protocol, User
from labelapp.projects.services import protocol_create, protocol_revise
from labelapp.projects.specs import ProtocolSpec
from tests.factories import batch_with_tasks, labeler_make, protocol_make

SPEC = ProtocolSpec(name="Tone", guidelines="Be kind.\n\n## Ties\n\nTies are fine.")


@pytest.fixture
def first(project: Project) -> Protocol:
    return protocol_create(project=project, spec=SPEC, actor=None)


def revised(protocol: Protocol, guidelines: str) -> Protocol:
    return protocol_revise(protocol=protocol, spec=replace(SPEC, guidelines=guidelines), actor=None)


def marked(reading: Reading) -> list[str]:
    return [text.change for shown in reading.sections for text in shown.texts if text.change]


def test_the_first_visit_marks_nothing(annotator: Annotator, first: Protocol) -> None:
    reading = reading_of(annotator=annotator, protocol=first)
    assert (reading.since, reading.last_seen_at, reading.changes) == (None, None, 0)
    assert [shown.section.title for shown in reading.sections] == ["", "Ties"]
    assert "Ties are fine." in reading.sections[1].texts[0].body


def test_what_changed_since_the_last_visit_is_marked(annotator: Annotator, first: Protocol) -> None:
    visit_record(annotator=annotator, protocol=first)
    second = revised(first, "Be kind and exact.\n\n## Ties\n\nTies are fine.\n\nSay so.")
    reading = reading_of(annotator=annotator, protocol=second)
    assert reading.since == first
    assert (marked(reading), reading.changes) == (["changed", "new"], 2)
    assert "Be kind." in (reading.sections[0].texts[0].before or "")
    assert [shown.is_changed for shown in reading.sections] == [True, True]


def test_a_new_heading_is_marked_too(annotator: Annotator, first: Protocol) -> None:
    visit_record(annotator=annotator, protocol=first)
    second = revised(first, SPEC.guidelines + "\n\n## Skips\n\nSkip.")
    reading = reading_of(annotator=annotator, protocol=second)
    assert reading.sections[2].section.change == "new"
    assert reading.changes == 2


def test_versions_between_are_counted_from_the_one_last_seen(annotator: Annotator, first: Protocol) -> None:
    visit_record(annotator=annotator, protocol=first)
    second = revised(first, "Be kind.\n\nOne.\n\n## Ties\n\nTies are fine.")
    third = revised(second, "Be kind.\n\nOne.\n\nTwo.\n\n## Ties\n\nTies are fine.")
    assert reading_of(annotator=annotator, protocol=third).changes == 2


def test_a_second_look_marks_nothing_any_more(annotator: Annotator, first: Protocol) -> None:
    second = revised(first, "Other.")
    for protocol in (first, second):
        visit_record(annotator=annotator, protocol=protocol)
    assert reading_of(annotator=annotator, protocol=second).since is None


def test_an_older_version_than_the_one_seen_has_no_news(annotator: Annotator, first: Protocol) -> None:
    visit_record(annotator=annotator, protocol=revised(first, "Other."))
    assert reading_of(annotator=annotator, protocol=first).since is None


def test_a_version_with_the_same_text_has_no_news(annotator: Annotator, first: Protocol) -> None:
    visit_record(annotator=annotator, protocol=first)
    second = protocol_revise(protocol=first, spec=replace(SPEC, asks_rationale=True), actor=None)
    assert reading_of(annotator=annotator, protocol=second).since is None


def test_any_two_versions_can_be_compared(annotator: Annotator, first: Protocol) -> None:
    second = revised(first, "Other.")
    visit_record(annotator=annotator, protocol=second)
    reading = reading_of(annotator=annotator, protocol=second, compared=str(first.pk))
    assert (reading.since, marked(reading)) == (first, ["changed", "removed", "removed"])


@pytest.mark.parametrize("compared", ["0", "x", ""])
def test_only_a_version_of_the_same_protocol_can_be_compared_with(
    annotator: Annotator, first: Protocol, compared: str
) -> None:
    other = protocol_make(first.project, name="Other")
    for pk in (compared, str(other.pk)):
        with pytest.raises(Http404):
            reading_of(annotator=annotator, protocol=first, compared=pk)


def test_examples_come_newest_first_and_new_ones_are_marked(annotator: Annotator, first: Protocol, omar: User) -> None:
    given = {"project": first.project, "protocol_name": first.name, "actor": omar}
    example_create(title="Old", text="Old case.", **given)
    gone = example_create(title="Gone", text="Gone case.", **given)
    visit_record(annotator=annotator, protocol=first)
    example_create(title="New", text="New case.", **given)
    example_withdraw(example=gone, actor=omar)
    reading = reading_of(annotator=annotator, protocol=first)
    assert [(shown.example.title, shown.is_new) for shown in reading.examples] == [("New", True), ("Old", False)]
    assert reading.examples_new == 1


def test_to_somebody_who_was_never_there_no_example_is_new(annotator: Annotator, first: Protocol, omar: User) -> None:
    example_create(project=first.project, protocol_name=first.name, title="A", text="A.", actor=omar)
    assert reading_of(annotator=annotator, protocol=first).examples_new == 0


def test_visits_are_ones_own(annotator: Annotator, first: Protocol, project: Project) -> None:
    visit_record(annotator=labeler_make(project, "lou"), protocol=first)
    assert reading_of(annotator=annotator, protocol=revised(first, "Other.")).since is None


def test_hits_are_counted_in_text_and_examples(annotator: Annotator, first: Protocol, omar: User) -> None:
    example_create(project=first.project, protocol_name=first.name, title="A", text="No ties here.", actor=omar)
    reading = reading_of(annotator=annotator, protocol=first, query="TIES")
    assert reading.hits == 2
    assert "<mark>Ties</mark> are fine" in reading.sections[1].texts[0].body
    assert "<mark>ties</mark>" in reading.examples[0].body


def test_the_newest_version_of_each_protocol_at_work_is_offered(project: Project, first: Protocol) -> None:
    second = revised(first, "Other.")
    urgent, closed = protocol_make(project, name="Urgent"), protocol_make(project, name="Closed")
    batch_with_tasks(project, first, tasks=1)
    batch_with_tasks(project, second, tasks=1)
    batch_with_tasks(project, urgent, tasks=1, priority=9)
    Batch.objects.filter(pk=batch_with_tasks(project, closed, tasks=1).pk).update(state=Batch.State.CLOSED)
    assert protocols_at_work(project) == [urgent, second]


def test_without_work_the_protocol_written_last_is_shown(project: Project, first: Protocol) -> None:
    latest = protocol_make(project, name="Latest")
    assert protocol_shown(project, None, protocols_at_work(project)) == latest
    assert protocol_shown(project, str(first.pk), []) == first


def test_a_project_without_protocols_has_nothing_to_show(project: Project) -> None:
    assert protocol_shown(project, None, []) is None


@pytest.mark.parametrize("pk", ["", "0", "x", "9" * 40])
def test_a_version_that_is_not_there_is_not_found(project: Project, first: Protocol, pk: str) -> None:
    elsewhere = protocol_make(Project.objects.create(name="Other", slug="other"))
    for asked in (pk, str(elsewhere.pk)):
        with pytest.raises(Http404):
            protocol_shown(project, asked, [])
