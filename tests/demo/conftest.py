"""A var/ of its own for every test of the demo."""

from pathlib import Path

import pytest
from pytest_django.fixtures import Settings


@pytest.fixture(autouse=True)
def var(settings: Settings, tmp_path: Path) -> Path:
    settings.VAR_DIR = tmp_path / "var"
    settings.ARTIFACT_ROOT = tmp_path / "var" / "artifacts"
    return tmp_path / "var"
