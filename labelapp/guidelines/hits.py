"""Marking the words that somebody looked for in finished HTML."""

import re
from html import escape
from html.parser import HTMLParser

from django.utils.safestring import SafeString, mark_safe

SHORTEST = 2
"""Fewest characters that are looked for: one letter is everywhere."""


class _Marker(HTMLParser):
    """Writes HTML as it was read, with `mark` around each hit in its text."""

    def __init__(self, pattern: re.Pattern[str]) -> None:
        super().__init__(convert_charrefs=False)
        self.pattern = pattern
        self.count = 0
        self.parts: list[str] = []
        self.text = ""
        self.formulas = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.text_end()
        self.formulas += tag == "math"
        self.parts.append(self.get_starttag_text() or "")

    def handle_endtag(self, tag: str) -> None:
        self.text_end()
        self.formulas -= tag == "math"
        self.parts.append(f"</{tag}>")

    def handle_data(self, data: str) -> None:
        self.text += data

    def handle_entityref(self, name: str) -> None:
        self.text += f"&{name};"

    def handle_charref(self, name: str) -> None:
        self.text += f"&#{name};"

    def text_end(self) -> None:
        """Write the text since the last tag. In a formula a mark would be no part of it."""
        self.parts.append(self.text if self.formulas else self.pattern.sub(self._marked, self.text))
        self.text = ""

    def _marked(self, found: re.Match[str]) -> str:
        if found["hit"] is None:
            return found[0]
        self.count += 1
        return f"<mark>{found[0]}</mark>"


def hits_mark(body: SafeString, query: str) -> tuple[SafeString, int]:
    """Mark the words of `query`, as one phrase and in small or capital letters, in safe HTML; count the hits."""
    words = query.split()
    if len("".join(words)) < SHORTEST:
        return body, 0
    # The text is escaped, so the words are too; a line may break between them, and no hit is part of an escape.
    phrase = r"\s+".join(re.escape(escape(word, quote=False)) for word in words)
    marker = _Marker(re.compile(rf"(?P<hit>{phrase})|&#?\w+;", re.IGNORECASE))
    marker.feed(body)
    marker.close()
    marker.text_end()
    return mark_safe("".join(marker.parts)), marker.count  # noqa: S308 (safe before, and only `mark` was added)
