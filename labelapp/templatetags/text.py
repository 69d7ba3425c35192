"""The filter for what people and models wrote: `{{ completion.text|markdown }}`."""

from django import template
from django.utils.safestring import SafeString

from labelapp.prompts.rendering import render_markdown

register = template.Library()


@register.filter
def markdown(text: str) -> SafeString:
    """Render `text` as Markdown with tables, code and formulas, made safe to show."""
    return render_markdown(text)
