"""Servers that are not ours, named by DATABASE_URL and CELERY_BROKER_URL: say at once when they cannot be used."""

from collections.abc import Callable
from typing import Any

import psycopg
from kombu.connection import Connection
from kombu.exceptions import OperationalError

from labelapp.ops.preflight import UpError

CONNECT_SECONDS = 5
open_broker: Callable[..., Any] = Connection  # kombu declares no types for it
POSTGRES_SCHEMES = ("postgresql://", "postgres://")
WAY_OUT = "Correct it, start that server, or unset the variable: then Prefloop starts its own."


def check_database(url: str) -> None:
    """Raise UpError when DATABASE_URL names no PostgreSQL that lets us in. The address is never repeated."""
    if not url.startswith(POSTGRES_SCHEMES):
        raise UpError(f"DATABASE_URL must begin with postgresql://, the only database that Prefloop runs on. {WAY_OUT}")
    try:
        psycopg.connect(url, connect_timeout=CONNECT_SECONDS).close()
    except psycopg.OperationalError as error:
        raise UpError(f"The database that DATABASE_URL names cannot be used: {_reason(error)} {WAY_OUT}") from error
    except psycopg.Error as error:  # its words could hold the password
        raise UpError(f"DATABASE_URL is no address that PostgreSQL understands. {WAY_OUT}") from error


def check_broker(url: str) -> None:
    """Raise UpError when CELERY_BROKER_URL names no broker that lets us in. The address is never repeated."""
    try:
        with open_broker(url, connect_timeout=CONNECT_SECONDS) as connection:
            connection.ensure_connection(max_retries=1, interval_start=0, timeout=CONNECT_SECONDS)
    except OperationalError as error:
        raise UpError(f"The broker that CELERY_BROKER_URL names cannot be used: {_reason(error)} {WAY_OUT}") from error
    except (KeyError, ValueError) as error:
        raise UpError(f"CELERY_BROKER_URL is no address of a broker that Celery knows. {WAY_OUT}") from error


def _reason(error: Exception) -> str:
    first = str(error).strip().split("\n", 1)[0].rstrip(".")
    return f"{first}."
