import pytest
from django.db import OperationalError, connection
from django.test import Client


@pytest.mark.django_db
def test_it_answers_everybody_while_the_database_does() -> None:
    response = Client().get("/health")
    assert (response.status_code, response.content) == (200, b"ok\n")
    assert "no-store" in response.headers["Cache-Control"]


@pytest.mark.django_db
def test_it_fails_without_telling_why_when_the_database_does_not() -> None:
    def refuse(*args: object) -> object:
        raise OperationalError("secret address")

    with connection.execute_wrapper(refuse):
        response = Client().get("/health")
    assert (response.status_code, response.content) == (503, b"The database does not answer.\n")


@pytest.mark.django_db
def test_it_can_only_be_read() -> None:
    assert Client().post("/health").status_code == 405
