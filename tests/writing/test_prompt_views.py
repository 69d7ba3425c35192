"""Writing prompts, and saying what is asked for."""

from collections.abc import Callable

import pytest
from django.test import Client

from labelapp.models import Annotator, Project, Prompt, TimeEntry, User
from labelapp.writing.services import PromptDraft, prompt_write
from tests.query_counts import query_count

ClientOf = Callable[[User], Client]
PROMPT = "/projects/garden-helper/write/prompt/"
SETTINGS = "/projects/garden-helper/write/settings/"
PAIRS = {
    "instruction": "Name the season.",
    **{"query_1": "Snow", "response_1": "Winter", "query_2": "Harvest", "response_2": "Autumn"},
    "query": "Buds",
    "language": "en",
}


@pytest.fixture
def labeler(client_of: ClientOf, lena: User, project: Project) -> Client:
    Project.objects.filter(pk=project.pk).update(asks_prompts=True, use_cases="Plan a garden")
    return client_of(lena)


def test_a_plain_prompt_is_written(labeler: Client, annotator: Annotator) -> None:
    fields = {"text": " Plan my beds.\r\n", "language": "en", "sensitivity": ["medical"], "paid_seconds": "42"}
    response = labeler.post(PROMPT + "?kind=plain", fields)
    assert response["Location"] == PROMPT + "?kind=plain"
    prompt = Prompt.objects.get()
    assert (prompt.messages[0]["content"], prompt.written_as) == ("Plan my beds.", "plain")
    assert (prompt.language, prompt.sensitivity, prompt.written_by_id) == ("en", ["medical"], annotator.pk)
    assert TimeEntry.objects.get().seconds == 42
    html = labeler.get(PROMPT).content.decode()
    assert "You wrote 1 prompt" in html
    assert "Plan my beds." in html


@pytest.mark.parametrize(
    ("languages", "chosen"),
    [(["de", "en-GB"], "en-GB"), (["de", "fr"], "de"), ([], "")],
)
def test_the_language_of_the_page_is_chosen_else_their_first(
    labeler: Client, annotator: Annotator, languages: list[str], chosen: str
) -> None:
    Annotator.objects.filter(pk=annotator.pk).update(languages=languages)
    assert f'<option value="{chosen}" selected>' in labeler.get(PROMPT).content.decode()


def test_only_a_language_of_the_person_is_taken(labeler: Client) -> None:
    assert labeler.post(PROMPT, {"text": "Bonjour", "language": "fr"}).status_code == 422


def test_a_few_shot_prompt_is_put_together(labeler: Client) -> None:
    labeler.post(PROMPT + "?kind=few_shot", {**PAIRS, "query_4": "Ice", "response_4": "Winter"})
    prompt = Prompt.objects.get()
    assert prompt.written_as == "few_shot"
    assert prompt.messages[0]["content"].endswith("Query: Ice\nResponse: Winter\n\nQuery: Buds\nResponse:")


@pytest.mark.parametrize(
    ("wrong", "problem"),
    [
        ({"response_2": ""}, "This field is required"),
        ({"query_3": "Ice"}, "both a query and a response"),
        ({"instruction": "x" * 5_001}, "at most 5000"),
        ({f"{half}_{number}": "x" * 5_000 for half in ("query", "response") for number in (1, 2, 3)}, "All parts"),
    ],
)
def test_a_pair_needs_both_halves(labeler: Client, wrong: dict[str, str], problem: str) -> None:
    response = labeler.post(PROMPT + "?kind=few_shot", {**PAIRS, **wrong})
    assert response.status_code == 422
    assert problem in response.content.decode()
    assert not Prompt.objects.exists()


def test_a_prompt_is_written_for_a_use_case(labeler: Client) -> None:
    html = labeler.get(PROMPT + "?kind=user_based").content.decode()
    assert 'name="use_case" value="Plan a garden"' in html
    labeler.post(PROMPT + "?kind=user_based", {"use_case": "Plan a garden", "text": "Beds?", "language": "en"})
    assert (Prompt.objects.get().tags, Prompt.objects.get().written_as) == (["Plan a garden"], "user_based")


def test_without_use_cases_the_kind_is_not_offered(labeler: Client, project: Project) -> None:
    Project.objects.filter(pk=project.pk).update(use_cases="")
    html = labeler.get(PROMPT + "?kind=user_based").content.decode()
    assert "For a use case" not in html
    assert "Be diverse" in html


def test_the_same_prompt_again_is_said_kindly(labeler: Client) -> None:
    fields = {"text": "Plan my beds.", "language": "en"}
    labeler.post(PROMPT, fields)
    again = labeler.post(PROMPT, fields)
    assert again.status_code == 422
    assert "You have sent this prompt already" in again.content.decode()


def test_a_project_that_asks_for_none_says_so(labeler: Client, project: Project) -> None:
    Project.objects.filter(pk=project.pk).update(asks_prompts=False)
    assert "This project asks for no prompts now" in labeler.get(PROMPT).content.decode()
    assert labeler.post(PROMPT, {"text": "Beds?", "language": "en"}).status_code == 422
    assert not Prompt.objects.exists()


def test_the_list_costs_the_same_for_many(labeler: Client, annotator: Annotator) -> None:
    def write(count: int) -> None:
        for number in range(count):
            draft = PromptDraft(Prompt.WrittenAs.PLAIN, f"Bed {number} of {count}?")
            prompt_write(annotator=annotator, draft=draft, seconds=0)

    write(1)
    few = query_count(labeler, PROMPT)
    write(20)
    assert query_count(labeler, PROMPT) == few


def test_an_admin_says_what_is_asked_for(client_of: ClientOf, omar: User, project: Project) -> None:
    labeler = client_of(omar)
    fields = {"asks_prompts": "on", "use_cases": "Plan a  garden\r\n\r\nName a dish\r\nPlan a garden\r\n"}
    assert labeler.post(SETTINGS, fields)["Location"] == SETTINGS
    project.refresh_from_db()
    assert (project.asks_prompts, project.use_cases) == (True, "Plan a garden\nName a dish")
    assert "Name a dish" in labeler.get(SETTINGS).content.decode()
    long = labeler.post(SETTINGS, {"use_cases": "x" * 300})
    assert long.status_code == 422
    assert "too long for a use case" in long.content.decode()
