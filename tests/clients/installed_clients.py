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

FULL = {"user_identified": 3, "trial_started": 1, "page_viewed": 2}
STORED = {
    "python:segment": FULL,
    "python:segment_gzip": FULL,
    "python:rudder": FULL,
    "python:posthog": {"trial_started": 1, "user_identified": 2},
    "python:posthog_v1": {"trial_started": 1, "user_identified": 2},
    "python:snowplow": {"page_viewed": 1, "trial_started": 1},
    "python:snowplow_get": {"page_viewed": 1, "trial_started": 1},
    "python:cloudevents": {"trial_started": 1},
    "python:mixpanel": {"trial_started": 1, "user_identified": 1},
    "python:amplitude": {"trial_started": 1},
    "node:segment": {"user_identified": 2, "trial_started": 1, "page_viewed": 1},
    "node:analytics": {"user_identified": 1, "trial_started": 1},
    "node:rudder": {"user_identified": 1, "trial_started": 1, "page_viewed": 1},
    "node:posthog": {"trial_started": 1, "user_identified": 1},
    "node:snowplow": {"page_viewed": 1, "trial_started": 1},
    "node:snowplow_get": {"page_viewed": 1, "trial_started": 1},
    "node:cloudevents": {"trial_started": 1},
    "node:jitsu": {"user_identified": 1, "trial_started": 1, "page_viewed": 1},
}
"""What is stored of the calls of each client, by name; one event besides is quarantined, because the plan has no such name."""


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
