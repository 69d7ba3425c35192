"""Forms of the datasets room."""

from django import forms
from django.conf import settings

LIMIT_MB = settings.UPLOAD_LIMIT // 1024**2


class ImportForm(forms.Form):
    """A file to import."""

    file = forms.FileField(
        label="File",
        help_text=f"JSON lines (one prompt per line), plain or gzipped, up to {LIMIT_MB} MB.",
        max_length=200,
        error_messages={"empty": "This file is empty: it has no rows to import."},
    )
    strict = forms.BooleanField(
        label="All or nothing",
        required=False,
        help_text="Import nothing if any row is bad. Otherwise the good rows land, and you can download the others.",
    )
