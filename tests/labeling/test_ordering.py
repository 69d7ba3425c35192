from itertools import combinations

from hypothesis import given
from hypothesis import strategies as st

from labelapp.labeling.ordering import Edge, edges_from_ranking, ranking_from_edges, ranking_is_complete


def test_edges_of_a_strict_ranking_are_all_pairs_better_first() -> None:
    assert edges_from_ranking([[2], [0], [1]]) == [
        (2, 0, ">", None, 1.0),
        (2, 1, ">", None, 1.0),
        (0, 1, ">", None, 1.0),
    ]


def test_edges_of_a_tie_say_equal_and_carry_no_strength() -> None:
    assert edges_from_ranking([[1, 0], [2]], strength=3) == [
        (0, 1, "=", None, 1.0),
        (0, 2, ">", 3, 1.0),
        (1, 2, ">", 3, 1.0),
    ]


def test_a_cycle_is_no_ranking() -> None:
    cycle: list[Edge] = [(0, 1, ">", None, 1.0), (1, 2, ">", None, 1.0), (2, 0, ">", None, 1.0)]
    assert ranking_from_edges(cycle, 3) is None


def test_ties_that_do_not_carry_over_are_no_ranking() -> None:
    """0 = 1 and 1 = 2, yet 0 > 2: common in pairwise data, impossible in a ranking."""
    edges: list[Edge] = [(0, 1, "=", None, 1.0), (1, 2, "=", None, 1.0), (0, 2, ">", None, 1.0)]
    assert ranking_from_edges(edges, 3) is None


def test_a_missing_pair_is_no_ranking() -> None:
    assert ranking_from_edges([(0, 1, ">", None, 1.0), (1, 2, ">", None, 1.0)], 3) is None


def test_a_pair_judged_both_ways_is_no_ranking() -> None:
    assert ranking_from_edges([(0, 1, ">", None, 1.0), (1, 0, ">", None, 1.0)], 2) is None


def test_a_tie_may_be_written_either_way_round() -> None:
    assert ranking_from_edges([(1, 0, "=", None, 1.0)], 2) == [[0, 1]]


def test_completeness_wants_every_slot_once() -> None:
    assert ranking_is_complete([[1], [0, 2]], 3)
    assert not ranking_is_complete([[1], [0]], 3)
    assert not ranking_is_complete([[1], [0, 1], [2]], 3)
    assert not ranking_is_complete([[1], [], [0, 2]], 3)


@st.composite
def rankings(draw: st.DrawFn) -> list[list[int]]:
    """Any ranking with ties of 2 to 9 slots: each slot draws its tier."""
    levels = draw(st.lists(st.integers(0, 8), min_size=2, max_size=9))
    return [[slot for slot, level in enumerate(levels) if level == tier] for tier in sorted(set(levels))]


@given(rankings())
def test_a_ranking_survives_the_way_through_edges(tiers: list[list[int]]) -> None:
    k = sum(map(len, tiers))
    edges = edges_from_ranking(tiers)
    assert len(edges) == k * (k - 1) // 2
    assert ranking_from_edges(edges, k) == tiers


@given(st.integers(2, 5), st.data())
def test_only_weak_orders_become_rankings(k: int, data: st.DataObject) -> None:
    """Against a brute-force reading: a weak order is transitive, in its ties too."""
    outcome = {
        pair: data.draw(st.sampled_from(["a", "b", "tie"]), label=str(pair)) for pair in combinations(range(k), 2)
    }
    edges: list[Edge] = [
        (a, b, "=", None, 1.0) if said == "tie" else ((a, b) if said == "a" else (b, a)) + (">", None, 1.0)
        for (a, b), said in outcome.items()
    ]
    at_least = {(a, a) for a in range(k)}
    for a, b, said, *_ in edges:
        at_least |= {(a, b), (b, a)} if said == "=" else {(a, b)}
    transitive = all((a, c) in at_least for a, b in at_least for b2, c in at_least if b == b2)
    assert (ranking_from_edges(edges, k) is not None) == transitive
