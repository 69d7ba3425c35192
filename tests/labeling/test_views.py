import re
from collections.abc import Callable
from datetime import timedelta

import pytest
from django.db import connection
from django.test import Client
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from labelapp.accounts.services import membership_end
from labelapp.labeling.services.batches import PromptChoice, tasks_create
from labelapp.labeling.services.seats import seats_expire
from labelapp.models import (
    Annotation,
    Batch,
    Completion,
    Draft,
    Membership,
    ModelVersion,
    Project,
    Protocol,
    Seat,
    TaskSkip,
    User,
)
from tests.factories import batch_with_tasks, completion_make, labeler_make, prompt_make, protocol_make

ClientOf = Callable[[User], Client]
JUDGEMENT = {"ranking": "A B=C D", **{f"likert-{letter}": "5" for letter in "ABCD"}}


@pytest.fixture
def batch(project: Project, protocol: Protocol) -> Batch:
    return batch_with_tasks(project, protocol, tasks=3)


def open_task(client: Client) -> tuple[int, str, str]:
    """Take the next task; return its id, the signed slip and the page."""
    html = client.get("/projects/garden-helper/label/").content.decode()
    found = re.search(r'action="/label/(\d+)/submit/"', html)
    slip = re.search(r'name="seating" value="([^"]+)"', html)
    assert found is not None
    assert slip is not None
    return int(found[1]), slip[1], html


def test_the_page_shows_prompt_and_every_completion(client_of: ClientOf, lena: User, batch: Batch) -> None:
    _pk, _slip, html = open_task(client_of(lena))
    seat = Seat.objects.get(state=Seat.State.HELD)
    assert seat.task.prompt.messages[0]["content"] in html
    for completion in Completion.objects.filter(task_completions__task=seat.task):
        assert completion.text in html
    assert html.count('class="completion"') == 4


def test_the_page_is_blind(client_of: ClientOf, lena: User, project: Project, protocol: Protocol) -> None:
    """No model's name and no completion's id, in the page or its headers."""
    with connection.cursor() as cursor:  # ids that are no other number of the page
        cursor.execute("SELECT setval(pg_get_serial_sequence('labelapp_completion', 'id'), 7000000)")
    batch_with_tasks(project, protocol, tasks=1)
    ModelVersion.objects.update(name="secret-model-7b")
    Completion.objects.update(sampling={})
    response = client_of(lena).get("/projects/garden-helper/label/")
    html = response.content.decode()
    assert "secret-model" not in html + str(response.headers)
    slip = re.search(r'name="seating" value="([^"]+)"', html)
    assert slip is not None
    without_slip = html.replace(slip[1], "")
    for pk in Completion.objects.values_list("pk", flat=True):
        assert f'"{pk}"' not in without_slip


def test_a_reload_shows_the_same_task_in_the_same_order(client_of: ClientOf, lena: User, batch: Batch) -> None:
    client = client_of(lena)
    pages = [re.findall(r"Answer number (\d)", open_task(client)[2]) for _ in range(2)]
    assert pages[0] == pages[1]


def test_orders_differ_between_tasks_and_people(
    client_of: ClientOf, lena: User, project: Project, protocol: Protocol
) -> None:
    batch_with_tasks(project, protocol, tasks=8)
    client, orders = client_of(lena), set()
    for _ in range(8):
        pk, slip, html = open_task(client)
        orders.add(tuple(re.findall(r"Answer number (\d)", html)))
        client.post(f"/label/{pk}/submit/", {**JUDGEMENT, "seating": slip})
    assert len(orders) > 2


def test_submit_stores_and_goes_on(client_of: ClientOf, lena: User, batch: Batch) -> None:
    client = client_of(lena)
    pk, slip, html = open_task(client)
    response = client.post(f"/label/{pk}/submit/", {**JUDGEMENT, "seating": slip, "answer-A-harmful": "yes"})
    assert response.status_code == 302
    assert response["Location"] == "/projects/garden-helper/label/"
    annotation = Annotation.objects.get()
    shown = [int(number) for number in re.findall(r"Answer number (\d)", html)]
    best = annotation.task.task_completions.get(slot=annotation.ranking[0][0]).completion
    assert best.text.endswith(f"Answer number {shown[0]}.")
    assert annotation.ratings.get(slot=annotation.order_shown[0]).answers["harmful"] == "yes"
    assert open_task(client)[0] != pk


def test_a_repeated_submit_is_answered_alike(client_of: ClientOf, lena: User, batch: Batch) -> None:
    client = client_of(lena)
    pk, slip, _html = open_task(client)
    codes = [client.post(f"/label/{pk}/submit/", {**JUDGEMENT, "seating": slip}).status_code for _ in range(3)]
    assert codes == [302, 302, 302]
    assert Annotation.objects.count() == 1


def test_a_form_with_problems_comes_back_as_it_was(client_of: ClientOf, lena: User, batch: Batch) -> None:
    client = client_of(lena)
    pk, slip, _html = open_task(client)
    fields = {**JUDGEMENT, "seating": slip, "ranking": "A B", "likert-C": ""}
    response = client.post(f"/label/{pk}/submit/", fields)
    html = response.content.decode()
    assert response.status_code == 422
    assert "Still to be placed: C, D" in html
    assert "Rate completion C from 1 to 7" in html
    assert 'value="A B"' in html
    assert re.search(r'name="likert-A" value="5" checked', html)
    assert not Annotation.objects.exists()
    assert client.post(f"/label/{pk}/submit/", {**JUDGEMENT, "seating": slip}).status_code == 302


def test_a_draft_is_saved_and_shown_again(client_of: ClientOf, lena: User, batch: Batch) -> None:
    client = client_of(lena)
    pk, slip, _html = open_task(client)
    fields = {"seating": slip, "ranking": "D C", "likert-B": "3", "revision": "1"}
    response = client.post(f"/label/{pk}/draft/", fields)
    assert response.json()["seat"] == "held"
    html = open_task(client)[2]
    assert 'value="D C"' in html
    assert re.search(r'name="likert-B" value="3" checked', html)
    assert "seating" not in Draft.objects.get().content


def test_a_stale_draft_is_refused(client_of: ClientOf, lena: User, batch: Batch) -> None:
    client = client_of(lena)
    pk, slip, _html = open_task(client)
    fields = {"seating": slip, "ranking": "D", "revision": "5"}
    assert client.post(f"/label/{pk}/draft/", fields).status_code == 200
    response = client.post(f"/label/{pk}/draft/", fields)
    assert response.status_code == 409
    assert "another tab" in response.json()["problem"]


@pytest.mark.parametrize("revision", ["", "x", "-1", "9" * 30])
def test_a_malformed_revision_is_a_clear_refusal(client_of: ClientOf, lena: User, batch: Batch, revision: str) -> None:
    client = client_of(lena)
    pk, slip, _html = open_task(client)
    response = client.post(f"/label/{pk}/draft/", {"seating": slip, "revision": revision})
    assert response.status_code == 400
    assert "no revision number" in response.json()["problem"]


def test_every_refused_draft_says_its_sentence(client_of: ClientOf, lena: User, batch: Batch) -> None:
    client = client_of(lena)
    pk, slip, _html = open_task(client)
    too_long = client.post(f"/label/{pk}/draft/", {"seating": slip, "revision": "1", "rationale": "x" * 200_001})
    forged = client.post(f"/label/{pk}/draft/", {"seating": "junk", "revision": "1"})
    assert (too_long.status_code, forged.status_code) == (400, 400)
    assert "too long to keep" in too_long.json()["problem"]
    assert "damaged" in forged.json()["problem"]


def test_nul_characters_are_left_out(client_of: ClientOf, lena: User, batch: Batch) -> None:
    """PostgreSQL can store them neither in a text nor in a draft's names."""
    client = client_of(lena)
    pk, slip, _html = open_task(client)
    fields = {"seating": slip, "revision": "1", "answer-\x00A-harmful": "y\x00es"}
    assert client.post(f"/label/{pk}/draft/", fields).status_code == 200
    assert Draft.objects.get().content == {"answer-A-harmful": "yes"}
    client.post(f"/label/{pk}/skip/", {"seating": slip, "reason": "broken", "note": "no\x00 picture "})
    assert TaskSkip.objects.get().note == "no picture"


def test_a_rationale_that_is_too_long_comes_back_with_its_problem(
    client_of: ClientOf, lena: User, project: Project
) -> None:
    batch_with_tasks(project, protocol_make(project, name="Why", asks_rationale=True), tasks=1)
    client = client_of(lena)
    pk, slip, html = open_task(client)
    assert 'maxlength="50000"' in html
    response = client.post(f"/label/{pk}/submit/", {**JUDGEMENT, "seating": slip, "rationale": "x" * 50_001})
    assert response.status_code == 422
    assert 'id="about-rationale"' in response.content.decode()
    assert not Annotation.objects.exists()


def test_a_heartbeat_tells_whether_the_seat_is_still_held(client_of: ClientOf, lena: User, batch: Batch) -> None:
    client = client_of(lena)
    pk, _slip, _html = open_task(client)
    beat = f"/label/{pk}/heartbeat/"
    assert client.post(beat, {"idle_seconds": "3"}).json() == {"seat": "held", "ahead": ""}
    Seat.objects.filter(state=Seat.State.HELD).update(lease_until=timezone.now() - timedelta(seconds=1))
    seats_expire()
    assert client.post(beat, {"idle_seconds": "x"}).json() == {"seat": "given away", "ahead": ""}


def test_skip_goes_to_another_task(client_of: ClientOf, lena: User, batch: Batch) -> None:
    client = client_of(lena)
    pk, slip, _html = open_task(client)
    response = client.post(f"/label/{pk}/skip/", {"seating": slip, "reason": "unclear"})
    assert response["Location"] == "/projects/garden-helper/label/"
    assert TaskSkip.objects.get().reason == "unclear"
    assert open_task(client)[0] != pk


def test_nothing_left_is_said_with_what_others_hold(
    client_of: ClientOf, lena: User, project: Project, protocol: Protocol
) -> None:
    client = client_of(lena)
    assert "Everything open to you" in client.get("/projects/garden-helper/label/").content.decode()
    batch_with_tasks(project, protocol, tasks=1)
    other = labeler_make(project, "mia")
    assert other.user is not None
    client_of(other.user).get("/projects/garden-helper/label/")
    assert "working on 1 task;" in client.get("/projects/garden-helper/label/").content.decode()


def test_who_was_signed_out_comes_back_to_the_task(client_of: ClientOf, lena: User, batch: Batch) -> None:
    """The sign-in page leads on by GET, which the addresses of forms pass on to the task."""
    pk, slip, _html = open_task(client_of(lena))
    sent = Client().post(f"/label/{pk}/submit/", {**JUDGEMENT, "seating": slip})
    assert sent["Location"] == f"/accounts/login/?next=/label/{pk}/"
    for action in ("draft", "skip", "submit"):
        assert client_of(lena).get(f"/label/{pk}/{action}/")["Location"] == f"/label/{pk}/"
    assert not Annotation.objects.exists()


def test_the_script_is_told_that_its_person_was_signed_out(client_of: ClientOf, lena: User, batch: Batch) -> None:
    pk, slip, _html = open_task(client_of(lena))
    for action in ("draft", "heartbeat", "skip", "submit"):
        fields = {**JUDGEMENT, "seating": slip, "revision": "1"}
        response = Client().post(f"/label/{pk}/{action}/", fields, headers={"X-Requested-With": "fetch"})
        assert response.status_code == 401
        assert "Sign in again" in response.json()["problem"]
    assert not Annotation.objects.exists()
    assert not Draft.objects.exists()


def test_a_late_submit_says_that_it_is_kept(
    client_of: ClientOf, lena: User, project: Project, protocol: Protocol
) -> None:
    batch_with_tasks(project, protocol, tasks=1)
    client = client_of(lena)
    pk, slip, _html = open_task(client)
    Seat.objects.update(lease_until=timezone.now() - timedelta(seconds=1))
    seats_expire()
    other = labeler_make(project, "mia")
    assert other.user is not None
    client_of(other.user).get("/projects/garden-helper/label/")
    response = client.post(f"/label/{pk}/submit/", {**JUDGEMENT, "seating": slip})
    assert Annotation.objects.get().surplus
    assert "It is kept" in client.get(response["Location"]).content.decode()


def test_a_task_page_opens_only_for_its_holder_or_drafter(
    client_of: ClientOf, lena: User, project: Project, batch: Batch
) -> None:
    client = client_of(lena)
    pk, slip, _html = open_task(client)
    other = labeler_make(project, "mia")
    assert other.user is not None
    assert client.get(f"/label/{pk}/").status_code == 200
    assert client_of(other.user).get(f"/label/{pk}/")["Location"] == "/projects/garden-helper/label/"
    client.post(f"/label/{pk}/draft/", {"seating": slip, "ranking": "A", "revision": "1"})
    Seat.objects.update(state="open", annotator=None, held_at=None, lease_until=None, input_at=None)
    html = client.get(f"/label/{pk}/").content.decode()
    assert "given to somebody else while you were away" in html


def test_two_stages_rate_first_and_then_rank(client_of: ClientOf, lena: User, project: Project) -> None:
    batch_with_tasks(project, protocol_make(project, name="Two", layout="two_stage"), tasks=1)
    client = client_of(lena)
    pk, slip, html = open_task(client)
    assert 'name="ranking"' not in html
    ratings = {"seating": slip, "stage": "rate", "answer-B-harmful": "yes", **JUDGEMENT, "ranking": ""}
    unrated = client.post(f"/label/{pk}/submit/", {**ratings, "likert-D": ""})
    assert unrated.status_code == 422
    assert client.post(f"/label/{pk}/submit/", ratings).status_code == 302
    assert not Annotation.objects.exists()
    _pk, slip, html = open_task(client)
    assert "<strong>5</strong> / 7" in html
    assert 'name="ranking"' in html
    client.post(f"/label/{pk}/submit/", {"seating": slip, "stage": "rank", "back": "1", **JUDGEMENT})
    html = open_task(client)[2]
    assert 'id="ranking"' not in html
    assert '<input type="hidden" name="ranking" value="A B=C D">' in html
    client.post(f"/label/{pk}/submit/", {**ratings, "ranking": "A B=C D"})
    assert 'value="A B=C D"' in open_task(client)[2]
    client.post(f"/label/{pk}/submit/", {"seating": slip, "stage": "rank", **JUDGEMENT, "answer-B-harmful": "yes"})
    annotation = Annotation.objects.get()
    assert annotation.ratings.get(slot=annotation.order_shown[1]).answers["harmful"] == "yes"
    assert annotation.ranking is not None


@pytest.mark.parametrize("slip", ["", "junk", "WyJhIl0:1abc:def"])
def test_a_forged_slip_is_refused(client_of: ClientOf, lena: User, batch: Batch, slip: str) -> None:
    client = client_of(lena)
    pk, _slip, _html = open_task(client)
    for action in ("draft", "skip", "submit"):
        response = client.post(f"/label/{pk}/{action}/", {**JUDGEMENT, "seating": slip, "revision": "1"})
        assert response.status_code == 400
    assert not Annotation.objects.exists()
    assert not Draft.objects.exists()


def test_another_persons_slip_is_refused(client_of: ClientOf, lena: User, project: Project, batch: Batch) -> None:
    pk, slip, _html = open_task(client_of(lena))
    other = labeler_make(project, "mia")
    assert other.user is not None
    response = client_of(other.user).post(f"/label/{pk}/submit/", {**JUDGEMENT, "seating": slip})
    assert response.status_code == 400
    assert not Annotation.objects.exists()


def test_someone_whose_membership_ended_is_a_stranger(
    client_of: ClientOf, lena: User, omar: User, project: Project, batch: Batch
) -> None:
    client = client_of(lena)
    pk, slip, _html = open_task(client)
    membership_end(membership=Membership.objects.get(user=lena), actor=omar)
    assert client.get("/projects/garden-helper/label/").status_code == 404
    assert client.post(f"/label/{pk}/submit/", {**JUDGEMENT, "seating": slip}).status_code == 404


def test_a_stranger_finds_nothing(client_of: ClientOf, lena: User, stan: User, batch: Batch) -> None:
    pk, slip, _html = open_task(client_of(lena))
    client = client_of(stan)
    assert client.get("/projects/garden-helper/label/").status_code == 404
    assert client.get(f"/label/{pk}/").status_code == 404
    for action in ("draft", "heartbeat", "skip", "submit"):
        assert client.post(f"/label/{pk}/{action}/", {"seating": slip}).status_code == 404


@pytest.mark.parametrize("k", [2, 4, 9])
def test_the_number_of_queries_does_not_grow_with_k(
    client_of: ClientOf,
    lena: User,
    project: Project,
    protocol: Protocol,
    django_assert_max_num_queries: DjangoAssertNumQueries,
    k: int,
) -> None:
    batch_with_tasks(project, protocol, tasks=2, k=k)
    client = client_of(lena)
    with django_assert_max_num_queries(18):
        client.get("/projects/garden-helper/label/")


def test_html_in_a_completion_is_inert(client_of: ClientOf, lena: User, project: Project, protocol: Protocol) -> None:
    hostile = "<script>alert(1)</script> <img src=x onerror=alert(2)> [x](javascript:alert(3))"
    prompt = prompt_make(project)
    for text in (hostile, hostile + " again"):
        completion_make(prompt, text)
    batch = batch_with_tasks(project, protocol, tasks=0)
    tasks_create(batch=batch, prompt_ids=[prompt.pk], choice=PromptChoice(), probability=1.0, salt=project.salt)
    html = open_task(client_of(lena))[2]
    assert "alert(1)" in html
    assert "<script>alert" not in html
    assert "<img" not in html
    assert 'href="javascript' not in html


def test_unfinished_work_is_offered_at_home(client_of: ClientOf, lena: User, batch: Batch) -> None:
    client = client_of(lena)
    pk, slip, _html = open_task(client)
    client.post(f"/label/{pk}/draft/", {"seating": slip, "ranking": "A", "revision": "1"})
    assert "Unfinished work" not in client.get("/").content.decode()
    Seat.objects.update(state="open", annotator=None, held_at=None, lease_until=None, input_at=None)
    assert f'href="/label/{pk}/"' in client.get("/").content.decode()
    client.post(f"/label/{pk}/submit/", {**JUDGEMENT, "seating": slip})
    assert "Unfinished work" not in client.get("/").content.decode()
