import os
from pathlib import Path

import pytest

from labelapp.ops.outside import check_broker, check_database
from labelapp.ops.preflight import UpError
from labelapp.ops.redis import EmbeddedRedis
from labelapp.ops.server import free_port, running

SECRET = "s3cret"


def refusal_of_database(url: str) -> str:
    with pytest.raises(UpError) as refusal:
        check_database(url)
    return str(refusal.value)


def refusal_of_broker(url: str) -> str:
    with pytest.raises(UpError) as refusal:
        check_broker(url)
    return str(refusal.value)


def test_a_database_that_lets_us_in_passes() -> None:
    check_database(os.environ["DATABASE_URL"])


def test_a_database_that_is_not_there_is_told_with_its_place() -> None:
    port = free_port()
    said = refusal_of_database(f"postgresql://app:{SECRET}@127.0.0.1:{port}/app")
    assert said.startswith("The database that DATABASE_URL names cannot be used: ")
    assert f'"127.0.0.1", port {port} failed' in said
    assert said.endswith("or unset the variable: then Prefloop starts its own.")


def test_a_database_that_refuses_the_password_is_told() -> None:
    user, place = os.environ["DATABASE_URL"].rsplit("@", 1)
    said = refusal_of_database(f"{user}-wrong@{place}")
    assert "password authentication failed" in said
    assert user.rsplit(":", 1)[1] not in said


def test_another_kind_of_database_is_refused() -> None:
    assert "must begin with postgresql://" in refusal_of_database("sqlite:///db.sqlite3")


@pytest.mark.parametrize("place", ["[::1/app", "h/app?nonsense"])
def test_an_address_that_is_none_is_told_without_repeating_it(place: str) -> None:
    said = refusal_of_database(f"postgresql://app:{SECRET}@{place}")
    assert said.startswith("DATABASE_URL is no address that PostgreSQL understands.")
    assert SECRET not in said


def test_a_broker_that_lets_us_in_passes(redis_server: str) -> None:
    check_broker(redis_server)


@pytest.mark.parametrize("scheme", ["redis", "amqp"])
def test_a_broker_that_is_not_there_is_told(scheme: str) -> None:
    said = refusal_of_broker(f"{scheme}://app:{SECRET}@127.0.0.1:{free_port()}/0")
    assert said.startswith("The broker that CELERY_BROKER_URL names cannot be used: ")
    assert SECRET not in said


def test_a_broker_that_wants_a_password_is_told(tmp_path: Path) -> None:
    with running(server := EmbeddedRedis(tmp_path)):
        assert "Authentication required." in refusal_of_broker(f"redis://127.0.0.1:{server.port}/0")


@pytest.mark.parametrize("url", ["carrier-pigeon://roof", "redis://127.0.0.1:many/0"])
def test_an_address_of_no_broker_is_told(url: str) -> None:
    assert refusal_of_broker(url).startswith("CELERY_BROKER_URL is no address of a broker")
