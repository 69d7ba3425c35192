"""Forms of the datasets room."""

from django import forms


class ImportForm(forms.Form):
    """A file to import."""

    file = forms.FileField(
        label="File",
        help_text="JSON lines (one prompt per line), plain or gzipped.",
        max_length=200,
        error_messages={"empty": "This file is empty: it has no rows to import."},
    )
    strict = forms.BooleanField(
        label="All or nothing",
        required=False,
        help_text="Import nothing if any row is bad. Otherwise the good rows land, and you can download the others.",
    )
