"""Environments of other trainers, one under `var/peers/` for each version, made once."""

import json
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
PEERS = ROOT / "var" / "peers"
TRL = "1.16.0"
MARKER = "complete.json"


def trl_folder() -> Path:
    """Where TRL's environment is, or would be."""
    return PEERS / f"trl-{TRL}"


def trl_python() -> Path | None:
    """The interpreter of TRL's environment; None where the environment is not there, or was left half made."""
    return trl_folder() / "bin" / "python" if (trl_folder() / MARKER).exists() else None


def trl_make() -> Path:
    """Make TRL's environment where it is not there, and return its interpreter: TRL, and the torch of this project."""
    if (python := trl_python()) is not None:
        return python
    folder = trl_folder()
    print(f"Making {folder} with TRL {TRL} (some minutes, 2 GB) …", file=sys.stderr, flush=True)
    shutil.rmtree(folder, ignore_errors=True)
    folder.parent.mkdir(parents=True, exist_ok=True)
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    python = folder / "bin" / "python"
    install = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*install, torch_pin(), f"trl=={TRL}"], check=True, stdout=sys.stderr)
    (folder / MARKER).write_text(json.dumps(versions(python)))
    return python


def torch_pin() -> str:
    """The torch that this project asks for, as pip takes it."""
    wanted = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]["ml"]
    return next(str(name) for name in wanted if re.match(r"torch\b", name))


def versions(python: Path) -> dict[str, str]:
    """What an environment has of what decides the speed."""
    asked = "import importlib.metadata as m, json; print(json.dumps({n: m.version(n) for n in NAMES}))"
    names = ["torch", "transformers", *(["trl", "accelerate"] if "peers" in python.parts else [])]
    done = subprocess.run(
        [str(python), "-c", asked.replace("NAMES", repr(names))], check=True, capture_output=True, text=True
    )
    return dict(json.loads(done.stdout))
