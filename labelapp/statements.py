"""Statements written by hand that come with every request: planned once by each connection, read into models."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from django.db import connection
from django.db.backends.postgresql.base import ServerBindingCursor
from django.db.backends.utils import CursorWrapper
from django.db.models import JSONField, Model


@contextmanager
def prepared() -> Iterator[CursorWrapper]:
    """A cursor for statements that come again and again: each connection has the server plan them only once.

    Django's own cursors write the values into the statement, which makes it another one each time.
    """
    connection.ensure_connection()
    with connection.wrap_database_errors:
        own = ServerBindingCursor(connection.connection)  # type: ignore[call-arg]
        with connection._prepare_cursor(own) as cursor:  # type: ignore[attr-defined]
            yield cursor


def columns(model: type[Model], alias: str) -> str:
    """All columns of a model's table, as a query selects them."""
    return ", ".join(f"{alias}.{column.column}" for column in model._meta.concrete_fields)


def instances(values: Iterator[Any], models: Sequence[type[Model]]) -> list[Any]:
    """One instance of each model from the next values of a row."""
    made = []
    for model in models:
        fields = model._meta.concrete_fields
        row = [_read(next(values), isinstance(column, JSONField)) for column in fields]
        made.append(model.from_db(connection.alias, [column.attname for column in fields], row))
    return made


def _read(value: Any, is_json: bool) -> Any:
    """Django has the driver leave JSON as text."""
    return json.loads(value) if is_json and isinstance(value, str) else value
