"""What the documents say that can be checked: their links, examples, folders and variables."""

import re
from pathlib import Path
from textwrap import dedent

import pytest
from django.conf import settings

from labelapp.datasets.rows import row_parse
from labelapp.demo.seed import demo_seed
from labelapp.models import Job, ModelVersion, Project
from tests.factories import prompt_make, reward_make, run_make

ROOT = Path(settings.BASE_DIR)
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
LINK = re.compile(r"(?<!!)\[[^]]*\]\(([^)#]+)[^)]*\)")
VARIABLE = re.compile(r'env_(?:str|bool|int|list)\(\s*"([A-Z_]+)"')
OUTSIDE = {"DATABASE_URL", "CELERY_BROKER_URL"}
"""Read where a variable's name is passed on; the others are read by name."""


def blocks(document: str) -> list[str]:
    """The indented blocks of a document."""
    text = (ROOT / document).read_text()
    return [dedent(block).strip() for block in re.findall(r"(?:^ {4}.*\n|^\n(?= {4}))+", text, re.MULTILINE)]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_to_files(document: Path) -> None:
    targets = [target for target in LINK.findall(document.read_text()) if "://" not in target]
    assert [target for target in targets if not (document.parent / target).exists()] == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_files_that_are_named_are_there(document: Path) -> None:
    named = re.findall(r"`((?:labelapp|tests|templates|docs|static)/[\w/.-]+\w)`", document.read_text())
    assert [path for path in named if not (ROOT / path).exists()] == []


def test_every_variable_that_is_read_is_explained() -> None:
    sources = [path.read_text() for path in (ROOT / "labelapp").rglob("*.py")]
    read = {name for source in sources for name in VARIABLE.findall(source)}
    for path in (ROOT / "trainer").rglob("*.py"):
        read |= set(re.findall(r'"(PREFLOOP_[A-Z_]+)"', path.read_text()))
    rows = [line for line in (ROOT / "docs" / "operators.md").read_text().splitlines() if line.startswith("| `")]
    explained = {name for row in rows for name in re.findall(r"`([A-Z_]{4,})`", row.split("|")[1])}
    assert explained == read | OUTSIDE


def test_the_tree_of_the_readme_names_every_room() -> None:
    tree = next(block for block in blocks("README.md") if block.startswith("manage.py"))
    rooms = {path.parent.name for path in (ROOT / "labelapp").glob("*/__init__.py")}
    assert rooms <= set(re.findall(r"([a-z]+)/", tree))


def test_the_example_of_a_row_can_be_imported() -> None:
    example = next(block for block in blocks("docs/ml-engineers.md") if block.startswith('{"id"'))
    row = row_parse(example.encode())
    assert (len(row.completions), len(row.judgements), len(row.demonstrations)) == (3, 2, 1)


@pytest.mark.django_db
def test_the_example_of_reading_labels_runs(capsys: pytest.CaptureFixture[str]) -> None:
    demo_seed()
    example = next(
        block for block in blocks("docs/ml-engineers.md") if block.startswith("from labelapp.models import Annotation")
    )
    exec(example)
    printed = capsys.readouterr().out.splitlines()
    assert len(printed) > 50
    assert all(re.match(r"(train|validation|test) ", line) for line in printed)


@pytest.mark.django_db
def test_the_examples_of_sampling_and_training_start_jobs(project: Project) -> None:
    run_make(project, "earlier")
    prompt_make(project)
    members = [reward_make(project, name) for name in ("Helpful", "Safe")]
    examples = [block for block in blocks("docs/ml-engineers.md") if "created_by=None" in block]
    for example in examples:
        exec(example.replace('"demo"', f'"{project.slug}"'), {})
    kinds = sorted(Job.objects.exclude(title="Reward model: earlier").values_list("kind", flat=True))
    assert kinds == ["sample", "train", "train"]
    assert list(ModelVersion.objects.filter(memberships__run__name="Both").order_by("memberships")) == members
