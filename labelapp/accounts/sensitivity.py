"""Kinds of content that nobody has to read who has not said that they will."""

from django.utils.translation import gettext_lazy

CATEGORIES = {
    "abuse": gettext_lazy("Abuse and harassment"),
    "hate": gettext_lazy("Hate against groups of people"),
    "medical": gettext_lazy("Illness, injury and medical detail"),
    "political": gettext_lazy("Heated politics"),
    "self-harm": gettext_lazy("Self-harm and suicide"),
    "sexual": gettext_lazy("Sexual content"),
    "violence": gettext_lazy("Violence and gore"),
}
"""What pages call each category, by the key that prompts and pools carry. Imports may bring others."""


def category_label(key: str) -> str:
    """What pages call a category, known or brought by an import."""
    return str(CATEGORIES.get(key, "")) or key.replace("-", " ").replace("_", " ").capitalize()
