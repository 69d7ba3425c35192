"""Statements written by hand that come with every request: planned once by each connection."""

from collections.abc import Iterator
from contextlib import contextmanager

from django.db import connection
from django.db.backends.postgresql.base import ServerBindingCursor
from django.db.backends.utils import CursorWrapper


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
