"""Language names and codes."""

import pytest
from django.conf.locale import LANG_INFO

from labelapp.accounts.forms import LanguagesField
from labelapp.accounts.languages import language_name, language_parse


@pytest.mark.parametrize(
    ("typed", "code"),
    [
        ("German", "de"),
        ("deutsch", "de"),
        (" DE ", "de"),
        ("pt-br", "pt-BR"),
        ("zh-hans", "zh-Hans"),
        ("Simplified  Chinese", "zh-Hans"),
        ("ast", "ast"),
        ("Klingonish", None),
        ("x", None),
        ("", None),
        ("de_DE", None),
        ("en-" + "-".join(["abcdefgh"] * 3), None),
    ],
)
def test_a_language_is_read_by_name_or_code(typed: str, code: str | None) -> None:
    assert language_parse(typed) == code


def test_a_code_without_a_name_is_shown_as_it_is() -> None:
    assert language_name("tlh") == "tlh"
    assert language_name("pt-BR") == "Brazilian Portuguese"


@pytest.mark.parametrize("code", sorted(LANG_INFO))
def test_what_the_profile_shows_is_read_back_as_the_same_code(code: str) -> None:
    stored = language_parse(code)
    field = LanguagesField()
    assert field.clean(field.prepare_value([stored])) == [stored]
