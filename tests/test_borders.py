"""The walls between the two worlds, and between the rooms."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
ROOMS = [
    *["accounts", "projects", "artifacts", "jobs", "prompts", "generation", "labeling", "writing"],
    *["guidelines", "desk", "quality", "review", "datasets", "training", "rounds", "ops", "demo"],
]
# Pages may read from any room; wiring and the command line start what there is.
DOORS = {"views.py", "batch_views.py", "diff_views.py", "correction_views.py", "snapshot_views.py", "api.py"}

BLOCKED = """
import importlib, sys
class Wall:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {blocked!r}:
            raise ImportError(name + " is behind the wall")
sys.meta_path.insert(0, Wall())
{setup}
for name in {names!r}:
    importlib.import_module(name)
"""


def modules(package: str) -> list[str]:
    """Every module of a package, by name. A folder without `__init__.py` holds scripts, which nothing imports."""
    names = []
    for path in sorted((ROOT / package).rglob("*.py")):
        if not path.with_name("__init__.py").exists():
            continue
        parts = path.relative_to(ROOT).with_suffix("").parts
        names.append(".".join(parts[:-1] if parts[-1] == "__init__" else parts))
    return names


def import_all(names: list[str], blocked: set[str], setup: str = "") -> subprocess.CompletedProcess[str]:
    """Import modules in a fresh interpreter in which some packages cannot be imported."""
    code = BLOCKED.format(blocked=blocked, names=names, setup=setup)
    return subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)


def test_the_trainer_needs_no_django() -> None:
    done = import_all(modules("trainer"), {"django", "celery", "labelapp"})
    assert done.returncode == 0, done.stderr


def test_the_web_process_needs_no_torch() -> None:
    setup = "import os, django; os.environ['DJANGO_SETTINGS_MODULE'] = 'labelapp.settings'; django.setup()"
    done = import_all(modules("labelapp"), {"torch", "transformers", "vllm", "accelerate", "peft"}, setup)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", ["labelapp.ops.endpoints", "labelapp.ops.postgres", "labelapp.ops.supervisor"])
def test_what_starts_the_stack_needs_no_django(name: str) -> None:
    done = import_all([name], {"django", "psycopg"})
    assert done.returncode == 0 or "celery" in done.stderr, done.stderr


def test_the_wall_of_these_tests_holds() -> None:
    assert import_all(["labelapp.settings"], {"django"}).returncode != 0


def imports_of(path: Path) -> Iterator[str]:
    """Names of the modules that a file imports, wherever in the file."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


def room_files() -> list[tuple[str, Path]]:
    return [(room, path) for room in ROOMS for path in sorted((ROOT / "labelapp" / room).rglob("*.py"))]


def test_every_folder_of_the_application_is_a_known_room() -> None:
    folders = {path.name for path in (ROOT / "labelapp").iterdir() if (path / "__init__.py").exists()}
    assert folders - set(ROOMS) == {"models", "management", "templatetags", "locale"}


def test_rooms_import_only_what_stands_above_them() -> None:
    wrong = []
    for room, path in room_files():
        for module in imports_of(path):
            parts = module.split(".")
            if parts[0] != "labelapp" or len(parts) < 2 or parts[1] not in ROOMS:
                continue
            below = ROOMS.index(parts[1]) > ROOMS.index(room)
            if below and not (path.name in DOORS and parts[-1] == "selectors"):
                wrong.append(f"{path.relative_to(ROOT)} imports {module}")
    assert wrong == []


def test_ops_imports_no_room() -> None:
    wrong = [
        f"{path.relative_to(ROOT)} imports {module}"
        for path in (ROOT / "labelapp" / "ops").rglob("*.py")
        for module in imports_of(path)
        if module.startswith("labelapp.") and module.split(".")[1] in set(ROOMS) - {"ops"}
    ]
    assert wrong == []


def test_models_import_no_room() -> None:
    wrong = [
        f"{path.name} imports {module}"
        for path in (ROOT / "labelapp" / "models").rglob("*.py")
        for module in imports_of(path)
        if module.startswith("labelapp.") and module.split(".")[1] not in {"models"}
    ]
    assert wrong == []
