"""The pages of sampling, as each of the cast sees them."""

from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client
from pytest_django import Settings

from labelapp.generation.sampling import SampleChoice
from labelapp.models import Completion, Job, ModelVersion, Project, User
from tests.factories import model_make, prompt_make
from tests.generation.conftest import MakeModel, do, prompts_make, sample
from tests.query_counts import query_count

ClientOf = Callable[[User], Client]
PAGES = "/projects/garden-helper/"
SAMPLINGS, NEW, MODEL = f"{PAGES}samplings/", f"{PAGES}samplings/new/", f"{PAGES}models/new/"
SHORT = {"temperature": "0.7", "top_p": "1", "max_tokens": "20", "seed": "3", "batch_size": "8", "dtype": "auto"}


def page(client: Client, url: str, status: int = 200) -> str:
    response = client.get(url)
    assert response.status_code == status
    return response.content.decode()


@pytest.mark.parametrize(
    ("url", "answers"),
    [(SAMPLINGS, [302, 404, 403, 200, 200]), (NEW, [302, 404, 403, 403, 200]), (MODEL, [302, 404, 403, 403, 200])],
)
def test_who_gets_in(
    client_of: ClientOf, stan: User, lena: User, rita: User, omar: User, url: str, answers: list[int]
) -> None:
    clients = [Client(), *map(client_of, [stan, lena, rita, omar])]
    assert [client.get(url).status_code for client in clients] == answers


def test_who_sees_a_sampling(
    client_of: ClientOf, stan: User, lena: User, rita: User, omar: User, project: Project, make_model: MakeModel
) -> None:
    prompts_make(project, 1)
    url = f"{SAMPLINGS}{sample(make_model()).pk}/"
    assert [client_of(who).get(url).status_code for who in (stan, lena, rita, omar)] == [404, 403, 200, 200]
    assert "Stop</button>" in page(client_of(omar), url)
    assert "Stop</button>" not in page(client_of(rita), url)


def test_a_job_of_another_kind_or_project_is_no_sampling(
    client_of: ClientOf, omar: User, project: Project, make_model: MakeModel
) -> None:
    other = Project.objects.create(name="Other", slug="other")
    for job in (
        Job.objects.create(project=project, kind="import", title="x"),
        Job.objects.create(project=other, kind="sample", title="x"),
    ):
        assert client_of(omar).get(f"{SAMPLINGS}{job.pk}/").status_code == 404


def test_the_form_starts_what_it_says(client_of: ClientOf, omar: User, project: Project, make_model: MakeModel) -> None:
    pear = prompt_make(project, "Pears?", source="book", tags=["Fruit"])
    prompt_make(project, "Stones?")
    one, two, three = make_model("one"), make_model("two"), make_model("three")
    fields = SHORT | {f"n_{one.pk}": "1", f"n_{two.pk}": "2", f"n_{three.pk}": "", "stop": "END\nSTOP"}
    response = client_of(omar).post(NEW, fields | {"source": "book", "tags": "Fruit", "limit": "5", "unsampled": "on"})
    job = Job.objects.get(kind="sample")
    assert response["Location"] == f"{SAMPLINGS}{job.pk}/"
    assert sorted(job.payload["models"], key=lambda one: one["n"]) == [
        {"model": one.pk, "n": 1},
        {"model": two.pk, "n": 2},
    ]
    expected = {"temperature": 0.7, "max_tokens": 20, "stop": ["END", "STOP"], "seed": 3, "batch_size": 8}
    assert job.payload["options"] | expected == job.payload["options"]
    assert job.created_by == omar
    do(job)
    completions = Completion.objects.filter(prompt=pear)
    assert sorted(completions.values_list("model_version__name", flat=True)) == ["one", "two", "two"]
    assert completions.count() == Completion.objects.count()


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"temperature": "11"}, "It must be at most 10, not 11."),
        ({"max_tokens": "many"}, "It must be a whole number, not &#x27;many&#x27;."),
        ({"batch_size": "0"}, "It must be at least 1, not 0."),
        ({"n": "65"}, "It must be at most 64, not 65."),
        ({"n": "1.5"}, "It must be a whole number"),
        ({"n": ""}, "No model is chosen."),
        ({"limit": "0"}, "greater than or equal to 1"),
        ({"limit": "1" + "0" * 30}, "less than or equal to 10000000"),
        ({"split": "test"}, "No prompt fits what was chosen."),
        ({"source": "a\x00b"}, "Null characters are not allowed."),
    ],
)
def test_what_is_no_good_is_said_at_its_field(
    client_of: ClientOf, omar: User, project: Project, make_model: MakeModel, fields: dict[str, str], said: str
) -> None:
    prompts_make(project, 1)
    number = f"n_{make_model().pk}"
    given = SHORT | {number: "2"} | {number if name == "n" else name: value for name, value in fields.items()}
    response = client_of(omar).post(NEW, given)
    assert response.status_code == 422
    assert said in response.content.decode()
    assert not Job.objects.exists()


def test_an_error_under_more_options_is_not_hidden(
    client_of: ClientOf, omar: User, project: Project, make_model: MakeModel
) -> None:
    prompts_make(project, 1)
    number = f"n_{make_model().pk}"
    assert '<details class="fold">' in page(client_of(omar), NEW)
    html = client_of(omar).post(NEW, SHORT | {number: "1", "batch_size": "0"}).content.decode()
    assert '<details class="fold" open>' in html


def test_the_form_offers_who_can_write_and_a_new_seed(
    client_of: ClientOf, omar: User, project: Project, make_model: MakeModel
) -> None:
    prompts_make(project, 1)
    one, two = make_model("one"), make_model("two")
    model_make(project, "only-a-name")
    reward = make_model("judge")
    ModelVersion.objects.filter(pk=reward.pk).update(kind="reward")
    sample(one)
    form = client_of(omar).get(f"{NEW}?model={one.pk}&model=x").context["form"]
    assert [field.label for field in form.model_fields] == ["two", "one"]
    assert (form[f"n_{one.pk}"].initial, form[f"n_{two.pk}"].initial) == ("4", "")
    assert form["seed"].initial == 1
    assert client_of(omar).get(NEW).context["form"][f"n_{two.pk}"].initial == "4"


def test_without_a_model_the_form_says_where_to_get_one(client_of: ClientOf, omar: User) -> None:
    client = client_of(omar)
    assert MODEL in page(client, NEW)
    assert client.post(NEW, SHORT).status_code == 422
    assert not Job.objects.exists()


def test_a_sampling_shows_what_it_brought(
    client_of: ClientOf, rita: User, project: Project, make_model: MakeModel
) -> None:
    prompt = prompt_make(project, "How do *pears* grow?")
    job = sample(make_model("one"), make_model("two", odd=True), n=2)
    client, url = client_of(rita), f"{SAMPLINGS}{job.pk}/"
    assert "They appear here as they come in" in page(client, url)
    do(job)
    html = page(client, url)
    assert "one 0: How do <em>pears</em> grow?" in html
    assert "An empty answer." in html
    assert html.count("cut at the limit") == 2
    assert html.count(f'id="prompt-{prompt.pk}"') == 1
    assert "hx-get" not in html


def test_completions_come_in_pages(client_of: ClientOf, rita: User, project: Project, make_model: MakeModel) -> None:
    prompts_make(project, 15)
    url = f"{SAMPLINGS}{do(sample(make_model())).pk}/"
    html = page(client_of(rita), url)
    assert "1 to 24 of 30" in html
    assert "25 to 30 of 30" in page(client_of(rita), f"{url}?page=2")


def test_pages_cost_the_same_however_much_they_show(
    client_of: ClientOf, rita: User, project: Project, make_model: MakeModel
) -> None:
    def sampled(number: int, name: str) -> str:
        prompts = prompts_make(project, number, source=name)
        model = make_model(name)
        return f"{SAMPLINGS}{do(sample(model, choice=SampleChoice(prompts=[one.pk for one in prompts]))).pk}/"

    client = client_of(rita)
    few = sampled(1, "few")
    list_before, few_queries = query_count(client, SAMPLINGS), query_count(client, few)
    many = sampled(10, "many")
    assert query_count(client, many) == few_queries
    assert query_count(client, SAMPLINGS) == list_before


def test_a_base_model_is_registered(client_of: ClientOf, omar: User, project: Project, make_model: MakeModel) -> None:
    User.objects.filter(pk=omar.pk).update(is_staff=True)
    place = make_model("known").location
    client = client_of(omar)
    response = client.post(MODEL, {"name": "mine", "location": place})
    model = ModelVersion.objects.get(name="mine")
    assert response["Location"] == f"{NEW}?model={model.pk}"
    assert (model.kind, model.state, model.location) == ("base", "ready", place)
    assert client.get(response["Location"]).context["form"][f"n_{model.pk}"].initial == "4"


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"name": "", "location": "gpt2"}, "This field is required."),
        ({"name": "x", "location": "/nowhere"}, "Folders of the server can be named by site administrators only"),
        ({"name": "known", "location": "gpt2"}, "There is already a model called “known”"),
    ],
)
def test_a_model_that_cannot_be_registered_is_told(
    client_of: ClientOf, omar: User, make_model: MakeModel, fields: dict[str, Any], said: str
) -> None:
    make_model("known")
    response = client_of(omar).post(MODEL, fields)
    assert response.status_code == 422
    assert said in response.content.decode()
    assert ModelVersion.objects.count() == 1


def test_the_sites_base_model_is_one_click_away(
    client_of: ClientOf, omar: User, project: Project, make_model: MakeModel, settings: Settings
) -> None:
    client = client_of(omar)
    assert "Use it here" not in page(client, MODEL)
    settings.BASE_MODEL = make_model("garden-base").location
    ModelVersion.objects.all().delete()
    html = page(client, MODEL)
    assert "Use it here" in html
    fields = {"name": "garden-base", "location": settings.BASE_MODEL}
    for name, value in fields.items():
        assert f'name="{name}" value="{value}"' in html
    for _ in range(2):
        assert client.post(MODEL, fields).status_code == 302
    assert ModelVersion.objects.get().location == settings.BASE_MODEL


def test_a_prompts_page_says_how_completions_ended(
    client_of: ClientOf, rita: User, project: Project, make_model: MakeModel
) -> None:
    prompt = prompt_make(project, "Pears?")
    do(sample(make_model()))
    html = page(client_of(rita), f"{PAGES}prompts/{prompt.pk}/")
    assert "by itself" in html
    assert "cut at the limit" in html


def test_the_job_page_leads_to_the_completions(
    client_of: ClientOf, omar: User, project: Project, make_model: MakeModel
) -> None:
    prompts_make(project, 1)
    job = sample(make_model())
    assert f'href="{SAMPLINGS}{job.pk}/"' in page(client_of(omar), f"/jobs/{job.pk}/")


def test_a_failed_sampling_shows_what_the_trainer_said(
    client_of: ClientOf, omar: User, project: Project, make_model: MakeModel
) -> None:
    prompts_make(project, 1)
    html = page(client_of(omar), f"{SAMPLINGS}{do(sample(make_model(fail_after=1))).pk}/")
    assert "The trainer failed (exit code 1)" in html
    assert html.count("CUDA is out of patience") == 2
