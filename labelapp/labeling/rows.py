"""Several models from one row of a statement written by hand, where a request must cost little."""

from collections.abc import Iterator, Sequence
from typing import Any

from django.db import connection
from django.db.models import Model


def columns(model: type[Model], alias: str) -> str:
    """All columns of a model's table, as a query selects them."""
    return ", ".join(f"{alias}.{column.column}" for column in model._meta.concrete_fields)


def instances(values: Iterator[Any], models: Sequence[type[Model]]) -> list[Any]:
    """One instance of each model from the next values of a row. JSON columns hold their text."""
    made = []
    for model in models:
        names = [column.attname for column in model._meta.concrete_fields]
        made.append(model.from_db(connection.alias, names, [next(values) for _name in names]))
    return made
