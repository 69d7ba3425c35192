"""Which plots a run gets, and what they show of its events and its report."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from trainer.data.groups import Edge
from trainer.reports.metrics import accuracy_breakdown, accuracy_report
from trainer.reports.plots import plots_of, plots_write


def event(kind: str, step: int, **values: float) -> dict[str, Any]:
    return {"kind": kind, "step": step, "total": 4, "values": values}


RUN = [
    event("eval", 0, loss=0.7, accuracy=0.5, accuracy_low=0.4, accuracy_high=0.6, longer_wins=0.55, random=0.5, kl=0.0),
    event("train", 1, loss=0.69, accuracy=0.5, learning_rate=1e-5, grad_norm=2.0, margin=0.1, kl=0.1),
    event("train", 2, loss=0.6, learning_rate=2e-5, grad_norm=1.0, margin=0.3, kl=0.4),
    event(
        "eval", 2, loss=0.65, accuracy=0.6, accuracy_low=0.5, accuracy_high=0.7, longer_wins=0.55, random=0.5, kl=0.3
    ),
]
EDGES = [[Edge(0, 1, ">", 1.0, strength, "experts")] for strength in (1, 1, 4)]
JUDGED = ([1, 2, 3], [[1.0, 0.0], [0.0, 1.0], [2.0, 0.0]], [[4, 4], [4, 9], [60, 9]], EDGES)
REPORT = {"metrics": accuracy_report(*JUDGED), "breakdown": accuracy_breakdown(*JUDGED)}


def named(events: list[dict[str, Any]], report: Mapping[str, Any] | None = None) -> dict[str, Any]:
    return {plot.name: plot for plot in plots_of(events, report or {})}


def test_every_plot_is_a_file_of_its_name(tmp_path: Path) -> None:
    paths = plots_write(tmp_path, RUN, REPORT)
    assert [path.name for path in paths] == [
        "loss.svg", "margin.svg", "kl.svg", "learning_rate.svg", "grad_norm.svg", "accuracy.svg", "reward_kl.svg",
        "accuracy_by_strength.svg", "accuracy_by_group.svg", "accuracy_by_length.svg",
        "accuracy_by_preferred_length.svg", "calibration.svg",
    ]  # fmt: skip
    assert {path.parent for path in paths} == {tmp_path / "plots"}
    assert all(path.read_text(encoding="utf-8").startswith("<svg ") for path in paths)


def test_what_was_not_measured_has_no_plot(tmp_path: Path) -> None:
    assert list(named([event("train", 1, loss=1.0)])) == ["loss"]
    assert plots_write(tmp_path, [event("progress", 1)], {}) == []
    assert not (tmp_path / "plots").exists()


def test_plots_that_are_written_again_replace_the_old_ones(tmp_path: Path) -> None:
    first = plots_write(tmp_path, RUN, REPORT)
    content = {path.name: path.read_bytes() for path in first}
    assert {path.name: path.read_bytes() for path in plots_write(tmp_path, RUN, REPORT)} == content
    plots_write(tmp_path, RUN[:2], {})
    assert not (tmp_path / "plots" / "calibration.svg").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["plots"]


def test_the_loss_is_that_of_training_and_of_held_out_prompts() -> None:
    train, held_out = named(RUN)["loss"].series
    assert (train.name, train.points) == ("training", [(1, 0.69), (2, 0.6)])
    assert (held_out.name, held_out.points) == ("held out", [(0, 0.7), (2, 0.65)])


def test_the_accuracy_has_its_interval_and_a_baseline() -> None:
    train, held_out, baseline = named(RUN)["accuracy"].series
    assert train.points == [(1, 0.5)]
    assert held_out.intervals == [(0, 0.4, 0.6), (2, 0.5, 0.7)]
    assert (baseline.name, baseline.points, baseline.kind) == ("longer wins", [(0, 0.55), (2, 0.55)], "dashed")
    (alone,) = named([event("train", 1, accuracy=0.5)])["accuracy"].series
    assert not alone.intervals


def test_the_reward_against_distance_is_that_of_held_out_prompts_where_there_is_one() -> None:
    (series,) = named(RUN)["reward_kl"].series
    assert (series.name, series.points, series.kind) == ("training", [(0.1, 0.1), (0.4, 0.3)], "dots")
    evaluated = [event("eval", step, kl=step / 2, reward=float(step), margin=9.0) for step in (0, 2)]
    (series,) = named([*RUN, *evaluated])["reward_kl"].series
    assert (series.name, series.points) == ("held out", [(0, 0), (1, 2)])


def test_rewards_and_lengths_are_drawn_together() -> None:
    events = [event("eval", step, chosen_reward=0.1, rejected_reward=-0.1, chosen_length=9.0) for step in (0, 2)]
    plots = named([*events, event("train", 1, rejected_length=7.0)])
    assert [series.name for series in plots["rewards"].series] == ["preferred, held out", "other, held out"]
    assert [series.name for series in plots["lengths"].series] == ["preferred, held out"]


def test_the_breakdown_is_drawn_with_its_intervals_beside_the_whole() -> None:
    plots = named([], REPORT)
    dots, whole = plots["accuracy_by_strength"].series
    assert plots["accuracy_by_strength"].labels == ["1 (2)", "4 (1)"]
    assert dots.points == [(0, 0.5), (1, 1.0)]
    assert [place for place, _, _ in dots.intervals] == [0, 1]
    assert whole.points == [(-0.5, pytest.approx(2 / 3)), (1.5, pytest.approx(2 / 3))]
    assert plots["accuracy_by_length"].labels == ["0 (1)", "1–7 (1)", "32–127 (1)"]
    assert [words.split(" (")[0] for words in plots["accuracy_by_preferred_length"].labels] == [
        "longer", "shorter", "as long",
    ]  # fmt: skip


def test_calibration_is_drawn_beside_the_diagonal() -> None:
    dots, said = named([], REPORT)["calibration"].series
    assert [round(x, 3) for x, _ in dots.points] == [0.731, 0.881]
    assert [y for _, y in dots.points] == [0.5, 1.0]
    assert said.points == [(0.5, 0.5), (1.0, 1.0)]
