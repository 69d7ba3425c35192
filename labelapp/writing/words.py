"""What the script of the writing page says beyond what all pages of tasks say; names in braces it fills in."""

from django.utils.translation import ngettext

from labelapp.labeling.words import words as labeling_words


def words() -> dict[str, str]:
    """Every sentence of the script, by name."""
    return {
        **labeling_words(),
        "one_word": ngettext("{count} word", "{count} words", 1),
        "many_words": ngettext("{count} word", "{count} words", 2),
    }
