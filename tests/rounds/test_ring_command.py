"""`manage.py ring`, with the real trainer on the demo's small model."""

import json
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from labelapp.datasets.snapshots import snapshot_localise
from labelapp.demo.notes import notes_fill
from labelapp.models import Annotation, Annotator, Job, ModelVersion, Project, Prompt, Round, Snapshot, User
from labelapp.prompts.content import split_of
from labelapp.rounds.selectors import round_facts, round_ring, rounds_of
from tests.trainer.models import tiny_llama

pytestmark = pytest.mark.django_db
FAST = [
    *("--prompts", "24", "--completions", "3", "--sample", "max_tokens=24"),
    *("--reward", "prompts_per_step=4", "--reward", "max_length=128", "--preference", "max_length=128"),
]


def ring(*arguments: str) -> str:
    said = StringIO()
    call_command("ring", *arguments, stdout=said)
    return said.getvalue()


@pytest.fixture
def notes(project: Project, omar: User) -> Project:
    """The demo's project with few prompts, of which always the same are held out."""
    project.salt = f"{0xB2:032x}"
    project.save()
    notes_fill(project=project, admin=omar, prompts=24)
    assert Prompt.objects.filter(split="validation").exists()
    return project


@pytest.mark.services
def test_the_ring_turns_twice_and_says_what_it_did(notes: Project, tmp_path: Path) -> None:
    pytest.importorskip("torch")
    figures = tmp_path / "figures.json"
    said = ring(
        *("--project", notes.slug, "--base", "notes-base", "--labels", "panel", "--rounds", "2"),
        *("--json", str(figures), *FAST),
    )
    for arrow in ("sample", "label", "freeze", "reward", "policy"):
        assert said.count(f"\n  {arrow} ") == 2
    assert "held-out pairs right" in said
    assert "random 50 %" in said
    newest = Round.objects.latest("number").number
    assert f"round-{newest}-policy writes:" in said
    assert said.count("  > ") == 3
    _rounds_are_right(notes, json.loads(figures.read_text())["rounds"])


def _rounds_are_right(notes: Project, figures: list[dict[str, Any]]) -> None:
    first, second = Round.objects.filter(project=notes, sampling__isnull=False).order_by("number")
    assert [row["policy"] for row in figures] == ["notes-base", f"round-{first.number}-policy"]
    assert [row["round"] for row in figures] == [first.number, second.number]
    assert figures[0]["labels"] == figures[0]["labels_wanted"] > 0
    assert len(figures[0]["completions"]) == 72
    assert 0 <= figures[0]["reward_accuracy"]["value"] <= 1
    assert set(figures[0]["seconds"]) == {"sample", "label", "freeze", "reward", "policy"}
    assert [arrow.state for arrow in round_ring(round_facts(rounds_of(notes).get(pk=first.pk)))] == ["done"] * 6
    assert first.policy_run
    assert second.policy == first.policy_run.result
    assert second.policy_run
    assert second.policy_run.reference == first.policy
    assert set(Annotation.objects.values_list("annotator__kind", flat=True)) == {Annotator.Kind.SIMULATED}
    assert not Job.objects.filter(project=notes).exclude(state="succeeded").exists()
    assert snapshot_localise(Snapshot.objects.earliest("pk")).is_dir()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--project", "nowhere", "--base", "notes-base"], "There is no project “nowhere”. There are: garden-helper"),
        (["--base", "/no/such/model"], "“/no/such/model” is neither a folder nor a model that is ready here"),
        (
            ["--base", "notes-base", "--reward", "colour=3"],
            "--reward colour=3: write OPTION=VALUE, where OPTION is one",
        ),
        (["--base", "notes-base", "--sample", "max_tokens"], "--sample max_tokens: write OPTION=VALUE"),
        (["--base", "notes-base", "--preference", "beta=hot"], "--preference beta=hot: it must be a number"),
        (["--base", "notes-base", "--completions", "12"], "it must be from 2 to 9, not 12"),
        (["--base", "notes-base", "--rounds", "0"], "--rounds: it must be at least 1, not 0"),
    ],
)
def test_what_cannot_be_done_is_said_before_anything_is_begun(notes: Project, arguments: list[str], said: str) -> None:
    before = Round.objects.count()
    named = [] if "--project" in arguments else ["--project", notes.slug]
    with pytest.raises(CommandError) as raised:
        ring(*named, *arguments)
    assert said in str(raised.value)
    assert Round.objects.count() == before
    assert not Job.objects.exists()


def test_a_failed_arrow_ends_it_with_a_plain_message(notes: Project, tmp_path: Path) -> None:
    pytest.importorskip("torch")
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "config.json").write_text("{}")
    with pytest.raises(CommandError, match=r"“Sampling from broken” failed: "):
        ring("--project", notes.slug, "--base", str(broken), *FAST)
    assert ModelVersion.objects.filter(name="broken", location=str(broken)).exists()
    assert Job.objects.get().state == Job.State.FAILED


def test_there_is_nothing_to_freeze_without_labels(notes: Project) -> None:
    with pytest.raises(CommandError, match="“Freezing labels” failed: "):
        ring("--project", notes.slug, "--base", "notes-base", "--labels", "existing")


def test_a_project_without_an_admin_has_nobody_to_work_for(notes: Project) -> None:
    notes.memberships.all().delete()
    with pytest.raises(CommandError, match="has no admin"):
        ring("--project", notes.slug, "--base", "notes-base")


@pytest.mark.services
def test_it_tells_which_prompts_are_too_long(project: Project, omar: User, tmp_path: Path) -> None:
    pytest.importorskip("torch")
    learner, tester = (_author(project, split) for split in ("train", "test"))
    rows = [*(_compared(f"Is {number} even?", learner) for number in range(12)), _compared("Why? " * 99, tester)]
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    call_command("import", str(path), project=project.slug, stdout=StringIO())
    model = tiny_llama(tmp_path / "tiny", positions=64)
    said = ring("--project", project.slug, "--base", str(model), "--labels", "existing", "--split", "test")
    assert said.count("12 of 12 comparisons to learn from (12 groups), 0 of 1 comparisons held out (0 groups)") == 2
    assert said.count("\n          held out: 1 left out, a completion and the least of its prompt do not fit\n") == 2
    assert "(0 completions came in. Prompts too long to be answered: 1 by “round-1-policy”.)" in said


def _author(project: Project, split: str) -> str:
    """Somebody whose prompts are in this split."""
    return next(name for name in map(str, range(1000)) if split_of(project.salt, name) == split)


def _compared(prompt: str, author: str) -> dict[str, Any]:
    completions = [{"id": name, "text": f"Answer {name}", "model": None} for name in "ab"]
    said = [{"annotator": "somebody", "order": ["a", "b"]}]
    return {"prompt": prompt, "author": author, "completions": completions, "rankings": said}
