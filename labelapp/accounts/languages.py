"""Language codes (as in `de` or `pt-BR`) and the names that people know them by."""

import re

from django.conf.locale import LANG_INFO

_CODE = re.compile(r"[a-z]{2,3}(-[a-z0-9]{2,8})*", re.IGNORECASE)
_NAMES = {code: info["name"] for code, info in LANG_INFO.items() if "name" in info}
_CODES = {
    spelling.casefold(): code
    for code, info in LANG_INFO.items()
    for spelling in (info.get("name"), info.get("name_local"))
    if spelling
}


def language_parse(text: str) -> str | None:
    """Return the code for a language's name (English or its own) or code, or None where it is neither."""
    word = " ".join(text.split())
    code = _CODES.get(word.casefold(), word)
    return _written(code) if _CODE.fullmatch(code) and len(code) <= 20 else None


def language_name(code: str) -> str:
    """The English name of a language, or the code itself where none is known."""
    return _NAMES.get(code.lower()) or code


def _written(code: str) -> str:
    """As the standard for language tags writes it: language in small letters, country in capitals, script as a name."""
    first, *others = code.lower().split("-")
    styles = {2: str.upper, 4: str.title}
    return "-".join([first, *(styles.get(len(part), str)(part) for part in others)])
