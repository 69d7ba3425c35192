"""Rendered texts that are kept: the same HTML, within bounds."""

import pytest
from django.utils.translation import override

from labelapp.prompts import rendered
from labelapp.prompts.rendering import render_markdown


@pytest.mark.parametrize("text", ["**Cut** it.", "", "<script>alert(1)</script>", "| a |\n|---|\n| b |"])
def test_what_is_kept_is_what_is_rendered(text: str) -> None:
    assert [rendered.markdown_kept(text) for _ in range(2)] == [render_markdown(text)] * 2


def test_a_text_is_kept_for_each_language_of_the_page() -> None:
    table = "| a |\n|---|\n| b |"
    for language in ("en", "zh-hans"):
        with override(language):
            assert rendered.markdown_kept(table) == render_markdown(table)


def test_the_oldest_make_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rendered, "CHARACTERS", 500)
    for number in range(50):
        rendered.markdown_kept(f"Text number {number}.")
    assert rendered._size <= 500
    assert sum(map(len, rendered._known.values())) == rendered._size
