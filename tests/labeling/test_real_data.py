"""Eight real answers to each prompt, imported, put into a batch and opened as a labeler does."""

import html
import itertools
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from django.test import Client
from django.urls import reverse

from labelapp.labeling.services.batches import PromptChoice, tasks_create
from labelapp.labeling.services.seats import task_skip
from labelapp.models import Annotator, Batch, ComparisonTask, Completion, Job, Project, Protocol, Seat, TaskSkip, User
from labelapp.prompts.rendering import render_markdown
from tests.datasets.adapters import ALPACA, alpaca_row, read_gzipped, write_gzipped
from tests.datasets.conftest import Import, begin, bring  # noqa: F401 (fixtures)

pytestmark = pytest.mark.skipif(not ALPACA.exists(), reason=f"there is no {ALPACA}")
LETTERS = "ABCDEFGH"


@pytest.fixture
def batch(bring: Import, project: Project, protocol: Protocol, tmp_path: Path) -> Batch:  # noqa: F811
    rows = itertools.islice(map(alpaca_row, read_gzipped(ALPACA)), 40)
    job = bring(content=write_gzipped(tmp_path / "alpaca.jsonl.gz", rows).read_bytes(), strict=True)
    assert job.state == Job.State.SUCCEEDED, job.message
    assert Completion.objects.count() == 320
    batch = Batch.objects.create(project=project, protocol=protocol, name="Eight each", state=Batch.State.OPEN, k=8)
    prompts = list(project.prompts.values_list("pk", flat=True))
    tasks_create(batch=batch, prompt_ids=prompts, choice=PromptChoice(), probability=1.0, salt=project.salt)
    return batch


def test_eight_answers_each_can_be_labelled(
    client_of: Callable[[User], Client], lena: User, annotator: Annotator, batch: Batch
) -> None:
    browser = client_of(lena)
    for _ in range(5):
        page = browser.get(reverse("label", kwargs={"slug": batch.project.slug})).text
        task = ComparisonTask.objects.get(seats__annotator=annotator, seats__state=Seat.State.HELD)
        texts = list(Completion.objects.filter(task_completions__task=task).values_list("text", flat=True))
        cards = re.findall(r'data-letter="([A-H])"', page)
        assert sorted(set(cards)) == list(LETTERS[: len(texts)])
        assert 'data-letters="' + LETTERS[: len(texts)] + '"' in html.unescape(page)
        for text in texts:
            assert render_markdown(text) in page
            assert "data-why" not in render_markdown(text)
        task_skip(annotator_id=annotator.pk, task=task, reason=TaskSkip.Reason.OTHER, note="")
    assert TaskSkip.objects.count() == 5
