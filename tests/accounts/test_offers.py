"""Home: the batches that are open to a person, roughly how much waits, and why the others are not for them."""

from collections.abc import Callable
from datetime import date

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from labelapp.desk.offers import PLENTY, Offer, offers_for
from labelapp.labeling.services.seats import seat_take, task_skip
from labelapp.models import (
    Annotator,
    Batch,
    BatchTally,
    Pool,
    PracticeExample,
    Project,
    Prompt,
    Protocol,
    Seat,
    TaskSkip,
    TimeEntry,
    User,
)
from tests import factories
from tests.query_counts import query_count

SignIn = Callable[[User], Client]


def _offer(annotator: Annotator) -> Offer:
    annotator.refresh_from_db()
    (offer,) = offers_for([annotator])[annotator.pk]
    return offer


def _pools(**fields: object) -> None:
    Pool.objects.update(**fields)


@pytest.mark.parametrize(
    ("tasks", "words"), [(1, "a few tasks wait"), (9, "a few tasks wait"), (10, "dozens of tasks wait")]
)
def test_it_says_roughly_how_much_waits(
    annotator: Annotator, project: Project, protocol: Protocol, tasks: int, words: str
) -> None:
    factories.batch_with_tasks(project, protocol, tasks=tasks, k=2)
    assert _offer(annotator).roughly == words


def test_it_stops_counting(annotator: Annotator, project: Project, protocol: Protocol) -> None:
    factories.batch_with_tasks(project, protocol, tasks=PLENTY + 3, k=2)
    offer = _offer(annotator)
    assert (offer.waiting, offer.roughly) == (PLENTY, "many tasks wait")


def test_what_the_person_has_done_or_skipped_does_not_wait(
    annotator: Annotator, project: Project, protocol: Protocol
) -> None:
    batch = factories.batch_with_tasks(project, protocol, tasks=3, k=2)
    seat = seat_take(annotator_id=annotator.pk)
    assert seat is not None
    assert _offer(annotator).waiting == 2
    task_skip(annotator_id=annotator.pk, task=seat.task, reason=TaskSkip.Reason.OTHER)
    assert _offer(annotator).waiting == 2
    for task in batch.tasks.all():
        factories.annotation_make(task, annotator)
    offer = _offer(annotator)
    assert (offer.waiting, offer.roughly, offer.why_not) == (0, "nothing for you now", "")
    assert Seat.objects.filter(state=Seat.State.OPEN).count() == 3


@pytest.mark.parametrize(
    ("pool", "why"),
    [
        ({"skills": ["medicine"]}, "It asks for a skill: medicine."),
        ({"language": "de"}, "It is in German, which is not among your languages."),
        ({"sensitivity": ["self-harm"]}, "content that you did not opt in to: Self-harm and suicide."),
    ],
)
def test_it_says_why_a_batch_is_not_for_the_person(
    client_of: SignIn,
    lena: User,
    annotator: Annotator,
    project: Project,
    protocol: Protocol,
    pool: dict[str, object],
    why: str,
) -> None:
    factories.batch_with_tasks(project, protocol, tasks=1, k=2, name="Pears")
    _pools(**pool)
    text = client_of(lena).get(reverse("home")).text
    assert why in text
    assert "1 batch is not open to you" in text
    accepted = {"skills": ["medicine"], "languages": ["en", "de"], "accepts_sensitive": ["self-harm"]}
    Annotator.objects.filter(pk=annotator.pk).update(**accepted)
    text = client_of(lena).get(reverse("home")).text
    assert "is not open to you" not in text
    assert "a few tasks wait" in text


def test_a_batch_that_is_partly_for_the_person_is_open_to_them(
    annotator: Annotator, project: Project, protocol: Protocol
) -> None:
    batch = factories.batch_with_tasks(project, protocol, tasks=2, k=2)
    other = Pool.objects.create(batch=batch, sensitivity=["violence"])
    Seat.objects.filter(pk=Seat.objects.earliest("pk").pk).update(pool=other)
    offer = _offer(annotator)
    assert (offer.waiting, offer.why_not) == (1, "")


def test_a_quota_that_is_reached_closes_the_batch(annotator: Annotator, project: Project, protocol: Protocol) -> None:
    batch = factories.batch_with_tasks(project, protocol, tasks=2, k=2, quota=40)
    BatchTally.objects.create(annotator=annotator, batch=batch, labels=39)
    assert _offer(annotator).why_not == ""
    BatchTally.objects.update(labels=40)
    assert _offer(annotator).why_not == "You have given the 40 labels that one person may give."


def test_only_open_batches_are_offered_the_urgent_first(
    annotator: Annotator, project: Project, protocol: Protocol
) -> None:
    for name, fields in (
        ("later", {"deadline": date(2030, 2, 1)}),
        ("sooner", {"deadline": date(2030, 1, 1)}),
        ("first", {"priority": 5}),
        ("never", {}),
    ):
        factories.batch_with_tasks(project, protocol, tasks=1, k=2, name=name, **fields)
    factories.batch_with_tasks(project, protocol, tasks=1, k=2, name="paused")
    Batch.objects.filter(name="paused").update(state=Batch.State.PAUSED)
    assert [offer.batch.name for offer in offers_for([annotator])[annotator.pk]] == [
        "first",
        "sooner",
        "later",
        "never",
    ]


def test_another_project_offers_nothing_here(annotator: Annotator, project: Project, protocol: Protocol) -> None:
    other = Project.objects.create(name="Other", slug="other")
    factories.batch_with_tasks(other, factories.protocol_make(other), tasks=1, k=2)
    assert offers_for([annotator])[annotator.pk] == []


def test_home_leads_to_writing_where_answers_are_written(
    client_of: SignIn, lena: User, project: Project, protocol: Protocol
) -> None:
    factories.batch_with_tasks(project, protocol, tasks=1, k=2)
    client, home, write = client_of(lena), reverse("home"), reverse("write", args=[project.slug])
    assert write not in client.get(home).text
    Batch.objects.update(work=Batch.Work.DEMONSTRATION)
    text = client.get(home).text
    assert "Write the ideal answer" in text
    assert write in text
    assert "Start labeling" not in text


def test_home_leads_to_writing_prompts_where_the_project_asks_for_them(
    client_of: SignIn, lena: User, project: Project
) -> None:
    client, home = client_of(lena), reverse("home")
    assert "Write prompts" not in client.get(home).text
    Project.objects.update(asks_prompts=True)
    assert "Write prompts" in client.get(home).text


def test_home_offers_practice_until_it_was_done(
    client_of: SignIn, lena: User, annotator: Annotator, project: Project
) -> None:
    client, home, words = client_of(lena), reverse("home"), "Practise on worked examples"
    assert words not in client.get(home).text
    PracticeExample.objects.create(
        project=project, protocol_name="Helpfulness", title="Pears", messages=[], completions=[], ranking=[]
    )
    assert words in client.get(home).text
    TimeEntry.objects.create(annotator=annotator, kind=TimeEntry.Kind.PRACTICE, seconds=60)
    assert words not in client.get(home).text


def test_a_draft_on_sensitive_content_is_named_not_quoted_and_hidden_from_who_opted_out(
    client_of: SignIn, lena: User, annotator: Annotator, project: Project, protocol: Protocol
) -> None:
    factories.batch_with_tasks(project, protocol, tasks=1, k=2, name="Pears")
    seat = seat_take(annotator_id=annotator.pk)
    assert seat is not None
    seat.task.drafts.create(annotator=annotator, opened_at=seat.held_at, saved_at=seat.held_at)
    Seat.objects.filter(pk=seat.pk).delete()
    client, home = client_of(lena), reverse("home")
    assert "Pears: question 0?" in client.get(home).text
    Prompt.objects.update(sensitivity=["hate"])
    assert "Unfinished work" not in client.get(home).text
    Annotator.objects.update(accepts_sensitive=["hate"])
    text = client.get(home).text
    assert "Pears: question 0?" not in text
    assert "Hate against groups of people" in text
    Prompt.objects.update(quarantined_at=timezone.now())
    assert "Unfinished work" not in client.get(home).text
    assert client.get(reverse("task", args=[seat.task_id])).status_code == 302


def test_it_costs_the_same_for_1_batch_as_for_12(
    client_of: SignIn, lena: User, project: Project, protocol: Protocol
) -> None:
    factories.batch_with_tasks(project, protocol, tasks=1, k=2)
    client = client_of(lena)
    few = query_count(client, reverse("home"))
    for _ in range(11):
        factories.batch_with_tasks(project, protocol, tasks=1, k=2)
    assert query_count(client, reverse("home")) == few <= 12
