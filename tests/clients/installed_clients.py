"""The clients that scripts/install-clients installed, and running one against collectors."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
INSTALLED = ROOT / ".cache" / "clients"
PROGRAMS = Path(__file__).parent / "programs"
_LONGEST_SECONDS = 60


def require_clients() -> None:
    """Skip where they are not installed."""
    if not (INSTALLED / "installed").exists() or shutil.which("node") is None:
        pytest.skip("other people's clients are not here; `make install-clients` installs them")


def send(client: str, *urls: str) -> None:
    """Make the calls of a client, named python:NAME or node:NAME, to each of the collectors, and wait until it ends."""
    language, _, name = client.partition(":")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("GTM_", "PYTHON"))}
    environment["NODE_PATH"] = str(INSTALLED / "node_modules")
    command = ["node", str(PROGRAMS / "node_clients.cjs")]
    if language == "python":
        command = [str(INSTALLED / "python" / "bin" / "python"), str(PROGRAMS / "python_clients.py")]
    ended = subprocess.run(
        [*command, name, *urls], env=environment, capture_output=True, text=True, timeout=_LONGEST_SECONDS, check=False
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
