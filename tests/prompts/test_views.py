"""What came in: the list of prompts, and one prompt with all that is known about it."""

from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.urls import reverse

from labelapp.errors import DomainError
from labelapp.models import Annotation, ComparisonTask, Completion, Project, Prompt, Protocol, Rating, User
from labelapp.prompts import selectors
from tests import factories
from tests.query_counts import query_count

SignIn = Callable[[User], Client]


@pytest.fixture
def url(project: Project) -> str:
    return reverse("prompts", args=[project.slug])


@pytest.fixture
def client(client_of: SignIn, rita: User) -> Client:
    return client_of(rita)


def _found(client: Client, url: str, **fields: str) -> list[str]:
    """The texts of the prompts listed, in order."""
    page = client.get(url, fields)
    assert page.status_code == 200
    return [prompt.messages[-1]["content"] for prompt in page.context["page"].prompts]


def test_it_lists_newest_first_with_counts(client: Client, url: str, project: Project, protocol: Protocol) -> None:
    task = factories.batch_with_tasks(project, protocol, tasks=1, k=3, name="Spring").tasks.all()[0]
    label = factories.annotation_make(task, factories.external_make(project))
    factories.annotation_make(task, factories.external_make(project, "crowd-2"))
    factories.annotation_make(task, label.annotator, supersedes=label)
    factories.prompt_make(project, "Newest")
    page = client.get(url)
    counts = [(prompt.completion_count, prompt.label_count) for prompt in page.context["page"].prompts]
    assert _found(client, url) == ["Newest", "Spring: question 0?"]
    assert counts == [(0, 0), (3, 2)]
    assert '<td data-label="Completions" class="num">3</td>' in page.text
    assert '<td data-label="Labels" class="num">2</td>' in page.text


def test_it_lists_nothing_of_another_project(client: Client, url: str) -> None:
    other = factories.prompt_make(Project.objects.create(name="Other", slug="other"), "Secret")
    assert _found(client, url) == []
    assert client.get(f"{url}{other.pk}/").status_code == 404


@pytest.fixture
def mixed(project: Project) -> None:
    factories.prompt_make(project, "Pears", source="forum", tags=["fruit", "garden"])
    factories.prompt_make(project, "Plums", source="shop", tags=["fruit"], split=Prompt.Split.TEST)
    factories.prompt_make(project, "Peas", source="shop", tags=["garden"])


@pytest.mark.usefixtures("mixed")
@pytest.mark.parametrize(
    ("fields", "texts"),
    [
        ({}, ["Peas", "Plums", "Pears"]),
        ({"split": "test"}, ["Plums"]),
        ({"split": "validation"}, []),
        ({"split": "no-such-split"}, ["Peas", "Plums", "Pears"]),
        ({"tag": "garden"}, ["Peas", "Pears"]),
        ({"tag": "gard"}, []),
        ({"source": "shop"}, ["Peas", "Plums"]),
        ({"source": "shop", "tag": "fruit"}, ["Plums"]),
        ({"q": "PE"}, ["Peas", "Pears"]),
        ({"q": "pe", "source": "forum"}, ["Pears"]),
        ({"q": "apples"}, []),
    ],
)
def test_it_filters(client: Client, url: str, fields: dict[str, str], texts: list[str]) -> None:
    assert _found(client, url, **fields) == texts


@pytest.mark.parametrize("words", ['say "please"', "first\nsecond", "50%", "a_b", "back\\slash", "Äpfel", "'; --"])
def test_it_finds_words_that_mean_something_elsewhere(client: Client, url: str, project: Project, words: str) -> None:
    factories.prompt_make(project, f"Please: {words}!")
    factories.prompt_make(project, "say please, first second, 50 a-b backslash apfel")
    assert _found(client, url, q=words) == [f"Please: {words}!"]


@pytest.mark.usefixtures("mixed")
def test_it_suggests_sources_and_tags_that_exist(client: Client, url: str) -> None:
    context = client.get(url).context
    assert (context["sources"], context["tags"]) == (["forum", "shop"], ["fruit", "garden"])


def test_a_search_that_takes_too_long_is_stopped(project: Project) -> None:
    factories.prompt_make(project, "Pears")
    with connection.cursor() as cursor:
        cursor.execute(SLOW_UPPER)
    with pytest.raises(DomainError, match=r"more than 0\.2 seconds and was stopped"):
        selectors.prompts_page(project, selectors.PromptFilter(words="pears"), patience=0.2)


# A text search compares upper-case texts; this makes doing so slower than any patience, in this transaction only.
SLOW_UPPER = """
CREATE SCHEMA slow;
CREATE FUNCTION slow.upper(given text) RETURNS text LANGUAGE plpgsql VOLATILE AS $$
BEGIN PERFORM pg_sleep(20); RETURN pg_catalog.upper(given); END $$;
SET LOCAL search_path = slow, pg_catalog, public;
"""


def test_a_search_leaves_no_time_limit_behind(client: Client, url: str, project: Project) -> None:
    factories.prompt_make(project, "Pears")
    client.get(url, {"q": "pears"})
    with connection.cursor() as cursor:
        cursor.execute("SHOW statement_timeout")
        assert cursor.fetchone() == ("0",)


def _walk(client: Client, url: str, start: str, rel: str) -> list[list[str]]:
    """The texts of page after page, following the link `rel`."""
    pages: list[list[str]] = []
    query: str | None = start
    while query is not None:
        page = client.get(f"{url}{query}")
        shown = page.context["page"]
        pages.append([prompt.messages[-1]["content"] for prompt in shown.prompts])
        beyond = shown.older_than if rel == "older" else shown.newer_than
        query = None if beyond is None else f"?{'before' if rel == 'older' else 'after'}={beyond}"
    return pages


def test_it_pages_forth_and_back_over_all_prompts_once(client: Client, url: str, project: Project) -> None:
    for number in range(selectors.PAGE_SIZE * 2 + 1):
        factories.prompt_make(project, f"Prompt {number}")
    forth = _walk(client, url, "", "older")
    assert [len(page) for page in forth] == [50, 50, 1]
    assert [text for page in forth for text in page] == [f"Prompt {number}" for number in range(100, -1, -1)]
    oldest = Prompt.objects.earliest("pk").pk
    back = _walk(client, url, f"?after={oldest}", "newer")
    assert [text for page in reversed(back) for text in page] == [f"Prompt {number}" for number in range(100, 0, -1)]


def test_paging_keeps_the_filter(client: Client, url: str, project: Project) -> None:
    for number in range(51):
        factories.prompt_make(project, f"Prompt {number}", tags=["fruit"])
    text = client.get(url, {"tag": "fruit", "q": "prompt"}).text
    last = Prompt.objects.order_by("-pk")[49].pk
    assert f"?tag=fruit&amp;q=prompt&amp;before={last}" in text


@pytest.mark.parametrize("place", ["x", "-1", "9" * 19])
def test_a_page_that_cannot_be_is_not_there(client: Client, url: str, place: str) -> None:
    assert client.get(url, {"before": place}).status_code == 404
    assert client.get(url, {"after": place}).status_code == 404


def test_an_empty_project_leads_admins_to_the_import(client_of: SignIn, omar: User, url: str) -> None:
    assert "No prompts yet" in client_of(omar).get(url).text


def _one(project: Project, **fields: Any) -> tuple[Prompt, str]:
    prompt = factories.prompt_make(project, "How do I **prune** a pear tree?", **fields)
    return prompt, reverse("prompt", args=[project.slug, prompt.pk])


def test_a_prompt_shows_its_conversation_safely(client: Client, project: Project) -> None:
    messages = [
        {"role": "system", "content": "You garden."},
        {"role": "user", "content": "<script>alert(1)</script> **prune**"},
    ]
    _, url = _one(project, messages=messages, source="forum", author="u-17", tags=["fruit"], sensitivity=["violence"])
    text = client.get(url).text
    assert "<strong>prune</strong>" in text
    assert "<script>alert" not in text
    for shown in ["You garden.", "forum", "u-17", "fruit", "violence"]:
        assert shown in text


def test_a_prompt_shows_who_wrote_each_completion_and_how(client: Client, project: Project) -> None:
    prompt, url = _one(project)
    Completion.objects.create(
        prompt=prompt,
        model_version=factories.model_make(project, "tiny-7"),
        text="In **winter**.",
        text_hash="1",
        source_key="1",
        sampling={"temperature": 0.7},
        seed=42,
    )
    text = client.get(url).text
    for shown in ["tiny-7", "External model", "<strong>winter</strong>", "temperature", "0.7", "42"]:
        assert shown in text


@pytest.fixture
def task(project: Project, protocol: Protocol) -> ComparisonTask:
    return factories.batch_with_tasks(project, protocol, tasks=1, k=3, name="Spring").tasks.all()[0]


def _label_text(client: Client, task: ComparisonTask) -> str:
    page = client.get(reverse("prompt", args=[task.batch.project.slug, task.prompt_id]))
    return " ".join(page.text.split('<h2 id="labels">')[1].split())


def _numbers(task: ComparisonTask) -> dict[int, int]:
    """The number that the page gives the completion of each slot."""
    ids = list(Completion.objects.filter(prompt=task.prompt).order_by("pk").values_list("pk", flat=True))
    return {row.slot: ids.index(row.completion_id) + 1 for row in task.task_completions.all()}


def test_a_prompt_shows_labels_in_the_numbers_of_the_page(
    client: Client, project: Project, task: ComparisonTask
) -> None:
    label = factories.annotation_make(task, factories.external_make(project), ranking=[[2], [0, 1]])
    Rating.objects.create(annotation=label, slot=2, likert=6)
    number = _numbers(task)
    text = _label_text(client, task)
    assert f"{number[2]} &gt; {number[0]} = {number[1]}" in text
    assert f"{number[2]}: 6" in text
    for shown in ["crowd-1", "External", "Spring"]:
        assert shown in text


def test_a_label_that_is_no_order_shows_its_pairs(client: Client, project: Project, task: ComparisonTask) -> None:
    circle = [[0, 1, ">", None, 1.0], [1, 2, ">", None, 1.0], [2, 0, ">", None, 1.0]]
    factories.annotation_make(task, factories.external_make(project), ranking=None, edges=circle)
    n = _numbers(task)
    assert f"{n[0]} &gt; {n[1]}, {n[1]} &gt; {n[2]}, {n[2]} &gt; {n[0]}" in _label_text(client, task)


def test_corrections_and_surplus_are_marked(client: Client, project: Project, task: ComparisonTask) -> None:
    label = factories.annotation_make(task, factories.external_make(project), surplus=True)
    assert "surplus" in _label_text(client, task)
    factories.annotation_make(task, label.annotator, supersedes=label)
    assert "correction" in _label_text(client, task)
    assert Annotation.objects.count() == 2


def _fill(project: Project, protocol: Protocol, start: int, end: int) -> None:
    for number in range(start, end):
        batch = factories.batch_with_tasks(project, protocol, tasks=1, k=2, name=f"Batch {number}")
        factories.annotation_make(batch.tasks.all()[0], factories.external_make(project, f"crowd-{number}"))


@pytest.mark.parametrize("query", ["", "?q=question&split=train"])
def test_the_list_costs_the_same_for_3_prompts_as_for_30(
    client: Client, url: str, project: Project, protocol: Protocol, query: str
) -> None:
    _fill(project, protocol, 0, 3)
    few = query_count(client, url + query)
    _fill(project, protocol, 3, 30)
    assert query_count(client, url + query) == few


def _answer(task: ComparisonTask, start: int, end: int) -> None:
    for number in range(start, end):
        factories.completion_make(task.prompt, f"Another answer {number}", model=f"model-{number}")
        annotator = factories.external_make(task.batch.project, f"crowd-{number}")
        label = factories.annotation_make(task, annotator)
        Rating.objects.create(annotation=label, slot=0, likert=4)


def test_a_prompt_costs_the_same_for_3_labels_as_for_30(client: Client, task: ComparisonTask) -> None:
    url = reverse("prompt", args=[task.batch.project.slug, task.prompt_id])
    _answer(task, 0, 3)
    few = query_count(client, url)
    _answer(task, 3, 30)
    assert query_count(client, url) == few
