"""What labelers see is all marked for translation. Pages for admins and reviewers may be in English alone."""

import re
from pathlib import Path

import pytest

from tests.language.catalog import ROOT

FOLDERS = ("account", "allauth/layouts", "components", "guidelines", "labeling", "writing")
ALONE = (
    *("400.html", "403.html", "403_csrf.html", "404.html", "500.html", "base.html", "error.html", "home.html"),
    *(
        "accounts/invitation.html",
        "accounts/invitation_gone.html",
        "accounts/profile.html",
        "projects/base.html",
        "projects/own_tabs.html",
        "projects/projects.html",
        "accounts/shortcuts.html",
    ),
    *(
        "accounts/desk.html",
        "accounts/desk_body.html",
        "accounts/offer.html",
        "desk/day_parts.html",
        "desk/my_work.html",
        "desk/my_labels.html",
        "desk/my_questions.html",
        "desk/my_reports.html",
        "desk/my_time.html",
    ),
)
FOR_ADMINS = {
    *("labeling/batch.html", "labeling/batch_create.html", "labeling/batches.html", "labeling/build_outcome.html"),
    "writing/settings.html",
    "guidelines/practice_form.html",
    "components/words.html",  # attributes, all of them translated
}
TRANSLATED = re.compile(r"{%\s*blocktrans(?:late)?\b.*?{%\s*endblocktrans(?:late)?\s*%}", re.DOTALL)
CODE = re.compile(
    r"{% block page_class %}.*?{% endblock page_class %}|{#.*?#}|{%\s*comment.*?endcomment\s*%}|{%.*?%}|{{.*?}}",
    re.DOTALL,
)
TAG = re.compile(r"<!?/?\w[^>]*>")
SAID = re.compile(r'\b(?:aria-label|title|placeholder|alt|data-confirm|data-\w*label)="([^"]*)"')
NAMES = {"Prefloop", "UTC", "Enter", "Esc", "Escape", "Ctrl", "Shift", "Alt", "kbd", "min"}


def for_labelers() -> list[str]:
    templates = ROOT / "templates"
    found = {str(path.relative_to(templates)) for folder in FOLDERS for path in (templates / folder).rglob("*.html")}
    return sorted((found | {name for name in ALONE if (templates / name).exists()}) - FOR_ADMINS)


def bare_words(text: str) -> list[str]:
    """English words of a template that no translation tag holds."""
    text = CODE.sub("\0", TRANSLATED.sub("\0", text))
    shown = [*SAID.findall(text), TAG.sub("\0", text)]
    return [word for part in shown for word in re.findall(r"[A-Za-z]{2,}", part) if word not in NAMES]


@pytest.mark.parametrize("name", for_labelers())
def test_a_page_for_labelers_says_nothing_outside_translation(name: str) -> None:
    assert bare_words(Path(ROOT / "templates" / name).read_text(encoding="utf-8")) == []


def test_bare_words_are_found() -> None:
    text = '{% load i18n %}<p class="a">Hello {{ name }} {% translate "x" %}</p><b title="There {{ a }}"></b>'
    assert bare_words(text) == ["There", "Hello"]
    assert bare_words("{% blocktranslate %}Hi{% endblocktranslate %} {# note #} &nbsp; Prefloop") == ["nbsp"]
