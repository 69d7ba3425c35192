"""The ring on labels and a model that people published, beside counts made without any of the project's code."""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from io import StringIO
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command

from labelapp.models import Completion, Project, Prompt, User
from tests.datasets.adapters import FINEGRAINED, OASST, finegrained_row, oasst_row, read_gzipped, write_gzipped
from tests.trainer.models import STORIES

Row = dict[str, Any]
QUESTION_LENGTH, TREE_LENGTH = 288, 320
"""Tokens of prompt and completion. The model reads 512; fewer leave fewer comparisons, so that the tests are short."""
SALT = 260
"""Holds out enough of what remains of both sets."""
TRAINING = ("epochs=1", "prompts_per_step=8", "micro_tokens=4096", "learning_rate=5e-4")

pytestmark = [
    pytest.mark.django_db,
    pytest.mark.services,
    pytest.mark.skipif(not STORIES.exists(), reason=f"there is no {STORIES}"),
    pytest.mark.skipif(not FINEGRAINED.exists(), reason=f"there is no {FINEGRAINED}"),
    pytest.mark.skipif(not OASST.exists(), reason=f"there is no {OASST}"),
]


def question_rows() -> list[Row]:
    """Questions without their passages, which are longer than the model reads."""
    return [{**finegrained_row(question), "prompt": question["question"]} for question in read_gzipped(FINEGRAINED)]


def tree_rows() -> list[Row]:
    """Conversations; those of one tree begin alike, so that they must share a split."""
    return [oasst_row(group) for group in read_gzipped(OASST)]


@dataclass
class Counted:
    """What should remain of a split, and how often the longer completion is the better one in it."""

    found: int = 0
    kept: int = 0
    shortened: int = 0
    tied: int = 0
    longer: list[float] = field(default_factory=list)

    @property
    def used(self) -> str:
        return f"{self.kept} of {self.found} comparisons"


class Counter:
    """Counts tokens with the model's bare tokenizer."""

    def __init__(self) -> None:
        backend = pytest.importorskip("tokenizers").Tokenizer.from_file(str(STORIES / "tokenizer.json"))
        self._encode: Callable[[str], Any] = partial(backend.encode, add_special_tokens=False)

    def tokens(self, text: str) -> int:
        return len(self._encode(text).ids)

    def prompt(self, messages: list[dict[str, str]]) -> int:
        """Tokens of a conversation as written for the model, the first token <s> among them."""
        ends = {"assistant": "</s>\n\n", "user": "\n\n"}
        turns = [f"{turn['role'].capitalize()}:\n{turn['content']}{ends[turn['role']]}" for turn in messages]
        return 1 + self.tokens("".join(turns) + "Assistant:\n")

    def answer(self, text: str) -> int:
        return self.tokens(text) + 1

    def count(self, rows: list[Row], splits: dict[str, str], split: str, size: int) -> Counted:
        counted = Counted()
        for row in (row for row in rows if splits[str(row["id"])] == split):
            counted.found += 1
            messages = row.get("messages") or [{"role": "user", "content": row["prompt"]}]
            starts = [0, *(at for at, turn in enumerate(messages) if turn["role"] == "user" and at)]
            room = size - max(self.answer(completion["text"]) for completion in row["completions"])
            fitting = [at for at in starts if self.prompt(messages[at:]) <= room]
            if fitting:
                self._keep(counted, row, shortened=fitting[0] > 0)
        return counted

    def _keep(self, counted: Counted, row: Row, *, shortened: bool) -> None:
        counted.kept += 1
        counted.shortened += shortened
        lengths = {completion["id"]: self.answer(completion["text"]) for completion in row["completions"]}
        wins = won(row)
        counted.tied += not wins
        counted.longer += [1.0 if lengths[a] > lengths[b] else 0.5 * (lengths[a] == lengths[b]) for a, b in wins]


def won(row: Row) -> list[tuple[Any, Any]]:
    """Every pair in which somebody prefers the first."""
    strict = [said for said in row.get("preferences", []) if said["preferred"] != "tie"]
    pairs = [(said["a"], said["b"]) if said["preferred"] == "a" else (said["b"], said["a"]) for said in strict]
    return pairs + [pair for said in row.get("rankings", []) for pair in combinations(said["order"], 2)]


@dataclass
class Turned:
    """A turn of the ring: what went in, what it printed, and its figures."""

    project: Project
    rows: list[Row]
    size: int
    said: str
    figures: dict[str, Any]

    def counted(self, split: str) -> Counted:
        splits = dict(Prompt.objects.filter(project=self.project).values_list("external_id", "split"))
        return Counter().count(self.rows, splits, split, self.size)


Turn = Callable[[list[Row], int], Turned]


@pytest.fixture
def turn(project: Project, omar: User, tmp_path: Path) -> Turn:
    """Import rows into a project whose splits are always the same, and turn the ring with the published model."""
    pytest.importorskip("torch")
    project.salt = f"{SALT:032x}"
    project.save()

    def turn_it(rows: list[Row], size: int) -> Turned:
        call_command("import", str(write_gzipped(tmp_path / "rows.gz", rows)), project=project.slug, stdout=StringIO())
        options = [f"max_length={size}", *TRAINING]
        said, figures = StringIO(), tmp_path / "figures.json"
        call_command(
            *("ring", "--project", project.slug, "--base", str(STORIES), "--labels", "existing", "--split", "test"),
            *("--sample", "max_tokens=32", "--json", str(figures)),
            *(part for option in options for part in ("--reward", option, "--preference", option)),
            stdout=said,
        )
        return Turned(project, rows, size, said.getvalue(), json.loads(figures.read_text())["rounds"][0])

    return turn_it


def test_the_ring_turns_on_questions_without_their_passages(turn: Turn) -> None:
    turned = turn(question_rows(), QUESTION_LENGTH)
    assert "-> 250 comparisons: 250 prompts, 1,500 pairs, 11.3 % of them ties" in turned.said
    _it_says_what_remained(turned)
    _it_measures_beside_baselines(turned)
    _the_new_policy_writes(turned)


def test_the_ring_turns_on_conversation_trees(turn: Turn) -> None:
    turned = turn(tree_rows(), TREE_LENGTH)
    assert "-> 212 comparisons: 212 prompts, 754 pairs, 0.0 % of them ties" in turned.said
    _it_says_what_remained(turned)
    _it_measures_beside_baselines(turned)
    _the_new_policy_writes(turned)
    assert turned.counted("train").shortened > 0


def _it_says_what_remained(turned: Turned) -> None:
    train, held_out = turned.counted("train"), turned.counted("validation")
    assert held_out.kept >= 3
    groups, tested = train.kept - train.tied, held_out.kept - held_out.tied
    remained = f"{train.used} to learn from ({groups} groups), {held_out.used} held out ({tested} groups)"
    assert turned.said.count(remained) == 2
    for counted, words in ((train, "to learn from"), (held_out, "held out")):
        assert _remark(turned, words, "left out, a completion and the least") == counted.found - counted.kept
        assert _remark(turned, words, "more groups? (?:are|is) all ties") == counted.tied
        assert _remark(turned, words, "prompts? lost the oldest turns") == counted.shortened


def _remark(turned: Turned, words: str, what: str) -> int:
    """The number that is printed of both trainings; 0 where nothing is."""
    numbers = re.findall(rf"\n +{words}: ([\d,]+) {what}", turned.said)
    assert len(numbers) in {0, 2}
    assert len(set(numbers)) <= 1
    return int(numbers[0].replace(",", "")) if numbers else 0


def _it_measures_beside_baselines(turned: Turned) -> None:
    held_out = turned.counted("validation")
    pairs = len(held_out.longer)
    longer = sum(held_out.longer) / pairs
    for report in (turned.figures["reward_report"], turned.figures["policy_report"]):
        metrics = report["metrics"]
        assert 0 <= metrics["accuracy_low"] <= metrics["accuracy"] <= metrics["accuracy_high"] <= 1
        assert metrics["accuracy_high"] - metrics["accuracy_low"] > 0.1
        assert metrics["longer_wins"] == pytest.approx(longer)
        assert (metrics["random"], metrics["comparisons"]) == (0.5, pairs)
        assert metrics["prompts"] == held_out.kept - held_out.tied
    told = rf"of {pairs} held-out pairs right \(95 %: .*\); longer wins {100 * longer:.1f} %, random 50 %."
    for judge in ("Reward model", "New policy as a judge"):
        assert re.search(rf"\n  {judge}: [\d.]+ % {told}\n", turned.said)


def _the_new_policy_writes(turned: Turned) -> None:
    policy = turned.figures["new_policy"]
    written = list(Completion.objects.filter(prompt__project=turned.project, model_version__name=policy).order_by("pk"))
    assert len(written) == 3
    assert {completion.prompt.split for completion in written} == {"test"}
    _, _, shown = turned.said.partition(f"\n{policy} writes:\n")
    assert [line[4:] for line in shown.splitlines()[1::2]] == [
        " ".join(completion.text.split()) or "(nothing)" for completion in written
    ]
