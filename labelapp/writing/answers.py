"""What people write, read from the fields of the page and counted. Pure: needs no database.

Fields: `answer`; `pasted`, the stretches of the text that were pasted ("0-12 40-300", in the browser's counting of
characters); `pasted_source`, and `pasted_asked` once the page has asked for it.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from django.utils.translation import gettext as _

TEXT_LIMIT = 50_000
SOURCE_LIMIT = 500
ASK_FROM_SHARE = 0.3
ASK_FROM_CHARACTERS = 200
"""A source is asked for when more characters than these, and at least that share of the text, were pasted."""
FEWEST_FOR_A_GUIDE = 10
_STRETCH = re.compile(r"(\d{1,9})-(\d{1,9})")
# Where no spaces stand between words, each character counts as one.
_UNSPACED = "\u0e00-\u0eff\u1000-\u109f\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff"
_WORD = re.compile(rf"[{_UNSPACED}]|[^\s{_UNSPACED}]+")


@dataclass(frozen=True)
class Pasted:
    """How much of a text was pasted (None where that was not counted), and where that is from, if said."""

    share: float | None = None
    characters: int = 0
    source: str = ""

    @property
    def is_much(self) -> bool:
        """Whether the page asks where it is from."""
        return (self.share or 0) >= ASK_FROM_SHARE and self.characters > ASK_FROM_CHARACTERS


@dataclass(frozen=True)
class Answer:
    """What somebody wrote as the ideal answer."""

    text: str
    pasted: Pasted = Pasted()


@dataclass
class Reading:
    """The fields as read: problems by field name, in words, and whether the source has to be asked for first."""

    answer: Answer
    problems: dict[str, str] = field(default_factory=dict)
    asks_source: bool = False


def answer_read(fields: Mapping[str, str]) -> Reading:
    """Read a submitted form. Never raises. A source is asked for once; left empty then, it stays empty."""
    raw = said(fields.get("answer", ""))
    text = raw.strip()
    pasted = _pasted_read(fields, raw)
    reading = Reading(Answer(text, pasted))
    if not text:
        reading.problems["answer"] = _("Write an answer first.")
    elif len(text) > TEXT_LIMIT:
        reading.problems["answer"] = _("The answer has %(count)d characters; shorten it to %(limit)d.") % {
            "count": len(text),
            "limit": TEXT_LIMIT,
        }
    reading.asks_source = pasted.is_much and not pasted.source and not fields.get("pasted_asked")
    return reading


def said(text: str) -> str:
    """Text as it was typed: browsers send line breaks as two characters, and no database holds NUL."""
    return text.replace("\x00", "").replace("\r\n", "\n")


def words_count(text: str) -> int:
    """How many words a text has; characters, in scripts that put no spaces between words."""
    return len(_WORD.findall(text))


def length_range(counts: Sequence[int]) -> tuple[int, int] | None:
    """From how many to how many words most texts have, rounded; None where too few are known."""
    if len(counts) < FEWEST_FOR_A_GUIDE:
        return None
    ordered = sorted(counts)
    tenth = len(ordered) // 10
    low, high = _rounded(ordered[tenth]), _rounded(ordered[-1 - tenth])
    return (low, high) if low < high else None


def few_shot_text(*, instruction: str, pairs: Sequence[tuple[str, str]], query: str) -> str:
    """One prompt of an instruction, worked examples, and the query that is to be answered."""
    shown = [f"Query: {asked}\nResponse: {answered}" for asked, answered in pairs]
    return "\n\n".join([instruction, *shown, f"Query: {query}\nResponse:"])


def _pasted_read(fields: Mapping[str, str], text: str) -> Pasted:
    source = " ".join(said(fields.get("pasted_source", "")).split())[:SOURCE_LIMIT]
    if "pasted" not in fields:
        return Pasted(source=source)
    length = len(text.encode("utf-16-le", "surrogatepass")) // 2  # as browsers count
    characters = _covered(fields["pasted"], length)
    return Pasted(round(characters / length, 4) if length else 0.0, characters, source)


def _covered(stretches: str, length: int) -> int:
    """How many characters of a text of that length lie in the stretches; those that overlap count once."""
    covered, reached = 0, 0
    for start, end in sorted((int(start), int(end)) for start, end in _STRETCH.findall(stretches)):
        start, end = max(start, reached), min(end, length)
        if start < end:
            covered, reached = covered + end - start, end
    return covered


def _rounded(words: int) -> int:
    step = 5 if words < 100 else 10 if words < 500 else 50
    return max(step, round(words / step) * step)
