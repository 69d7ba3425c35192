"""How several labels of one task combine; small enough to be checked by hand."""

import itertools
from fractions import Fraction
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labelapp.datasets.combination import Vote, majority_edges, soft_edges, votes_combine
from labelapp.labeling.ordering import Edge, edges_from_ranking

AB: Edge = (0, 1, ">", None, 1.0)
BA: Edge = (1, 0, ">", None, 1.0)
TIE: Edge = (0, 1, "=", None, 1.0)


def votes(*edges: Edge, weights: tuple[float, ...] = ()) -> list[Vote]:
    """One vote for each edge."""
    return [
        Vote(number, [edge], weight)
        for number, (edge, weight) in enumerate(itertools.zip_longest(edges, weights, fillvalue=1.0))
        if isinstance(edge, tuple)
    ]


def majority(*edges: Edge, weights: tuple[float, ...] = ()) -> list[Edge]:
    return majority_edges(votes(*edges, weights=weights), 2)


def test_all_keeps_each_vote_and_shares_the_weight() -> None:
    rows = votes_combine(votes(AB, BA, TIE, weights=(1.0, 2.0, 1.0)), 2, combine="all", ties="keep")
    assert [(row.labels, row.edges, row.weight) for row in rows] == [
        ([0], [AB], 0.25),
        ([1], [BA], 0.5),
        ([2], [TIE], 0.25),
    ]
    assert [row.ranking for row in rows] == [[[0], [1]], [[1], [0]], [[0, 1]]]


def test_all_with_ties_dropped_has_no_ranking_where_a_tie_was() -> None:
    vote = Vote(1, edges_from_ranking([[0], [1, 2]]))
    [row] = votes_combine([vote], 3, combine="all", ties="drop")
    assert row.edges == [(0, 1, ">", None, 1.0), (0, 2, ">", None, 1.0)]
    assert row.ranking is None


@pytest.mark.parametrize(
    ("edges", "weights", "expected"),
    [
        ((AB, AB, BA), (), AB),
        ((BA, AB, BA), (), BA),
        ((AB, BA), (), TIE),
        ((AB, BA), (0.4, 0.5), BA),
        ((AB, TIE), (), TIE),
        ((AB, AB, TIE), (), AB),
        ((AB, BA, TIE, TIE), (), TIE),
        # Ten tenths are one, which floating point would miss.
        ((BA, *[AB] * 10), (1.0, *[0.1] * 10), AB),
        ((AB, AB, AB, BA), (0.25, 0.25, 0.5, 1.0), TIE),
    ],
)
def test_the_majority_of_a_pair(edges: tuple[Edge, ...], weights: tuple[float, ...], expected: Edge) -> None:
    assert majority(*edges, weights=weights) == [expected]


@pytest.mark.parametrize(
    ("strengths", "expected"),
    [
        ([(0, 4), (0, 3), (0, 1)], (0, 1, ">", 3, 1.0)),
        ([(0, 4), (0, 4), (1, 4)], (0, 1, ">", 4, 1.0)),
        ([(0, 1), (0, 1), (1, 4)], (0, 1, ">", 1, 1.0)),
        ([(1, 4), (1, 2), (0, 1)], (1, 0, ">", 2, 1.0)),
        ([(0, None), (0, 3)], (0, 1, ">", 3, 1.0)),
        ([(0, None), (0, None)], (0, 1, ">", None, 1.0)),
    ],
)
def test_the_strength_is_the_signed_median(strengths: list[tuple[int, int | None]], expected: Edge) -> None:
    said: list[Edge] = [(better, 1 - better, ">", strength, 1.0) for better, strength in strengths]
    assert majority(*said) == [expected]


def test_the_strength_is_never_below_one() -> None:
    ties: list[Edge] = [TIE, TIE]
    said: list[Edge] = [(0, 1, ">", 4, 1.0), (0, 1, ">", None, 1.0), (0, 1, ">", None, 1.0), *ties]
    assert majority(*said) == [(0, 1, ">", 1, 1.0)]


def test_pairs_of_a_majority_cycle_are_ties() -> None:
    orders = [(0, 1, 2, 3), (1, 2, 0, 3), (2, 0, 1, 3)]
    said = [Vote(number, edges_from_ranking([[slot] for slot in order])) for number, order in enumerate(orders)]
    [row] = votes_combine(said, 4, combine="pairwise_majority", ties="keep")
    assert row.ranking == [[0, 1, 2], [3]]
    assert row.weight == 1


def test_a_lone_vote_stays_as_it_was_said() -> None:
    cycle: list[Edge] = [(0, 1, ">", 2, 1.0), (1, 2, ">", None, 1.0), (2, 0, ">", 4, 1.0)]
    [row] = votes_combine([Vote(7, cycle)], 3, combine="pairwise_majority", ties="keep")
    assert (row.edges, row.ranking, row.labels) == (cycle, None, [7])


def test_a_majority_of_nothing_but_ties_is_no_row_when_ties_are_dropped() -> None:
    assert votes_combine(votes(AB, BA), 2, combine="pairwise_majority", ties="drop") == []


def test_soft_gives_each_way_its_share() -> None:
    assert soft_edges(votes(AB, AB, AB, BA), ties="keep") == [(0, 1, ">", None, 0.75), (1, 0, ">", None, 0.25)]
    assert soft_edges(votes(AB, TIE), ties="keep") == [(0, 1, ">", None, 0.75), (1, 0, ">", None, 0.25)]
    assert soft_edges(votes(AB, TIE), ties="drop") == [(0, 1, ">", None, 1.0)]
    assert soft_edges(votes(AB, BA, weights=(3.0, 1.0)), ties="keep")[0][4] == 0.75


def test_soft_strength_is_of_those_who_chose_that_way() -> None:
    said: list[Edge] = [(0, 1, ">", 4, 1.0), (0, 1, ">", 2, 1.0), (0, 1, ">", 3, 1.0), (1, 0, ">", 1, 1.0)]
    assert soft_edges(votes(*said), ties="keep") == [(0, 1, ">", 3, 0.75), (1, 0, ">", 1, 0.25)]


ORDERS = st.permutations(range(4)).map(lambda order: [[slot] for slot in order])
SAID = st.lists(st.tuples(ORDERS, st.sampled_from([0.25, 0.1, 1.0, 0.7])), min_size=1, max_size=5)


@given(SAID, st.sampled_from(["all", "pairwise_majority", "soft"]), st.randoms())
def test_weights_add_up_to_one_whatever_the_order(
    said: list[tuple[list[list[int]], float]], combine: str, random: Random
) -> None:
    given_votes = [Vote(n, edges_from_ranking(tiers), weight) for n, (tiers, weight) in enumerate(said)]
    rows = votes_combine(given_votes, 4, combine=combine, ties="keep")
    assert abs(sum(Fraction(row.weight) for row in rows) - 1) < Fraction(1, 10**12)
    if combine != "all":
        random.shuffle(given_votes)
        again = votes_combine(given_votes, 4, combine=combine, ties="keep")
        assert [row.edges for row in again] == [row.edges for row in rows] or len(said) == 1
    if combine == "soft":
        pairs: dict[tuple[int, int], float] = {}
        for i, j, _, _, weight in rows[0].edges:
            pairs[min(i, j), max(i, j)] = pairs.get((min(i, j), max(i, j)), 0) + weight
        assert all(abs(total - 1) < 1e-12 for total in pairs.values())
        assert len(pairs) == 6
