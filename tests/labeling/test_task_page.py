"""The page of one task: after its seat was lost, with a single completion, and in the language of its texts."""

import re
from collections.abc import Callable

import pytest
from django.test import Client

from labelapp.models import Annotation, Batch, Project, Prompt, Protocol, Seat, User
from tests.factories import batch_with_tasks, protocol_make

ClientOf = Callable[[User], Client]
JUDGEMENT = {"ranking": "A B=C D", **{f"likert-{letter}": "5" for letter in "ABCD"}}


@pytest.fixture
def batch(project: Project, protocol: Protocol) -> Batch:
    return batch_with_tasks(project, protocol, tasks=3)


def open_task(client: Client) -> tuple[int, str, str]:
    """Take the next task; return its id, the signed slip and the page."""
    html = client.get("/projects/garden-helper/label/").text
    found = re.search(r'action="/label/(\d+)/submit/"', html)
    slip = re.search(r'name="seating" value="([^"]+)"', html)
    assert found is not None
    assert slip is not None
    return int(found[1]), slip[1], html


def test_a_lost_task_without_a_draft_leads_to_the_next_one(
    client_of: ClientOf, lena: User, stan: User, project: Project, batch: Batch
) -> None:
    client = client_of(lena)
    pk, slip, _html = open_task(client)
    Seat.objects.update(state="open", annotator=None, held_at=None, lease_until=None, input_at=None)
    told = "This task went back to the queue; here is your next one."
    assert told in client.get(f"/label/{pk}/", follow=True).text
    assert client.get(f"/label/{pk + 1000}/").status_code == 404
    assert client_of(stan).get(f"/label/{pk}/").status_code == 404
    client.post(f"/label/{pk}/submit/", {**JUDGEMENT, "seating": slip})
    told = "You have already submitted this task; here is your next one."
    assert told in client.get(f"/label/{pk}/", follow=True).text


def test_one_completion_is_rated_alone_with_thumbs(client_of: ClientOf, lena: User, project: Project) -> None:
    thumbs = protocol_make(project, name="Thumbs", likert_points=2, asks_ranking=False)
    batch_with_tasks(project, thumbs, tasks=1, k=1)
    client = client_of(lena)
    pk, slip, html = open_task(client)
    assert html.count('class="completion"') == 1
    assert re.findall(r'name="likert-A" value="(\d)"', html) == ["1", "2"]
    assert 'name="ranking"' not in html
    assert client.post(f"/label/{pk}/submit/", {"seating": slip}).status_code == 422
    assert client.post(f"/label/{pk}/submit/", {"seating": slip, "likert-A": "2"}).status_code == 302
    said = Annotation.objects.get()
    assert (said.edges, [rating.likert for rating in said.ratings.all()]) == ([], [2])


@pytest.mark.parametrize(("noted", "shown"), [("de", "de"), ("zh-hans", "zh-Hans"), ("German", "de"), ("?", None)])
def test_prompt_and_completions_say_their_language(
    client_of: ClientOf, lena: User, project: Project, protocol: Protocol, noted: str, shown: str | None
) -> None:
    """A form from the mould has the language of its own prompt, not of that for which the mould was made."""
    batch_with_tasks(project, protocol, tasks=2)
    for prompt, language in zip(Prompt.objects.order_by("pk"), ["fr", noted], strict=True):
        Prompt.objects.filter(pk=prompt.pk).update(language=language)
    client, seen = client_of(lena), {}
    for _ in range(2):
        pk, slip, html = open_task(client)
        texts = re.findall(r'data-text="[^"]+"(?: lang="([^"]+)")?>', html)
        assert len(texts) == 5
        assert len(set(texts)) == 1
        seen[Seat.objects.get(task=pk).task.prompt.language] = texts[0] or None
        diff = client.get(f"/label/{pk}/diff/?a=A&b=B").text
        assert (f' lang="{texts[0]}"' in diff) is bool(texts[0])
        client.post(f"/label/{pk}/submit/", {**JUDGEMENT, "seating": slip})
    assert seen == {"fr": "fr", noted: shown}
