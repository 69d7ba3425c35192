"""Real data, as people published it, imported and frozen."""

from collections import Counter
from pathlib import Path

import pytest

from labelapp.labeling.ordering import edges_from_ranking
from labelapp.models import Annotation, Demonstration, Project, Snapshot
from tests.datasets.adapters import FINEGRAINED, OASST, finegrained_row, oasst_row, read_gzipped, write_gzipped
from tests.datasets.conftest import Import
from tests.datasets.freezing import freeze, frozen

pytestmark = pytest.mark.usefixtures("own_folders")

needs_finegrained = pytest.mark.skipif(not FINEGRAINED.exists(), reason=f"there is no {FINEGRAINED}")
needs_oasst = pytest.mark.skipif(not OASST.exists(), reason=f"there is no {OASST}")


@needs_finegrained
def test_finegrained_is_frozen_whole(bring: Import, project: Project, tmp_path: Path) -> None:
    bring(content=write_gzipped(tmp_path / "qa.gz", map(finegrained_row, read_gzipped(FINEGRAINED))).read_bytes())
    snapshot = frozen(project)
    outcomes = Counter(edge["outcome"] for row in snapshot.comparisons for edge in row["edges"])
    assert outcomes == {">": 1330, "=": 170}
    assert snapshot.manifest["counts"]["edges"] == {"strict": 1330, "ties": 170}
    assert (len(snapshot.comparisons), len(snapshot.prompts), len(snapshot.completions)) == (250, 250, 1000)
    assert sum(row["ranking"] is None for row in snapshot.comparisons) == 10
    assert len(snapshot.demonstrations) == Demonstration.objects.count()
    assert snapshot.manifest["counts"]["left_out"] == {}
    texts = {pk: row["text"] for pk, row in snapshot.completions.items()}
    question = next(read_gzipped(FINEGRAINED))
    prompt = Annotation.objects.get(task__prompt__external_id=str(question["id"])).task.prompt_id
    [row] = [row for row in snapshot.comparisons if row["prompt"] == prompt]
    said = {(texts[row["completions"][e["i"]]], texts[row["completions"][e["j"]]], e["outcome"]) for e in row["edges"]}
    for pair in question["pairwise"]:
        a, b = question["responses"][pair["a"]], question["responses"][pair["b"]]
        named = {0: {(a, b, "="), (b, a, "=")}, 1: {(a, b, ">")}, 2: {(b, a, ">")}}
        assert said & named[pair["preference"]]


@needs_finegrained
def test_finegrained_without_ties(bring: Import, project: Project, tmp_path: Path) -> None:
    bring(content=write_gzipped(tmp_path / "qa.gz", map(finegrained_row, read_gzipped(FINEGRAINED))).read_bytes())
    counts = frozen(project, ties="drop").manifest["counts"]
    assert counts["edges"] == {"strict": 1330, "ties": 0}
    assert counts["comparisons"] + counts["left_out"].get("ties_only", 0) == 250


@needs_oasst
def test_oasst_is_frozen_whole_and_once(bring: Import, project: Project, tmp_path: Path) -> None:
    content = write_gzipped(tmp_path / "trees.gz", map(oasst_row, read_gzipped(OASST))).read_bytes()
    bring(content=content)
    snapshot = frozen(project)
    ranks = Counter(len(row["ranking"] or []) for row in snapshot.comparisons)
    assert ranks == {2: 57, 3: 117, 4: 27, 5: 3, 6: 6, 8: 1, 9: 1}
    for row in snapshot.comparisons:
        edges = [(e["i"], e["j"], e["outcome"], e["strength"], e["weight"]) for e in row["edges"]]
        assert sorted(edges) == sorted(edges_from_ranking(row["ranking"] or []))
    bring(content=content)
    assert freeze(project).result["known"] is True
    assert Snapshot.objects.count() == 1
