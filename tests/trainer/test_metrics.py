"""The figures of a report, held to numbers worked by hand and to a recomputation in plain loops from dumped scores."""

import itertools
import json
import math
import random
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest

from trainer.data.groups import Edge
from trainer.reports.metrics import accuracy_breakdown, accuracy_report

Judged = tuple[list[int], list[list[float]], list[list[int]], list[list[Edge]]]


def better(i: int, j: int, weight: float = 1.0, strength: int | None = None, annotators: str = "") -> Edge:
    return Edge(i, j, ">", weight, strength, annotators)


def one(scores: list[float], edges: list[Edge], lengths: list[int] | None = None) -> Judged:
    """A single group."""
    return [1], [scores], [lengths or [5] * len(scores)], [edges]


def random_groups(number: int, seed: int = 0) -> Judged:
    """Ragged groups, one or two to a prompt, ranked by one or two annotators, with ties and weights of all kinds."""
    dice = random.Random(seed)
    prompts: list[int] = []
    scores, lengths, edges = [], [], []
    for group in range(number):
        k = dice.randint(2, 5)
        prompts.append(1000 - group // 2 if group % 3 else 5000 + group)
        scores.append([dice.choice([-1.5, 0.0, 0.5, dice.gauss(0, 2)]) for _ in range(k)])
        lengths.append([dice.choice([10, 11, 40, dice.randint(1, 300)]) for _ in range(k)])
        said = []
        for annotators in dice.sample(["expert", "crowd", ""], dice.randint(1, 2)):
            ranks, weight = [dice.randint(0, 2) for _ in range(k)], dice.choice([1.0, 0.5, 1 / 3])
            for i, j in itertools.combinations(range(k), 2):
                outcome = "=" if ranks[i] == ranks[j] else ">"
                pair = (i, j) if ranks[i] <= ranks[j] else (j, i)
                said.append(Edge(*pair, outcome, weight, dice.choice([None, 1, 2, 3, 4]), annotators))
        edges.append(said)
    return prompts, scores, lengths, edges


# --- The same from dumped scores, one comparison at a time --------------------------------------------------------
def dumped(judged: Judged, path: Path) -> list[dict[str, Any]]:
    """One line for each comparison, written and read again."""
    lines = [
        {"prompt": prompt, "group": number, **edge._asdict(), "score": [score[edge.i], score[edge.j]]}
        | {"tokens": [length[edge.i], length[edge.j]], "k": len(score)}
        for number, (prompt, score, length, said) in enumerate(zip(*judged, strict=True))
        for edge in said
    ]
    path.write_text("\n".join(json.dumps(line) for line in lines))
    return [json.loads(line) for line in path.read_text().splitlines()]


def half_sign(value: float) -> float:
    return 1.0 if value > 0 else 0.5 if value == 0 else 0.0


def share_of(lines: list[dict[str, Any]], judge: Any) -> float:
    total = math.fsum(line["weight"] for line in lines)
    return math.fsum(line["weight"] * half_sign(judge(line)) for line in lines) / total


def margin(line: dict[str, Any]) -> float:
    return float(line["score"][0] - line["score"][1])


def longer(line: dict[str, Any]) -> float:
    return float(line["tokens"][0] - line["tokens"][1])


def first(line: dict[str, Any]) -> float:
    return float(line["j"] - line["i"])


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_figures_are_those_recomputed_from_dumped_scores(tmp_path: Path, seed: int) -> None:
    judged = random_groups(60, seed)
    report = accuracy_report(*judged)
    lines = dumped(judged, tmp_path / "scores.jsonl")
    strict = [line for line in lines if line["outcome"] == ">"]
    expected = {
        "accuracy": share_of(strict, margin),
        "longer_wins": share_of(strict, longer),
        "first_wins": share_of(strict, first),
        "over_longer_wins": share_of(strict, margin) - share_of(strict, longer),
        "accuracy_ties_half": share_of(lines, lambda line: margin(line) if line["outcome"] == ">" else 0.0),
        "prompts": len({line["prompt"] for line in strict}),
        "comparisons": len(strict),
        "ties_left_out": len(lines) - len(strict),
    }
    alike = [line for line in strict if abs(longer(line)) < 0.1 * max(line["tokens"])]
    expected |= {"length_matched": share_of(alike, margin), "length_matched_comparisons": len(alike)}
    of_prompts = defaultdict(list)
    for line in lines:
        of_prompts[line["prompt"]].append(line)
    ranked = {key: [line for line in own if line["outcome"] == ">"] for key, own in of_prompts.items()}
    means = [share_of(own, margin) for own in ranked.values() if own]
    expected["prompt_accuracy"] = math.fsum(means) / len(means)
    losses = [line["weight"] * math.log1p(math.exp(-margin(line))) for line in strict]
    expected["log_loss"] = math.fsum(losses) / math.fsum(line["weight"] for line in strict)
    assert {name: report[name] for name in expected} == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("seed", [0, 1])
def test_the_breakdown_is_that_recomputed_from_dumped_scores(tmp_path: Path, seed: int) -> None:
    judged = random_groups(60, seed)
    found = accuracy_breakdown(*judged)
    strict = [line for line in dumped(judged, tmp_path / "scores.jsonl") if line["outcome"] == ">"]

    def expected(chosen: list[dict[str, Any]]) -> tuple[float, int, int]:
        return share_of(chosen, margin), len(chosen), len({line["prompt"] for line in chosen})

    def given(row: dict[str, Any]) -> tuple[float, int, int]:
        assert 0 <= row["low"] <= row["accuracy"] <= row["high"] <= 1
        return row["accuracy"], row["comparisons"], row["prompts"]

    assert [row["strength"] for row in found["by_strength"]] == [1, 2, 3, 4]
    for row in found["by_strength"]:
        chosen = [line for line in strict if line["strength"] == row["strength"]]
        assert given(row) == pytest.approx(expected(chosen))
    assert [row["group"] for row in found["by_group"]] == ["crowd", "expert"]
    for row in found["by_group"]:
        assert given(row) == pytest.approx(expected([line for line in strict if line["annotators"] == row["group"]]))
    assert [(row["least"], row["most"]) for row in found["by_length"]] == [
        (0, 0), (1, 7), (8, 31), (32, 127), (128, None),
    ]  # fmt: skip
    for row in found["by_length"]:
        most = math.inf if row["most"] is None else row["most"]
        chosen = [line for line in strict if row["least"] <= abs(longer(line)) <= most]
        assert given(row) == pytest.approx(expected(chosen))
    signs = {"longer": 1, "shorter": -1, "as long": 0}
    assert [row["preferred"] for row in found["by_preferred_length"]] == list(signs)
    for row in found["by_preferred_length"]:
        chosen = [line for line in strict if math.copysign(longer(line) != 0, longer(line)) == signs[row["preferred"]]]
        assert given(row) == pytest.approx(expected(chosen))
    for name in ("by_length", "by_preferred_length", "calibration"):
        assert sum(row["comparisons"] for row in found[name]) == len(strict)
    assert json.loads(json.dumps(found, allow_nan=False)) == found


# --- Kendall's tau ------------------------------------------------------------------------------------------------
def tau_b(x: list[float], y: list[float]) -> float:
    """As Kendall (1945) writes it: (P − Q) / √((P + Q + X₀)(P + Q + Y₀))."""
    concordant = discordant = only_x = only_y = 0
    for i, j in itertools.combinations(range(len(x)), 2):
        a, b = x[i] - x[j], y[i] - y[j]
        concordant += a * b > 0
        discordant += a * b < 0
        only_x += b == 0 and a != 0
        only_y += a == 0 and b != 0
    both = concordant + discordant
    return (concordant - discordant) / math.sqrt((both + only_x) * (both + only_y))


@pytest.mark.parametrize("seed", range(8))
def test_the_tau_of_a_ranking_is_kendalls(seed: int) -> None:
    dice = random.Random(seed)
    quality, scores = [dice.randint(0, 3) for _ in range(6)], [float(dice.randint(0, 4)) for _ in range(6)]
    pairs = itertools.combinations(range(6), 2)
    edges = [
        Edge(i, j, "=", 0.5)
        if quality[i] == quality[j]
        else better(*((i, j) if quality[i] > quality[j] else (j, i)), 0.5)
        for i, j in pairs
    ]
    assert accuracy_report(*one(scores, edges))["kendall_tau"] == pytest.approx(
        tau_b(list(map(float, quality)), scores)
    )


def test_the_mean_tau_is_over_prompts_and_not_over_groups() -> None:
    """Prompt 1: two groups that agree and one that does not, τ = 1/3. Prompt 2: τ = 1. Their mean is 2/3."""
    right, wrong = [1.0, 0.0], [0.0, 1.0]
    report = accuracy_report([1, 1, 1, 2], [right, right, wrong, right], [[4, 4]] * 4, [[better(0, 1)]] * 4)
    assert report["kendall_tau"] == pytest.approx(2 / 3)
    assert report["kendall_tau_low"] < 2 / 3 < report["kendall_tau_high"] <= 1
    assert report["accuracy"] == pytest.approx(3 / 4)
    assert report["prompt_accuracy"] == pytest.approx(5 / 6)


def test_a_prompt_with_equal_scores_has_no_correlation_and_one_that_is_all_tied_is_left_out() -> None:
    """τ: 1 for the first, 0 for the second, none for the third."""
    report = accuracy_report(
        [1, 2, 3],
        [[1.0, 0.0], [2.0, 2.0], [1.0, 0.0]],
        [[4, 4]] * 3,
        [[better(0, 1)], [better(0, 1)], [Edge(0, 1, "=", 1.0)]],
    )
    assert report["kendall_tau"] == pytest.approx(0.5)


# --- Best of K ----------------------------------------------------------------------------------------------------
def test_best_of_k_asks_whether_the_greatest_score_is_ranked_first() -> None:
    """First of 3: found, chance ⅓. Two first of 4: not found, chance ½. All tied: not asked."""
    report = accuracy_report(
        [1, 2, 3],
        [[3.0, 1.0, 2.0], [0.0, 1.0, 2.0, 5.0], [0.0, 1.0]],
        [[4, 4, 4], [4, 4, 4, 4], [4, 4]],
        [
            [better(0, 1), better(0, 2), Edge(1, 2, "=", 1.0)],
            [Edge(0, 1, "=", 1.0), *(better(i, j) for i in (0, 1) for j in (2, 3)), better(2, 3)],
            [Edge(0, 1, "=", 1.0)],
        ],
    )
    assert report["best_of_k"] == pytest.approx(1 / 2)
    assert report["best_of_k_random"] == pytest.approx((1 / 3 + 1 / 2) / 2)
    assert report["best_of_k_groups"] == 2
    assert 0 <= report["best_of_k_low"] < 0.5 < report["best_of_k_high"] <= 1


def test_completions_that_share_the_greatest_score_share_the_pick() -> None:
    report = accuracy_report(*one([2.0, 2.0, 1.0], [better(0, 1), better(0, 2), better(1, 2)]))
    assert report["best_of_k"] == 0.5


def test_a_completion_that_nobody_compared_is_no_choice() -> None:
    """The third has the greatest score, but nobody said whether it is good."""
    report = accuracy_report(*one([2.0, 1.0, 9.0], [better(0, 1)]))
    assert (report["best_of_k"], report["best_of_k_random"]) == (1.0, 0.5)


def test_a_random_judge_reaches_the_chance_level() -> None:
    prompts, scores, lengths, edges = random_groups(3000, 5)
    dice = random.Random(0)
    report = accuracy_report(prompts, [[dice.random() for _ in score] for score in scores], lengths, edges)
    assert report["best_of_k"] == pytest.approx(report["best_of_k_random"], abs=0.03)
    assert report["accuracy"] == pytest.approx(report["random"], abs=0.03)
    assert report["kendall_tau"] == pytest.approx(0, abs=0.04)


# --- Calibration --------------------------------------------------------------------------------------------------
def test_the_calibration_error_by_hand() -> None:
    """Two comparisons are two bins: σ(1) = 0.731 and right, σ(3) = 0.953 and wrong."""
    report = accuracy_report([1, 2], [[1.0, 0.0], [3.0, 0.0]], [[4, 4]] * 2, [[better(0, 1)], [better(1, 0)]])
    assert report["ece"] == pytest.approx(((1 - 0.7310585786) + 0.9525741268) / 2)


def test_bins_have_equal_counts_and_say_what_was_predicted() -> None:
    scores = [[number / 10, 0.0] for number in range(1, 41)]
    rows = accuracy_breakdown(list(range(40)), scores, [[4, 4]] * 40, [[better(0, 1)]] * 40)["calibration"]
    assert [row["comparisons"] for row in rows] == [4] * 10
    assert (rows[0]["least"], rows[0]["most"], rows[-1]["most"]) == (0.1, 0.4, 4.0)
    assert rows[0]["predicted"] == pytest.approx(sum(1 / (1 + math.exp(-x / 10)) for x in (1, 2, 3, 4)) / 4)
    assert all(row["accuracy"] == 1 for row in rows)


def test_equal_differences_share_a_bin_however_the_groups_are_ordered() -> None:
    """Thirty comparisons with the difference 1, ten with 2: half of the first thirty are right."""
    groups = [(number, [1.0, 0.0], number % 2) for number in range(30)]
    groups += [(number, [2.0, 0.0], 0) for number in range(30, 40)]

    def rows(order: list[tuple[int, list[float], int]]) -> list[dict[str, Any]]:
        edges = [[better(worse, 1 - worse)] for _, _, worse in order]
        prompts, scores = [prompt for prompt, _, _ in order], [score for _, score, _ in order]
        return accuracy_breakdown(prompts, scores, [[4, 4]] * 40, edges)["calibration"]

    found = rows(groups)
    assert [(row["comparisons"], row["accuracy"]) for row in found] == [(30, 0.5), (10, 1.0)]
    assert rows(groups[::-1]) == found


def test_a_calibrated_judge_has_a_small_error_and_a_bold_one_a_great_one() -> None:
    dice = random.Random(0)
    margins = [dice.gauss(0, 1.5) for _ in range(8000)]
    edges = [[better(0, 1) if dice.random() < 1 / (1 + math.exp(-margin)) else better(1, 0)] for margin in margins]

    def ece(scale: float) -> float:
        scores = [[scale * margin, 0.0] for margin in margins]
        return accuracy_report(list(range(8000)), scores, [[4, 4]] * 8000, edges)["ece"]

    assert ece(1.0) < 0.02
    assert ece(10.0) > 0.15


# --- The report as a whole ----------------------------------------------------------------------------------------
def test_a_report_shows_accuracy_beside_its_baselines() -> None:
    """Scores get both right; the longer one wins once, and equal lengths count one half; the first wins once."""
    report = accuracy_report(
        prompts=[1, 2],
        scores=[[2.0, 1.0, 0.0], [0.0, 1.0]],
        lengths=[[9, 5, 5], [4, 4]],
        edges=[[better(0, 1), Edge(1, 2, "=", 1.0)], [better(1, 0)]],
    )
    assert report["accuracy"] == 1
    assert report["accuracy_ties_half"] == pytest.approx(2.5 / 3)
    assert report["longer_wins"] == 0.75
    assert report["over_longer_wins"] == 0.25
    assert report["first_wins"] == 0.5
    assert report["random"] == 0.5
    assert (report["length_matched"], report["length_matched_comparisons"]) == (1, 1)
    assert (report["prompts"], report["comparisons"], report["ties_left_out"]) == (2, 2, 1)
    assert report["accuracy_low"] < 1 <= report["accuracy_high"]


def test_lengths_are_alike_below_ten_percent_of_the_longer() -> None:
    """19 of 20 is 5 % less, 18 of 20 exactly 10 %."""
    edges = [better(0, 1), better(0, 2)]
    assert accuracy_report(*one([1.0, 0.0, 0.0], edges, [20, 19, 18]))["length_matched_comparisons"] == 1


def test_equal_scores_count_half() -> None:
    edges = [better(0, 1), better(2, 0), better(1, 2, weight=2.0)]
    assert accuracy_report(*one([3.0, 1.0, 1.0], edges))["accuracy"] == pytest.approx((1 + 0 + 2 * 0.5) / 4)


def test_the_order_of_the_groups_changes_no_figure() -> None:
    judged = random_groups(40, 7)
    order = random.Random(0).sample(range(40), 40)
    mixed = tuple([column[number] for number in order] for column in judged)
    assert accuracy_report(*mixed) == pytest.approx(accuracy_report(*judged), abs=1e-12)  # type: ignore[arg-type]


def test_groups_of_one_prompt_are_one_cluster() -> None:
    _, scores, lengths, edges = random_groups(60, 3)
    apart = accuracy_report(list(range(60)), scores, lengths, edges)
    together = accuracy_report([number // 30 for number in range(60)], scores, lengths, edges)
    assert apart["accuracy"] == pytest.approx(together["accuracy"])
    ranked = sum(any(edge.outcome == ">" for edge in said) for said in edges)
    assert (apart["prompts"], together["prompts"]) == (ranked, 2)
    assert together["accuracy_high"] - together["accuracy_low"] != apart["accuracy_high"] - apart["accuracy_low"]


def test_one_prompt_has_figures_with_wide_intervals() -> None:
    report = accuracy_report(*one([2.0, 1.0, 0.0], [better(0, 1), better(1, 2), better(0, 2)]))
    assert report["accuracy"] == 1
    assert report["accuracy_low"] < 0.3
    assert (report["kendall_tau_low"], report["kendall_tau_high"]) == (-1, 1)
    assert all(math.isfinite(value) for value in report.values())


@pytest.mark.parametrize("edges", [[], [Edge(0, 1, "=", 1.0)], [better(0, 1, weight=0.0)]])
def test_a_report_of_nothing_has_no_figures(edges: list[Edge]) -> None:
    judged = one([0.0, 1.0], edges)
    report = accuracy_report(*judged)
    ties = sum(edge.outcome == "=" for edge in edges)
    assert report == {"random": 0.5, "prompts": 0, "comparisons": 0, "ties_left_out": ties}
    assert all(rows == [] for rows in accuracy_breakdown(*judged).values())
    assert accuracy_report([], [], [], [])["comparisons"] == 0


def test_strengths_and_groups_that_were_not_recorded_are_in_no_row() -> None:
    found = accuracy_breakdown(*one([1.0, 0.0, 2.0], [better(0, 1, strength=3), better(0, 2)]))
    assert [(row["strength"], row["accuracy"]) for row in found["by_strength"]] == [(3, 1.0)]
    assert found["by_group"] == []


def test_a_damaged_score_shows_in_the_figures() -> None:
    """A training stops when a number is not finite; it must not be left out."""
    report = accuracy_report(*one([math.nan, 1.0], [better(0, 1)]))
    assert math.isnan(report["accuracy"])


def test_enormous_scores_give_finite_figures() -> None:
    report = accuracy_report(*one([1e4, -1e4], [better(1, 0)]))
    assert report["log_loss"] == pytest.approx(2e4)
    assert report["ece"] == pytest.approx(1.0)
