"""Going back to an answer: what takes its place, what stays as it was, and until when."""

import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.utils import timezone

from labelapp.labeling.services.seats import seats_expire
from labelapp.models import Annotation, Completion, Project, Protocol, Rating, Seat, User
from tests.factories import batch_with_tasks, labeler_make, protocol_make, snapshot_make

ClientOf = Callable[[User], Client]
LABEL = "/projects/garden-helper/label/"
JUDGEMENT = {"ranking": "A B=C D", **{f"likert-{letter}": "5" for letter in "ABCD"}}


def slip_of(html: str) -> str:
    found = re.search(r'name="seating" value="([^"]+)"', html)
    assert found is not None
    return found[1]


def answer(client: Client, **fields: str) -> int:
    """Take the next task and answer it; returns the task's id."""
    html = client.get(LABEL).content.decode()
    found = re.search(r'action="/label/(\d+)/submit/"', html)
    assert found is not None
    given = {**JUDGEMENT, "seating": slip_of(html), **fields}
    assert client.post(f"/label/{found[1]}/submit/", given).status_code == 302
    return int(found[1])


def correct(client: Client, pk: int, **fields: str) -> Any:
    html = client.get(f"/label/{pk}/correct/").content.decode()
    return client.post(f"/label/{pk}/correct/", {**JUDGEMENT, "seating": slip_of(html), **fields})


@pytest.fixture
def client(client_of: ClientOf, lena: User) -> Client:
    return client_of(lena)


def test_a_correction_takes_the_place_of_the_first_answer(client: Client, project: Project, protocol: Protocol) -> None:
    batch_with_tasks(project, protocol, tasks=1)
    pk = answer(client)
    seat = Seat.objects.values().get()
    response = correct(client, pk, **{"ranking": "D A B C", "likert-D": "7", "answer-D-harmful": "yes"})
    assert (response.status_code, response["Location"]) == (302, "/projects/garden-helper/mine/")
    first, second = Annotation.objects.order_by("pk")
    assert (second.supersedes_id, second.seat_id, second.surplus) == (first.pk, first.seat_id, False)
    assert second.ranking[0] == [second.order_shown[3]]
    assert Rating.objects.filter(annotation=second).count() == Rating.objects.filter(annotation=first).count() == 4
    assert Rating.objects.get(annotation=second, slot=second.order_shown[3]).answers["harmful"] == "yes"
    assert Seat.objects.values().get() == seat


def test_the_page_shows_what_was_said_last(client: Client, project: Project, protocol: Protocol) -> None:
    batch_with_tasks(project, protocol, tasks=1)
    pk = answer(client, **{"likert-B": "2", "answer-B-harmful": "no", "bulk-B": "harmful", "answer-ambiguous": "yes"})
    correct(client, pk, **{"ranking": "C B A=D", "likert-B": "2", "answer-B-harmful": "no", "bulk-B": "harmful"})
    html = client.get(f"/label/{pk}/correct/").content.decode()
    assert f'action="/label/{pk}/correct/"' in html
    assert 'value="C B A=D"' in html
    assert re.search(r'name="likert-B" value="2" checked', html)
    assert re.search(r'name="answer-B-harmful" value="no" checked', html)
    assert 'name="bulk-B" value="harmful"' in html
    assert "data-draft-url" not in html
    assert Annotation.objects.count() == 2


@pytest.mark.parametrize("step", ["1", "4", "5", "8"])
def test_the_step_between_two_completions_is_shown_again(
    client: Client, project: Project, protocol: Protocol, step: str
) -> None:
    batch_with_tasks(project, protocol, tasks=1, k=2)
    pk = answer(client, preference=step)
    html = client.get(f"/label/{pk}/correct/").content.decode()
    assert re.findall(r'name="preference" value="(\d)" checked', html) == [step]


def test_both_stages_are_corrected_on_one_page(client: Client, project: Project) -> None:
    batch_with_tasks(project, protocol_make(project, name="Two", layout="two_stage"), tasks=1)
    answer(client, stage="rate")
    pk = answer(client, stage="rank")
    assert correct(client, pk, ranking="B A C D").status_code == 302
    assert Annotation.objects.count() == 2


def test_a_correction_with_problems_comes_back(client: Client, project: Project, protocol: Protocol) -> None:
    batch_with_tasks(project, protocol, tasks=1)
    pk = answer(client)
    response = correct(client, pk, ranking="A B")
    assert response.status_code == 422
    assert "Still to be placed: C, D" in response.content.decode()
    assert Annotation.objects.count() == 1


def test_the_same_correction_again_is_one(client: Client, project: Project, protocol: Protocol) -> None:
    batch_with_tasks(project, protocol, tasks=1)
    pk = answer(client)
    fields = {**JUDGEMENT, "seating": slip_of(client.get(f"/label/{pk}/correct/").content.decode())}
    assert [client.post(f"/label/{pk}/correct/", fields).status_code for _ in range(2)] == [302, 302]
    assert Annotation.objects.count() == 2


def test_two_tabs_correct_one_after_the_other(client: Client, project: Project, protocol: Protocol) -> None:
    batch_with_tasks(project, protocol, tasks=1)
    pk = answer(client)
    slips = [slip_of(client.get(f"/label/{pk}/correct/").content.decode()) for _ in range(2)]
    codes = [client.post(f"/label/{pk}/correct/", {**JUDGEMENT, "seating": slip}).status_code for slip in slips]
    assert codes == [302, 409]
    assert Annotation.objects.count() == 2


def test_what_was_surplus_stays_surplus(
    client: Client, client_of: ClientOf, project: Project, protocol: Protocol
) -> None:
    batch_with_tasks(project, protocol, tasks=1)
    html = client.get(LABEL).content.decode()
    Seat.objects.update(lease_until=timezone.now() - timedelta(seconds=1))
    seats_expire()
    other = labeler_make(project, "mia")
    assert other.user is not None
    client_of(other.user).get(LABEL)
    pk = Seat.objects.get().task_id
    client.post(f"/label/{pk}/submit/", {**JUDGEMENT, "seating": slip_of(html)})
    correct(client, pk, ranking="D C B A")
    assert list(Annotation.objects.values_list("surplus", "seat_id")) == [(True, None)] * 2


def made_earlier(hours: int) -> None:
    """Annotations never change; erasing is the one reason to, and this test pretends."""
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL labelapp.erasing = 'on'")
        cursor.execute("UPDATE labelapp_annotation SET created_at = now() - make_interval(hours => %s)", [hours])


def test_after_a_day_it_is_settled(client: Client, project: Project, protocol: Protocol) -> None:
    batch_with_tasks(project, protocol, tasks=1)
    pk = answer(client)
    slip = slip_of(client.get(f"/label/{pk}/correct/").content.decode())
    made_earlier(hours=25)
    late = client.post(f"/label/{pk}/correct/", {**JUDGEMENT, "seating": slip})
    assert (late.status_code, client.get(f"/label/{pk}/correct/").status_code) == (409, 409)
    assert "more than 24 hours ago" in late.content.decode()
    assert Annotation.objects.count() == 1


def test_a_snapshot_settles_it(client: Client, project: Project, protocol: Protocol) -> None:
    batch_with_tasks(project, protocol, tasks=2)
    snapshot_make(project)
    pk = answer(client)
    assert client.get(f"/label/{pk}/correct/").status_code == 200
    made_earlier(hours=1)
    told = client.get(f"/label/{pk}/correct/")
    assert told.status_code == 409
    assert "snapshot" in told.content.decode()


@pytest.mark.parametrize(
    ("options", "is_frozen"),
    [({"settled_hours": 0.0}, True), ({"settled_hours": 24.0}, False), ({"demonstrations": False}, True)],
)
def test_only_a_snapshot_that_could_hold_it_settles_it(
    client: Client, project: Project, protocol: Protocol, options: dict[str, object], is_frozen: bool
) -> None:
    """The page of the correction and My work say the same."""
    batch_with_tasks(project, protocol, tasks=1)
    pk = answer(client)
    made_earlier(hours=2)
    snapshot_make(project, options=options)
    assert client.get(f"/label/{pk}/correct/").status_code == (409 if is_frozen else 200)
    assert (f"/label/{pk}/correct/" in client.get("/projects/garden-helper/mine/").text) is not is_frozen


def test_only_ones_own_answer_can_be_corrected(
    client: Client, client_of: ClientOf, project: Project, protocol: Protocol, rita: User, stan: User
) -> None:
    batch_with_tasks(project, protocol, tasks=2)
    pk = answer(client)
    for person in (rita, stan):
        assert client_of(person).get(f"/label/{pk}/correct/").status_code == 404
        assert client_of(person).post(f"/label/{pk}/correct/", {}).status_code == 404
    client.get(LABEL)
    held = Seat.objects.get(state=Seat.State.HELD).task_id
    assert client.get(f"/label/{held}/correct/").status_code == 404


def test_the_improved_text_becomes_a_completion_of_the_labelers(client: Client, project: Project) -> None:
    batch_with_tasks(project, protocol_make(project, name="Edit", asks_edit=True), tasks=2)
    pk = answer(client, edit="Cut it back in winter.\r\n", edit_of="A")
    said = Annotation.objects.get()
    assert said.edit is not None
    assert said.edit.text == "Cut it back in winter."
    assert (said.edit.model_version.name, said.edit.model_version.kind) == ("Edited by labelers", "human")
    assert said.edit_of == said.order_shown[0]
    assert "Cut it back in winter.</textarea>" in client.get(f"/label/{pk}/correct/").content.decode()
    answer(client, edit="Never prune it.", edit_of="A")
    assert Completion.objects.filter(model_version__name="Edited by labelers").count() == 2
    assert len({row.edit.model_version_id for row in Annotation.objects.all() if row.edit}) == 1
