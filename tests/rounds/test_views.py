"""The pages of rounds, as each of the cast sees them."""

from collections.abc import Callable

import pytest
from django.test import Client
from django.urls import reverse

from labelapp.demo.panel_work import panel_add
from labelapp.models import Job, ModelVersion, Project, Protocol, Round, User
from labelapp.rounds.options import RoundOptions
from labelapp.rounds.services import round_next, round_start
from tests.factories import prompt_make
from tests.query_counts import query_count
from tests.rounds.conftest import Steps

pytestmark = pytest.mark.django_db
Sign = Callable[[User], Client]


def url(project: Project, tail: str = "") -> str:
    return f"/projects/{project.slug}/rounds/{tail}"


def form_of(project: Project, base: ModelVersion, **changes: str) -> dict[str, str]:
    """The form of a new round, filled in."""
    return {
        "policy": str(base.pk),
        "labels": "new",
        "prompts": "12",
        "split": "",
        "protocol": str(Protocol.objects.get(project=project).pk),
        "overlap": "1",
        "shared_percent": "10",
        "shared_overlap": "3",
        "anchor": "first",
        "sampling-n": "3",
        "sampling-temperature": "0.7",
        "sampling-top_p": "1.0",
        "sampling-max_tokens": "64",
        "sampling-seed": "5",
        "reward-learning_rate": "0.0005",
        "reward-epochs": "2",
        "reward-max_length": "128",
        "reward-ties": "soft",
        "preference-learning_rate": "0.0005",
        "preference-epochs": "3",
        "preference-max_length": "128",
        "preference-beta": "0.2",
        "preference-nll_weight": "0.2",
        **changes,
    }


# --- The form ---------------------------------------------------------------------------------------------------------


def test_an_admin_starts_a_round(
    project: Project, base: ModelVersion, protocol: Protocol, omar: User, client_of: Sign
) -> None:
    response = client_of(omar).post(url(project, "new/"), form_of(project, base))
    made = Round.objects.get()
    assert (response.status_code, response["Location"]) == (302, url(project, "1/"))
    assert (made.policy, made.created_by) == (base, omar)
    options = made.options
    assert (options["prompts"], options["sampling"]["n"], options["sampling"]["temperature"]) == (12, 3, 0.7)
    assert options["reward"] == {"learning_rate": 0.0005, "epochs": 2, "max_length": 128, "ties": "soft"}
    assert (options["preference"]["beta"], options["protocol"]) == (0.2, protocol.pk)


def test_the_form_shows_what_was_chosen_last(
    project: Project, base: ModelVersion, protocol: Protocol, omar: User, client_of: Sign
) -> None:
    options = RoundOptions(prompts=77, protocol=protocol.pk, preference={"beta": 0.35})
    round_start(project=project, policy=base, options=options, created_by=omar)
    page = client_of(omar).get(url(project, "new/")).content.decode()
    assert 'name="prompts" value="77"' in page
    assert 'name="preference-beta" value="0.35"' in page


def test_choices_that_the_form_does_not_show_are_kept(
    project: Project, base: ModelVersion, protocol: Protocol, omar: User, client_of: Sign
) -> None:
    options = RoundOptions(sampling={"stop": ["END"]}, reward={"weight_decay": 0.1})
    round_start(project=project, policy=base, options=options, created_by=omar)
    client_of(omar).post(url(project, "new/"), form_of(project, base))
    made = Round.objects.get(number=2)
    assert (made.options["sampling"]["stop"], made.options["reward"]["weight_decay"]) == (["END"], 0.1)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"sampling-n": "12"}, "completions per prompt (n): it must be from 2 to 9"),
        ({"prompts": "0"}, "greater than or equal to 1"),
        ({"preference-beta": "hot"}, "Enter a number"),
        ({"shared_overlap": "1", "overlap": "2"}, "shared_overlap: it must be from 2"),
        ({"policy": "999999"}, "not one of the available choices"),
    ],
)
def test_a_form_that_cannot_be_done_comes_back(
    project: Project,
    base: ModelVersion,
    protocol: Protocol,
    omar: User,
    client_of: Sign,
    changes: dict[str, str],
    said: str,
) -> None:
    response = client_of(omar).post(url(project, "new/"), form_of(project, base, **changes))
    assert response.status_code == 422
    assert said in response.content.decode()
    assert not Round.objects.exists()


def test_only_models_that_can_write_are_offered(
    project: Project, base: ModelVersion, omar: User, client_of: Sign
) -> None:
    ModelVersion.objects.create(project=project, name="judge-of-all", kind="reward", state="ready", location="/x")
    page = client_of(omar).get(url(project, "new/")).content.decode()
    assert ">tiny</option>" in page
    assert "judge-of-all" not in page


# --- The page ---------------------------------------------------------------------------------------------------------


def test_the_page_tells_the_ring_in_words(steps: Steps, rita: User, client_of: Sign) -> None:
    page = client_of(rita).get(url(steps.all().found.project, "1/")).content.decode()
    for said in ("4 of 4 labels", "70.0 % of 90 held-out pairs right", "round-1-preference", "Done"):
        assert said in page
    assert page.count("ring-station") == 5
    assert "<style" not in page
    assert " style=" not in page


def test_admins_have_the_button_of_the_step_and_reviewers_have_none(
    steps: Steps, omar: User, rita: User, client_of: Sign
) -> None:
    found = steps.sampled().found
    action = f'action="{url(found.project, "1/label/")}"'
    assert action in client_of(omar).get(url(found.project, "1/")).content.decode()
    assert "<form method" not in client_of(rita).get(url(found.project, "1/")).content.decode().split('id="ring"')[1]


def test_the_panel_is_offered_where_there_is_one(steps: Steps, omar: User, client_of: Sign) -> None:
    found = steps.sampled().labelled(filled=1).found
    button = f'action="/projects/{found.project.slug}/batches/{found.batch_id}/panel/"'
    assert button not in client_of(omar).get(url(found.project, "1/")).content.decode()
    panel_add(project=found.project, actor=None)
    assert button in client_of(omar).get(url(found.project, "1/")).content.decode()


def test_the_page_asks_again_only_while_something_is_at_work(steps: Steps, rita: User, client_of: Sign) -> None:
    client = client_of(rita)
    assert "hx-get" not in _ring_of(client, steps.found)
    steps.sampled("running")
    assert "hx-get" in _ring_of(client, steps.found)


def _ring_of(client: Client, found: Round) -> str:
    return client.get(url(found.project, f"{found.number}/")).content.decode().split('id="ring"')[1]


def test_progress_says_nothing_until_something_changes(steps: Steps, rita: User, client_of: Sign) -> None:
    found, client = steps.sampled("running").found, client_of(rita)
    first = client.get(url(found.project, "1/progress/"))
    seen = first.context["version"]
    assert client.get(url(found.project, f"1/progress/?seen={seen}")).status_code == 204
    Job.objects.filter(kind="sample").update(message="3 of 8 written")
    again = client.get(url(found.project, f"1/progress/?seen={seen}"))
    assert again.status_code == 200
    assert "3 of 8 written" in again.content.decode()


# --- The steps --------------------------------------------------------------------------------------------------------


def test_a_step_is_started_by_its_button(found: Round, omar: User, client_of: Sign) -> None:
    prompt_make(found.project)
    response = client_of(omar).post(url(found.project, "1/sample/"))
    found.refresh_from_db()
    assert (response.status_code, response["Location"]) == (302, url(found.project, "1/"))
    assert found.sampling


def test_a_step_before_its_turn_is_refused_in_words(found: Round, omar: User, client_of: Sign) -> None:
    response = client_of(omar).post(url(found.project, "1/reward/"))
    assert response.status_code == 409
    assert "comes after “Freeze”" in response.content.decode()


def test_the_last_button_leads_to_the_next_round(steps: Steps, omar: User, client_of: Sign) -> None:
    response = client_of(omar).post(url(steps.all().found.project, "1/next/"))
    assert response["Location"] == url(steps.found.project, "2/")


@pytest.mark.parametrize(("step", "method", "status"), [("dance", "post", 404), ("sample", "get", 405)])
def test_there_are_no_other_steps(
    found: Round, omar: User, client_of: Sign, step: str, method: str, status: int
) -> None:
    assert getattr(client_of(omar), method)(url(found.project, f"1/{step}/")).status_code == status


# --- Who may ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("tail", "method", "lena_gets", "rita_gets", "omar_gets"),
    [
        ("", "get", 403, 200, 200),
        ("new/", "get", 403, 403, 200),
        ("1/", "get", 403, 200, 200),
        ("1/progress/", "get", 403, 200, 200),
        ("1/freeze/", "post", 403, 403, 302),
        ("9/", "get", 403, 404, 404),
    ],
)
def test_who_gets_what(
    steps: Steps,
    lena: User,
    rita: User,
    omar: User,
    stan: User,
    client_of: Sign,
    tail: str,
    method: str,
    lena_gets: int,
    rita_gets: int,
    omar_gets: int,
) -> None:
    address = url(steps.sampled().labelled().found.project, tail)
    got = [getattr(client_of(person), method)(address).status_code for person in (stan, lena, rita, omar)]
    assert got == [404, lena_gets, rita_gets, omar_gets]
    assert getattr(Client(), method)(address).status_code == 302


def test_a_round_of_another_project_is_not_found(found: Round, omar: User, client_of: Sign) -> None:
    other = Project.objects.create(name="Other", slug="other")
    other.memberships.create(user=omar, role="admin")
    assert client_of(omar).get(url(other, "1/")).status_code == 404


def test_the_list_costs_the_same_for_many_rounds(
    steps: Steps, rita: User, client_of: Sign, steps_of: Callable[[Round], Steps]
) -> None:
    found, client = steps.all().found, client_of(rita)
    one = query_count(client, url(found.project))
    for _ in range(3):
        found = steps_of(round_next(round=found, actor=None)).all().found
    assert query_count(client, url(found.project)) == one
    page = client.get(url(found.project)).content.decode()
    assert page.count("Round ") >= 4


def test_addresses(project: Project) -> None:
    assert reverse("round", args=[project.slug, 3]) == url(project, "3/")
    assert reverse("round_step", args=[project.slug, 3, "next"]) == url(project, "3/next/")
