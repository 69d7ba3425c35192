"""Characters that nobody sees but that change what is seen, made visible: labelers judge what stands there."""

import re

from django.utils.translation import gettext as _

_BREAK = re.compile("\r\n?|[\x85\u2028\u2029]")
_JOINERS = "\u200b\u200c\u200d"
_HIDDEN = (
    "\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f"  # C0 and C1 controls but for tab and newline
    "\u202a-\u202e\u2066-\u2069"  # bidirectional embeddings, overrides and isolates
    "\u180e\u2060-\u2064\u206a-\u206f\u3164\ufeff\uffa0\ufff9-\ufffb"  # invisible signs and fillers
    "\U0001d173-\U0001d17a\U000e0000-\U000e007f"  # invisible musical signs, tag characters
)
_VARIATION = "\ufe00-\ufe0f\U000e0100-\U000e01ef"
_COMBINING = "\u0300-\u036f\u0483-\u0489\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe20-\ufe2f"
_SUSPECT = re.compile(f"[{_HIDDEN}{_JOINERS}{_VARIATION}{_COMBINING}]|\U0001f3f4")
_WRITTEN = f"[^\x00-\x7f{_JOINERS}{_HIDDEN}]"
_PATTERN = re.compile(
    # A flag of a region is spelt with tag characters, and Persian, Khmer or emoji need joiners: those stay.
    "(?P<kept>\U0001f3f4[\U000e0030-\U000e007a]{1,6}\U000e007f"
    f"|(?<={_WRITTEN})[{_JOINERS}](?={_WRITTEN}))"
    f"|(?P<hidden>[{_HIDDEN}{_JOINERS}]+|(?<=[{_VARIATION}])[{_VARIATION}]+|(?<=[{_COMBINING}]{{4}})[{_COMBINING}]+)"
)


def reveal_hidden(text: str) -> str:
    """Return `text` with each run of unseen characters replaced by its code point in white brackets, ⟦U+202E⟧."""
    text = _BREAK.sub("\n", text)
    return _PATTERN.sub(_mark, text) if _SUSPECT.search(text) else text


def _mark(match: re.Match[str]) -> str:
    if match["kept"]:
        return match["kept"]
    run = match["hidden"]
    first = f"U+{ord(run[0]):04X}"
    if len(run) > 1:
        first = _("%(first)s and %(more)d more") % {"first": first, "more": len(run) - 1}
    return f"⟦{first}⟧"
