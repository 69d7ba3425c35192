"""Verdicts: how a ranking is written in a line, read again, and counted."""

from itertools import permutations

import pytest

from trainer.critiques.verdicts import LETTERS, agreement, tiers_of, verdict_read, verdict_scores, verdict_write
from trainer.records import EdgeRow


def weak_orders(k: int) -> list[list[list[int]]]:
    """Every ranking with ties of k places."""
    found = {
        tuple(tuple(sorted(order[start:end])) for start, end in zip((0, *cuts), (*cuts, k), strict=True))
        for order in permutations(range(k))
        for cuts in [tuple(place for place in range(1, k) if mask >> place & 1) for mask in range(2**k)]
    }
    return [[list(tier) for tier in tiers] for tiers in sorted(found)]


def test_a_verdict_is_one_line() -> None:
    assert verdict_write([[1], [2, 0]]) == "Best to worst: B A=C"
    assert verdict_write([[0, 1]]) == "Best to worst: A=B"


@pytest.mark.parametrize("k", [2, 3, 4])
def test_what_is_written_is_read_again(k: int) -> None:
    orders = weak_orders(k)
    assert len(orders) == {2: 3, 3: 13, 4: 75}[k]  # the ordered Bell numbers
    for tiers in orders:
        assert verdict_read("It depends.\n\n" + verdict_write(tiers), k) == tiers


def test_all_letters_have_their_place() -> None:
    tiers = [[place] for place in reversed(range(len(LETTERS)))]
    assert verdict_read(verdict_write(tiers), 26) == tiers


@pytest.mark.parametrize(
    "text",
    [
        "Best to worst: B A=C",
        "best to worst: b a = c",
        "Reasons.\nBest to worst: B > A=C.",
        "Best to worst: B, A=C\n",
        "**Best to worst:** B A=C",
        "**Best to worst: B A=C**",
        "Best to worst: A B C\nNo, wait.\nBest to worst: B C=A",  # the last one counts
        "Best to worst: B A=C\r\n\r\nThat is all.",
    ],
)
def test_small_differences_are_forgiven(text: str) -> None:
    assert verdict_read(text, 3) == [[1], [0, 2]]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "B is best.",
        "Best to worst:",
        "Best to worst: B A",  # C is missing
        "Best to worst: B A=C D",
        "Best to worst: B A=C A",
        "Best to worst: B A=",
        "Best to worst: =B A C",
        "Best to worst: B A== C",
        "Best to worst: B >> A C",
        "Best to worst: B A=C because it is",
        "Best to worst: 2 1 3",
        "The best to worst: B A C",
        "Best to worst: B A C\nBest to worst: B",  # the last one counts
    ],
)
def test_other_lines_are_no_verdict(text: str) -> None:
    assert verdict_read(text, 3) is None


def edges(*said: tuple[int, str, int]) -> list[EdgeRow]:
    return [EdgeRow(i=i, j=j, outcome=outcome, strength=None, weight=1.0) for i, outcome, j in said]


def test_edges_amount_to_a_ranking() -> None:
    said = edges((2, ">", 0), (2, ">", 1), (0, "=", 1))
    assert tiers_of(said, [0, 1, 2]) == [[2], [0, 1]]
    assert tiers_of(said, [2, 0, 1]) == [[0], [1, 2]]  # numbered in the order that is asked for
    assert tiers_of(said, [1, 2]) == [[1], [0]]  # place 0 is not asked for


@pytest.mark.parametrize(
    "said",
    [
        [],
        [(0, ">", 1), (0, ">", 2)],  # 1 and 2 were not compared
        [(0, ">", 1), (1, ">", 2), (2, ">", 0)],
        [(0, ">", 1), (1, ">", 0), (0, ">", 2), (1, ">", 2)],
        [(0, "=", 1), (1, "=", 2), (0, ">", 2)],
        [(0, ">", 1), (0, ">", 1), (0, ">", 2), (1, ">", 2)],
    ],
)
def test_edges_that_are_no_ranking_have_no_tiers(said: list[tuple[int, str, int]]) -> None:
    assert tiers_of(edges(*said), [0, 1, 2]) is None


@pytest.mark.parametrize("k", [2, 3, 4])
def test_every_ranking_is_found_in_its_edges(k: int) -> None:
    for tiers in weak_orders(k):
        tier_of = {place: number for number, tier in enumerate(tiers) for place in tier}
        said = [
            (i, "=" if tier_of[i] == tier_of[j] else ">", j) if tier_of[i] <= tier_of[j] else (j, ">", i)
            for i in range(k)
            for j in range(i + 1, k)
        ]
        assert tiers_of(edges(*said), range(k)) == tiers


def test_scores_count_who_is_worse_less_who_is_better() -> None:
    assert verdict_scores([[1], [0, 2]], 3) == [-1.0, 2.0, -1.0]
    assert verdict_scores([[3], [0], [1, 2]], 4) == [1.0, -2.0, -2.0, 3.0]
    assert verdict_scores([[0, 1]], 2) == [0.0, 0.0]


def test_what_cannot_be_read_prefers_nothing() -> None:
    assert verdict_scores(None, 3) == [0.0, 0.0, 0.0]


def test_verdicts_agree_on_a_share_of_the_pairs() -> None:
    """A > B > C against A > C > B: AB and AC of three pairs; against A > B=C the same two; against C > B > A none."""
    said = [[0], [1], [2]]
    assert agreement(said, said, 3) == 1.0
    assert agreement(said, [[0], [2], [1]], 3) == pytest.approx(2 / 3)
    assert agreement(said, [[0], [1, 2]], 3) == pytest.approx(2 / 3)
    assert agreement(said, [[2], [1], [0]], 3) == 0.0
