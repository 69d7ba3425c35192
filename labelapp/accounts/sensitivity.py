"""Kinds of content that nobody has to read who has not said that they will."""

CATEGORIES = {
    "abuse": "Abuse and harassment",
    "hate": "Hate against groups of people",
    "medical": "Illness, injury and medical detail",
    "political": "Heated politics",
    "self-harm": "Self-harm and suicide",
    "sexual": "Sexual content",
    "violence": "Violence and gore",
}
"""What pages call each category, by the key that prompts and pools carry. Imports may bring others."""


def category_label(key: str) -> str:
    """What pages call a category, known or brought by an import."""
    return CATEGORIES.get(key) or key.replace("-", " ").replace("_", " ").capitalize()
