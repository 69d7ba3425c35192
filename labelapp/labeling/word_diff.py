"""Where two texts differ, word by word. Exact up to some eight thousand words each; longer ones go by lines."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import groupby

CELLS = 256 * 1024 * 1024
"""Largest table (pieces of one text times pieces of the other) that is filled, in bits."""

_CJK = "\u2e80-\u9fff\uac00-\ud7af\uf900-\ufaff\uff66-\uff9f\U00020000-\U0003ffff"
_MARK = "⟦[^⟧]*⟧"  # a hidden character made visible is one word
_WORD = re.compile(rf"{_MARK}|[{_CJK}]|[^\W_{_CJK}]+(?:['’][^\W_{_CJK}]+)*")
_PIECE = re.compile(rf"{_WORD.pattern}|[^\S\n]+|\n|.", re.DOTALL)
_LINE = re.compile(r"[^\n]*\n|[^\n]+")


class Kind(StrEnum):
    """What became of a piece of text."""

    SAME = "same"
    REMOVED = "removed"
    ADDED = "added"


Piece = tuple[Kind, str]


@dataclass(frozen=True)
class WordDiff:
    """Pieces in order: those that are not added make the first text, those that are not removed the second."""

    pieces: list[Piece]
    by_lines: bool

    @property
    def removed(self) -> int:
        """Words that only the first text has."""
        return self._words(Kind.REMOVED)

    @property
    def added(self) -> int:
        """Words that only the second text has."""
        return self._words(Kind.ADDED)

    def _words(self, kind: Kind) -> int:
        return sum(len(_WORD.findall(text)) for found, text in self.pieces if found == kind)


def word_diff(first: str, second: str) -> WordDiff:
    """Compare two texts by words (Chinese and Japanese by characters), or by lines where they are too long for that."""
    for pattern in (_PIECE, _LINE):
        before, after = pattern.findall(first), pattern.findall(second)
        if len(before) * len(after) <= CELLS:
            return WordDiff(_merged(_readable(_merged(_compared(before, after)))), pattern is _LINE)
    return WordDiff(_merged([(Kind.REMOVED, first), (Kind.ADDED, second)]), by_lines=True)


def _compared(before: Sequence[str], after: Sequence[str]) -> Iterator[Piece]:
    start = next((at for at, pair in enumerate(zip(before, after, strict=False)) if pair[0] != pair[1]), None)
    start = min(len(before), len(after)) if start is None else start
    matches = _matches(before[start:], after[start:])
    yield Kind.SAME, "".join(before[:start])
    at, there = start, start
    for left, right in [*((left + start, right + start) for left, right in matches), (len(before), len(after))]:
        yield Kind.REMOVED, "".join(before[at:left])
        yield Kind.ADDED, "".join(after[there:right])
        yield Kind.SAME, "".join(before[left : left + 1])
        at, there = left + 1, right + 1


def _matches(before: Sequence[str], after: Sequence[str]) -> list[tuple[int, int]]:
    """Places of a longest common subsequence: one row of the table is one number, so that it is filled in bulk.

    After the bit-parallel method of Hyyrö (2004): bit j of row i is unset where the length grows from j to j + 1.
    """
    places: dict[str, int] = {}
    for place, piece in enumerate(before):
        places[piece] = places.get(piece, 0) | 1 << place
    full = (1 << len(before)) - 1
    rows, row = [], full
    for piece in after:
        common = row & places.get(piece, 0)
        row = ((row + common) | (row - common)) & full
        rows.append(row)
    return _walked_back(rows, len(before))


def _walked_back(rows: Sequence[int], left: int) -> list[tuple[int, int]]:
    found = []
    right = len(rows)
    while left and right:
        if rows[right - 1] >> (left - 1) & 1:
            left -= 1
            continue
        right -= 1
        if right and not rows[right - 1] >> (left - 1) & 1:
            continue
        left -= 1
        found.append((left, right))
    return found[::-1]


def _merged(pieces: Iterator[Piece] | Sequence[Piece]) -> list[Piece]:
    """Neighbours of one kind as one piece; between what stayed, first all that went, then all that came."""
    result: list[Piece] = []
    for same, group in groupby((piece for piece in pieces if piece[1]), key=lambda piece: piece[0] == Kind.SAME):
        texts = list(group)
        for kind in [Kind.SAME] if same else [Kind.REMOVED, Kind.ADDED]:
            if text := "".join(text for found, text in texts if found == kind):
                result.append((kind, text))
    return result


def _readable(pieces: Sequence[Piece]) -> Iterator[Piece]:
    """Give up a lone "the" between two long changes: a sentence is read more easily whole than in shreds."""
    for place, (kind, text) in enumerate(pieces):
        least = min(_changed(pieces[max(place - 2, 0) : place]), _changed(pieces[place + 1 : place + 3]))
        if kind == Kind.SAME and least and len(text.strip()) <= least // 2:
            yield Kind.REMOVED, text
            yield Kind.ADDED, text
        else:
            yield kind, text


def _changed(pieces: Sequence[Piece]) -> int:
    """The longest change of some neighbouring pieces, in characters."""
    return max((len(text) for kind, text in pieces if kind != Kind.SAME), default=0)
