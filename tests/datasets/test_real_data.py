"""Real data, as people published it, through the importer."""

from collections import Counter
from pathlib import Path

import pytest

from labelapp.labeling.ordering import edges_from_ranking
from labelapp.models import (
    Annotation,
    Completion,
    Demonstration,
    Job,
    ModelVersion,
    Project,
    Prompt,
    TaskCompletion,
)
from tests.datasets.adapters import (
    FINEGRAINED,
    OASST,
    finegrained_row,
    oasst_row,
    read_gzipped,
    write_gzipped,
)
from tests.datasets.conftest import Import, table_counts

needs_finegrained = pytest.mark.skipif(not FINEGRAINED.exists(), reason=f"there is no {FINEGRAINED}")
needs_oasst = pytest.mark.skipif(not OASST.exists(), reason=f"there is no {OASST}")


@pytest.fixture
def finegrained(bring: Import, tmp_path: Path) -> Job:
    path = write_gzipped(tmp_path / "qa.jsonl.gz", map(finegrained_row, read_gzipped(FINEGRAINED)))
    return bring(content=path.read_bytes(), strict=True)


@pytest.fixture
def oasst(bring: Import, tmp_path: Path) -> Job:
    path = write_gzipped(tmp_path / "trees.jsonl.gz", map(oasst_row, read_gzipped(OASST)))
    return bring(content=path.read_bytes(), strict=True)


@needs_finegrained
def test_finegrained_lands_whole(finegrained: Job) -> None:
    assert finegrained.state == Job.State.SUCCEEDED, finegrained.message
    assert (Prompt.objects.count(), Completion.objects.count()) == (250, 1000)
    edges = [edge for annotation in Annotation.objects.all() for edge in annotation.edges]
    assert Counter(outcome for _, _, outcome, _, _ in edges) == {">": 1330, "=": 170}
    corrected = [question["feedback_on_response_0"]["corrected-prediction"] for question in read_gzipped(FINEGRAINED)]
    assert Demonstration.objects.count() == sum(bool(text.strip()) for text in corrected)


@needs_finegrained
def test_ten_questions_of_finegrained_are_no_weak_order(finegrained: Job) -> None:
    assert Annotation.objects.filter(ranking__isnull=True).count() == 10
    ranked = Annotation.objects.filter(ranking__isnull=False).values_list("edges", "ranking")
    for edges, ranking in ranked:
        assert sorted(map(tuple, edges)) == sorted(edges_from_ranking(ranking or []))


@needs_finegrained
def test_finegrained_edges_are_about_the_right_texts(finegrained: Job) -> None:
    question = next(read_gzipped(FINEGRAINED))
    annotation = Annotation.objects.get(task__prompt__external_id=str(question["id"]))
    texts = dict(TaskCompletion.objects.filter(task=annotation.task).values_list("slot", "completion__text"))
    said = {(texts[a], texts[b], outcome) for a, b, outcome, _, _ in annotation.edges}
    expected = set()
    for pair in question["pairwise"]:
        a, b = question["responses"][pair["a"]], question["responses"][pair["b"]]
        expected |= {{0: (a, b, "="), 1: (a, b, ">"), 2: (b, a, ">")}[pair["preference"]]}
    assert said == expected


@needs_oasst
def test_oasst_lands_whole(oasst: Job) -> None:
    assert oasst.state == Job.State.SUCCEEDED, oasst.message
    groups = Counter(len(ranking or []) for ranking in Annotation.objects.values_list("ranking", flat=True))
    assert groups == {2: 57, 3: 117, 4: 27, 5: 3, 6: 6, 8: 1, 9: 1}
    assert Prompt.objects.count() == 212
    assert any(len(prompt.messages) > 1 for prompt in Prompt.objects.all())


@needs_oasst
def test_oasst_knows_what_people_wrote(oasst: Job) -> None:
    by_people = Completion.objects.filter(model_version__kind=ModelVersion.Kind.HUMAN).count()
    assert (by_people, Completion.objects.count()) == (624, 641)
    assert ModelVersion.objects.get(kind=ModelVersion.Kind.HUMAN).name == "human"


@needs_oasst
def test_oasst_rankings_are_about_the_right_texts(oasst: Job) -> None:
    for group in read_gzipped(OASST):
        found = Annotation.objects.filter(task__prompt__external_id=group["id"])
        task, ranking = found.values_list("task", "ranking").get()
        texts = dict(TaskCompletion.objects.filter(task=task).values_list("slot", "completion__text"))
        assert [texts[slot] for [slot] in ranking or []] == [reply["text"] for reply in group["responses"]]


@needs_finegrained
@needs_oasst
def test_both_again_write_no_row_in_any_table(
    finegrained: Job, oasst: Job, bring: Import, tmp_path: Path, project: Project
) -> None:
    before = table_counts()
    for name in ("qa.jsonl.gz", "trees.jsonl.gz"):
        job = bring(content=(tmp_path / name).read_bytes())
        assert (job.state, job.result["new"], job.result["rejected"]) == (Job.State.SUCCEEDED, {}, 0)
    assert table_counts() == before
    assert not project.batches.exclude(name="Imported labels").exists()
