"""Guidelines as blocks of Markdown: their sections, and what changed between two versions."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from difflib import SequenceMatcher
from enum import StrEnum
from itertools import zip_longest

from django.utils.text import slugify
from markdown_it import MarkdownIt
from markdown_it.token import Token

from labelapp.prompts.formulas import formulas_plugin

_MARKDOWN = MarkdownIt("commonmark").enable(["table"]).disable("reference").use(formulas_plugin)
_LISTS = ("bullet_list_open", "ordered_list_open")
_SECTION_LEVELS = 3
"""Headings down to this level begin a section; smaller ones are part of the text."""

MOST_COMPARED = 800
"""Most blocks of a version that is compared: the work grows with their square, and nobody writes so many."""


class Change(StrEnum):
    """How a block stands to the version before."""

    NONE = ""
    NEW = "new"
    CHANGED = "changed"
    REMOVED = "removed"


@dataclass(frozen=True)
class Block:
    """One paragraph, list, table or heading, as written."""

    text: str
    level: int = 0
    title: str = ""


@dataclass(frozen=True)
class Piece:
    """A block, or several that did not change, with what stood in place of it before."""

    block: Block
    change: Change = Change.NONE
    before: str = ""


@dataclass
class Section:
    """A heading and what follows it. The text before the first heading has no title."""

    anchor: str
    title: str = ""
    level: int = 1
    change: Change = Change.NONE
    pieces: list[Piece] = field(default_factory=list)


def blocks_of(text: str) -> list[Block]:
    """The top level of a text, in order; nothing of it is left out but blank lines."""
    return _cut(text, _MARKDOWN.parse(text))


def compare(old: str | None, new: str) -> list[Piece]:
    """The blocks of `new`, each with how it changed since `old`; what `old` had besides stands where it was.

    Without an `old`, and in texts of more than `MOST_COMPARED` blocks, nothing is called new. A list that changed is
    compared by its items.
    """
    now = blocks_of(new)
    if old is None:
        return [Piece(block) for block in now]
    before = blocks_of(old)
    same = {block.text for block in before} & {block.text for block in now}
    whole, before, now = now, _itemized(before, same), _itemized(now, same)
    if max(len(before), len(now)) > MOST_COMPARED:
        return [Piece(block) for block in whole]
    pieces: list[Piece] = []
    texts = [block.text for block in before], [block.text for block in now]
    for tag, i, j, k, m in SequenceMatcher(None, *texts, autojunk=False).get_opcodes():
        if tag == "equal":
            pieces += [Piece(block) for block in now[k:m]]
        else:
            pieces += _replaced(before[i:j], now[k:m])
    return pieces


def sections_of(pieces: Sequence[Piece]) -> list[Section]:
    """Gather pieces under their headings; unchanged neighbours become one piece, so that they are set as one text."""
    sections = [Section(anchor="start")]
    anchors = {"start"}
    for piece in pieces:
        if piece.block.level and piece.change != Change.REMOVED:
            anchor = _anchor(piece.block.title, anchors)
            sections.append(Section(anchor, piece.block.title, piece.block.level, piece.change))
            continue
        own = sections[-1].pieces
        if own and own[-1].change == piece.change == Change.NONE:
            own[-1] = Piece(Block(f"{own[-1].block.text}\n\n{piece.block.text}"))
        else:
            own.append(piece)
    return [section for section in sections if section.title or section.pieces]


def _replaced(before: Sequence[Block], now: Sequence[Block]) -> list[Piece]:
    """Pair blocks in their order; what has no partner is new, or was removed. A heading is never a changed text."""
    pieces = []
    for old, new in zip_longest(before, now):
        if new is None:
            pieces.append(Piece(old, Change.REMOVED))
        elif old is None:
            pieces.append(Piece(new, Change.NEW))
        elif bool(old.level) == bool(new.level):
            pieces.append(Piece(new, Change.CHANGED, before=old.text))
        else:
            pieces += [Piece(old, Change.REMOVED), Piece(new, Change.NEW)]
    return pieces


def _itemized(blocks: Sequence[Block], same: set[str]) -> list[Block]:
    """Take lists apart into their items, but for those that stand in both versions."""
    result: list[Block] = []
    for block in blocks:
        tokens = _MARKDOWN.parse(block.text)
        if block.text not in same and tokens and tokens[0].type in _LISTS:
            result += _cut(block.text, [token for token in tokens if token.type == "list_item_open"], level=1)
        else:
            result.append(block)
    return result


def _cut(text: str, tokens: Sequence[Token], level: int = 0) -> list[Block]:
    """Cut a text where tokens of one level begin; each piece reaches to the next, so that nothing falls between."""
    lines = text.split("\n")
    starts = [(place, token.map[0]) for place, token in enumerate(tokens) if token.level == level and token.map]
    blocks = []
    for index, (place, start) in enumerate(starts):
        end = starts[index + 1][1] if index + 1 < len(starts) else len(lines)
        heading = tokens[place].type == "heading_open" and int(tokens[place].tag[1]) <= _SECTION_LEVELS
        blocks.append(
            Block(
                text="\n".join(lines[start:end]).strip("\n").rstrip(),
                level=int(tokens[place].tag[1]) if heading else 0,
                title=_words(tokens[place + 1]) if heading else "",
            )
        )
    return blocks


def _words(inline: Token) -> str:
    """The text of a heading without its marks."""
    return "".join(child.content for child in inline.children or [] if child.type in ("text", "code_inline")).strip()


def _anchor(title: str, taken: set[str]) -> str:
    stem = slugify(title, allow_unicode=True)[:60] or "part"
    anchor = next(name for number in range(1, len(taken) + 2) if (name := f"{stem}-{number}") not in taken)
    taken.add(anchor)
    return anchor
