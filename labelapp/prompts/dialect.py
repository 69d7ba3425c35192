"""Where we read Markdown otherwise than its standard: no text may be lost to it, and no text may take long."""

import re

from markdown_it import MarkdownIt
from markdown_it.parser_block import RuleFuncBlockType
from markdown_it.parser_inline import RuleFuncInlineType
from markdown_it.rules_block import StateBlock, blockquote, table
from markdown_it.rules_block.table import escapedSplit
from markdown_it.rules_inline import StateInline, image, link

TOKEN_LIMIT = 20_000
"""Most pieces of a formatted text: two thousand characters of table can stand for sixty thousand empty cells."""

LINE_LIMIT = 30_000
"""How often the parser may look at a line: quotes that end late are read again and again."""

LABEL_LIMIT = 1_500
"""Most brackets of one text that are tried as links; each can cost as much as a page. The rest stay as written."""


_STARS = re.compile(r"(\*+)([A-Za-z0-9])")


class TooManyPiecesError(Exception):
    """Stops the parser on its way from line to line, before it comes to what stands in them."""


def dialect_plugin(md: MarkdownIt) -> None:
    """Teach `md` our dialect. Parsing raises TooManyPiecesError where it would take too long."""
    md.block.ruler.at("table", _table_whole, {"alt": ["paragraph", "reference"]})
    md.block.ruler.at("blockquote", _line_by_line(blockquote), {"alt": ["paragraph", "blockquote", "list"]})
    md.inline.ruler.at("link", _where_links_can_be(link))
    md.inline.ruler.at("image", _where_links_can_be(image))
    md.inline.ruler.before("emphasis", "times", _times)


def _line_by_line(rule: RuleFuncBlockType) -> RuleFuncBlockType:
    """Return `rule`, one that is asked about each line, with a count of its lines."""

    def counted(state: StateBlock, start: int, end: int, silent: bool) -> bool:
        state.env["lines"] = state.env.get("lines", 0) + 1
        if state.env["lines"] > LINE_LIMIT or len(state.tokens) > TOKEN_LIMIT:
            raise TooManyPiecesError
        return rule(state, start, end, silent)

    return counted


def _where_links_can_be(rule: RuleFuncInlineType) -> RuleFuncInlineType:
    """Return `rule`, for links or images, asked only where it can succeed and not too often."""

    def tried(state: StateInline, silent: bool) -> bool:
        if state.src[state.pos] not in "![":
            return False
        if -1 not in state.cache:  # the cache is kept by place in the text, of which this is none
            state.cache[-1] = state.src.rfind("](")
        if state.pos >= state.cache[-1]:
            return False
        state.env["labels"] = state.env.get("labels", 0) + 1
        return bool(state.env["labels"] <= LABEL_LIMIT and rule(state, silent))

    return tried


def _table_whole(state: StateBlock, start: int, end: int, silent: bool) -> bool:
    """A table whose rows keep the cells that its head has no column for: the standard leaves them out."""
    known = len(state.tokens)
    if not table(state, start, end, silent):
        return False
    row, last = None, None
    width = sum(token.type == "th_open" for token in state.tokens[known:])
    for token in state.tokens[known:]:
        if token.type == "tr_open":
            row = token.map
        elif token.type == "inline":
            last = token
        elif token.type == "tr_close" and row and last and row[0] > start:
            last.content = " | ".join([last.content, *_cells(state, row[0])[width:]])
    return True


def _cells(state: StateBlock, number: int) -> list[str]:
    line = state.src[state.bMarks[number] + state.tShift[number] : state.eMarks[number]].strip()
    return [cell.strip() for cell in escapedSplit(line.removeprefix("|").removesuffix("|"))]


def _times(state: StateInline, silent: bool) -> bool:
    """Stars between a digit and a digit or letter multiply: the standard takes them for emphasis, and they vanish."""
    found = _STARS.match(state.src, state.pos, state.posMax)
    before = state.src[state.pos - 1 : state.pos]
    if not found or not (before.isascii() and before.isalnum()) or not (before.isdigit() or found[2].isdigit()):
        return False
    if not silent:
        state.append_pending(found[1])
    state.pos += len(found[1])
    return True
