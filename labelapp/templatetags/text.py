"""Filters for what people and models wrote: `{{ completion.text|markdown }}`, `{{ note|plain }}`."""

from django import template
from django.utils.safestring import SafeString

from labelapp.prompts.rendering import render_markdown, render_plain

register = template.Library()


@register.filter
def markdown(text: str) -> SafeString:
    """Render `text` as Markdown with tables, code and formulas, made safe to show."""
    return render_markdown(text)


@register.filter
def plain(text: str) -> SafeString:
    """Render `text` as it stands, with its line breaks."""
    return render_plain(text)
