"""What translators keep (.po), read plainly; and what templates and Python files say that is to be translated."""

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from django.utils.translation.template import templatize

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "labelapp" / "locale" / "zh_Hans" / "LC_MESSAGES"
SPEAKING = {"_", "gettext", "gettext_lazy", "gettext_noop", "ngettext", "ngettext_lazy", "pgettext", "pgettext_lazy"}
_LINE = re.compile(r'(msgctxt|msgid_plural|msgid|msgstr(?:\[\d\])?)? ?(".*")$')
_SAID = re.compile(r"\b(\w*gettext|_)\(((?:\s*(?:'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\")\s*,?)+)")


@dataclass
class Entry:
    """One message with its translations; `said` has the context first, then singular and plural."""

    context: str = ""
    singular: str = ""
    plural: str = ""
    translations: list[str] = field(default_factory=list)
    flags: str = ""

    @property
    def key(self) -> str:
        """As gettext keeps it."""
        return f"{self.context}\x04{self.singular}" if self.context else self.singular


def entries(path: Path) -> list[Entry]:
    """The messages of a .po file, obsolete ones left out; the first is its header."""
    blocks = re.split(r"\n\s*\n", path.read_text(encoding="utf-8"))
    return [_entry(block) for block in blocks if re.search("^msgid", block, re.MULTILINE)]


def _entry(block: str) -> Entry:
    parts: dict[str, str] = {}
    flags, name = "", ""
    for line in block.splitlines():
        if line.startswith("#,"):
            flags += line
        elif match := _LINE.match(line):
            name = match[1] or name
            parts[name] = parts.get(name, "") + ast.literal_eval(match[2])
    translations = [text for name, text in parts.items() if name.startswith("msgstr")]
    return Entry(parts.get("msgctxt", ""), parts["msgid"], parts.get("msgid_plural", ""), translations, flags)


def said_by_template(path: Path) -> Iterator[str]:
    """The messages that a template has translated."""
    for name, arguments in _SAID.findall(templatize(path.read_text(encoding="utf-8"), origin=str(path))):
        words = ast.literal_eval(f"({arguments.strip().rstrip(',')},)")
        yield f"{words[0]}\x04{words[1]}" if name.startswith("p") else words[0]


def said_by_python(path: Path) -> Iterator[str]:
    """The messages that a Python file has translated."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in SPEAKING:
            words = [word.value for word in node.args if isinstance(word, ast.Constant)]
            if node.func.id.startswith("p"):
                yield f"{words[0]}\x04{words[1]}"
            elif words and isinstance(words[0], str):
                yield words[0]
