"""Reading as of one moment, while another connection writes what must be seen at once."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import datetime
from typing import TypeVar

from django.db import connection, connections, transaction

Result = TypeVar("Result")


@contextmanager
def one_moment() -> Iterator[datetime]:
    """A transaction that sees the database as it stands now, whatever is written meanwhile; yields what time it is.

    Within a transaction of the caller, it sees what that one does.
    """
    nested = connection.in_atomic_block
    with transaction.atomic(), connection.cursor() as cursor:
        if not nested:
            cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        # Not now(): that is when the transaction began, and what it sees is decided by its first query.
        cursor.execute("SELECT clock_timestamp()")
        yield cursor.fetchone()[0]


class Elsewhere:
    """Runs functions on a connection of their own, so that what they write is committed at once. A context manager.

    Within a transaction of the caller they run as part of it, since another connection would not see its rows.
    """

    def __init__(self) -> None:
        self._thread = None if connection.in_atomic_block else ThreadPoolExecutor(max_workers=1)

    def __enter__(self) -> "Elsewhere":
        return self

    def __exit__(self, *_: object) -> None:
        if self._thread:
            self._thread.submit(connections.close_all)
            self._thread.shutdown()

    def run(self, function: Callable[[], Result]) -> Result:
        """Call the function and return what it returns, or raise what it raises."""
        return self._thread.submit(function).result() if self._thread else function()
