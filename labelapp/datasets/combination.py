"""How several labels of one task become rows to learn from. Pure: edges go by places in the list of completions."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction

from labelapp.datasets.freeze_options import ALL, DROP, MAJORITY
from labelapp.labeling.ordering import Edge, Tiers, ranking_from_edges

Pair = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Vote:
    """One annotator's edges, and how much this annotator counts.

    `extra` is how many completions it has beyond those of all votes, where each vote makes a row.
    """

    label: int
    edges: Sequence[Edge]
    weight: float = 1.0
    extra: int = 0


@dataclass(frozen=True, slots=True)
class Combined:
    """A row to learn from. `labels` are the ids of those it is made of; `ranking` is None where it is no weak order."""

    labels: list[int]
    edges: list[Edge]
    ranking: Tiers | None
    weight: float


@dataclass(slots=True)
class _Tally:
    """What was said about a pair (i, j) with i < j: the weight for i, for j and for a tie; strengths seen from i."""

    first: Fraction = Fraction(0)
    second: Fraction = Fraction(0)
    tie: Fraction = Fraction(0)
    strengths: list[tuple[int, Fraction]] = field(default_factory=list)


def ties_dropped(edges: Sequence[Edge]) -> list[Edge]:
    """The edges without ties."""
    return [edge for edge in edges if edge[2] == ">"]


def votes_combine(votes: Sequence[Vote], k: int, *, combine: str, ties: str) -> list[Combined]:
    """Rows from what each annotator said about the same k completions; votes have edges and weights above 0.

    The weights of all rows together are 1. `all` keeps each vote, weighing its share; the others make one row.
    `pairwise_majority` gives each pair the outcome with the most weight, a tie when two share the first place, and
    makes ties of all pairs within a cycle. `soft` gives each pair both ways, by the share who said so; a tie counts
    half each way. A lone vote stays as it was said, but for `soft` ties. With ties dropped, a row may be left out.
    """
    if combine == ALL:
        total = sum(Fraction(vote.weight) for vote in votes)
        rows = [
            _row([vote.label], _kept(vote.edges, ties), k + vote.extra, float(Fraction(vote.weight) / total))
            for vote in votes
        ]
    elif combine == MAJORITY:
        edges = list(votes[0].edges) if len(votes) == 1 else majority_edges(votes, k)
        rows = [_row([vote.label for vote in votes], _kept(edges, ties), k, 1.0)]
    else:
        rows = [_row([vote.label for vote in votes], soft_edges(votes, ties=ties), k, 1.0)]
    return [row for row in rows if row.edges]


def majority_edges(votes: Sequence[Vote], k: int) -> list[Edge]:
    """For each pair that anybody judged, what most say; pairs within a cycle are ties.

    The strength is the weighted median of all who gave one, ties counting 0 and the other way round below 0, but
    never less than 1.
    """
    tallies = _tallies(votes)
    winners = {pair: _winner(pair, tally) for pair, tally in tallies.items()}
    tier = _cycles([pair for pair in winners.values() if pair], k)
    edges: list[Edge] = []
    for pair, tally in tallies.items():
        winner = winners[pair]
        if winner is None or tier[pair[0]] == tier[pair[1]]:
            edges.append((*pair, "=", None, 1.0))
        else:
            edges.append((*winner, ">", _strength(tally, 1 if winner == pair else -1), 1.0))
    return edges


def soft_edges(votes: Sequence[Vote], *, ties: str) -> list[Edge]:
    """Each pair both ways, weighing the share of those who prefer the one; a way that nobody chose is left out.

    The strength of a way is the weighted median of those who chose it and gave one.
    """
    edges: list[Edge] = []
    for (i, j), tally in _tallies(votes).items():
        half = tally.tie / 2 if ties != DROP else Fraction(0)
        first, second = tally.first + half, tally.second + half
        total = first + second
        for better, worse, mass, sign in ((i, j, first, 1), (j, i, second, -1)):
            if mass:
                chosen = [(sign * value, weight) for value, weight in tally.strengths if sign * value > 0]
                edges.append((better, worse, ">", _median(chosen), float(mass / total)))
    return edges


def _row(labels: list[int], edges: list[Edge], k: int, weight: float) -> Combined:
    return Combined(labels, edges, ranking_from_edges(edges, k), weight)


def _kept(edges: Sequence[Edge], ties: str) -> list[Edge]:
    return ties_dropped(edges) if ties == DROP else list(edges)


def _tallies(votes: Sequence[Vote]) -> dict[Pair, _Tally]:
    """What was said about each pair, pairs in rising order. Exact, so the order of the votes is no matter."""
    tallies: defaultdict[Pair, _Tally] = defaultdict(_Tally)
    for vote in votes:
        for a, b, outcome, strength, edge_weight in vote.edges:
            tally, weight = tallies[min(a, b), max(a, b)], Fraction(vote.weight) * Fraction(edge_weight)
            sign = 0 if outcome == "=" else 1 if a < b else -1
            if sign == 0:
                tally.tie += weight
            elif sign > 0:
                tally.first += weight
            else:
                tally.second += weight
            if sign == 0 or strength is not None:
                tally.strengths.append((sign * (strength or 0), weight))
    return dict(sorted(tallies.items()))


def _winner(pair: Pair, tally: _Tally) -> Pair | None:
    """The pair with the preferred one first; None for a tie."""
    if tally.first > max(tally.second, tally.tie):
        return pair
    return pair[::-1] if tally.second > max(tally.first, tally.tie) else None


def _strength(tally: _Tally, sign: int) -> int | None:
    """How strongly all together prefer the winner; None when no strict judgement came with a strength."""
    if not any(value for value, _ in tally.strengths):
        return None
    return max(1, _median([(sign * value, weight) for value, weight in tally.strengths]) or 0)


def _median(values: Sequence[tuple[int, Fraction]]) -> int | None:
    """The lower weighted median."""
    half, below = sum((weight for _, weight in values), Fraction(0)) / 2, Fraction(0)
    for value, weight in sorted(values):
        below += weight
        if below >= half:
            return value
    return None


def _cycles(pairs: Sequence[Pair], k: int) -> list[int]:
    """For each place the smallest place that it both beats and is beaten by, directly or through others, or itself."""
    beaten = {place: set(_reached(place, pairs)) for place in range(k)}
    return [min({place} | {other for other in beaten[place] if place in beaten[other]}) for place in range(k)]


def _reached(start: int, pairs: Sequence[Pair]) -> Iterator[int]:
    after: Mapping[int, set[int]] = {place: {worse for better, worse in pairs if better == place} for place, _ in pairs}
    waiting, seen = [start], {start}
    while waiting:
        for worse in after.get(waiting.pop(), ()):
            if worse not in seen:
                seen.add(worse)
                waiting.append(worse)
                yield worse
