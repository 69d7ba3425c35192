"""The containers run what `up` runs."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from labelapp.ops.programs import Site, site_programs

ROOT = Path(__file__).resolve().parents[2]
# What differs on purpose: addresses, and what only makes sense in one log of all processes.
OWN = {"--host", "127.0.0.1", "0.0.0.0", "--port", "8000", "--log-level", "warning", "--loglevel", "INFO", "WARNING"}
OWN |= {"--no-access-log", "-q", "-m", "-W", "-A", "labelapp"}


@pytest.fixture(scope="module")
def services() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
    return found


def image_command(target: str) -> list[str]:
    """The CMD of a target of the Dockerfile."""
    text = (ROOT / "Dockerfile").read_text().replace("\\\n", "")
    stage = text.split(f" AS {target}")[1].split("\nFROM")[0]
    command: list[str] = yaml.safe_load(stage.split("CMD ")[1])
    return command


def words(command: tuple[str, ...] | list[str]) -> set[str]:
    return {word for word in command if word not in OWN and not word.startswith("ignore:")}


def test_every_program_of_the_site_has_its_container(services: dict[str, Any]) -> None:
    site = Site(ROOT, ROOT / "var", "127.0.0.1", 8000)
    for program in site_programs(site, {}):
        command = services[program.name].get("command") or image_command("web")
        assert words(command) == words(program.command[1:]), program.name


def test_the_trainer_image_runs_the_compute_worker(services: dict[str, Any]) -> None:
    assert image_command("trainer") == services["compute"]["command"]


def test_nothing_has_a_secret_of_its_own(services: dict[str, Any]) -> None:
    environment = services["web"]["environment"]
    assert ":?" in environment["PREFLOOP_SECRET_KEY"]
    assert ":?" in environment["DATABASE_URL"]
    assert ":?" in services["postgres"]["environment"]["POSTGRES_PASSWORD"]


def test_its_variables_are_those_of_the_settings(services: dict[str, Any]) -> None:
    read = "".join(path.read_text() for path in (ROOT / "labelapp").glob("*.py"))
    read += (ROOT / "labelapp" / "ops" / "endpoints.py").read_text()
    for name in services["web"]["environment"]:
        assert f'"{name}"' in read, name
