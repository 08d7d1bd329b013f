"""A throw-away deployment: a folder with its own settings and state directory, and `gtm` run in it."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gtm_dagster.chaos.processes import Child
from gtm_dagster.privacy.event_ids import stored_event_id
from gtm_dagster.privacy.pseudonyms import Pseudonymizer, load_or_create_key
from gtm_dagster.settings import Settings, load_settings
from gtm_dagster.settings.deployment_folder import deployment_folder
from gtm_dagster.taxonomy import Plan, load_plan

LIMIT_SECONDS = 600.0
"""Longest a command may take."""


@dataclass(frozen=True)
class CommandResult:
    """How one `gtm` command ended: exit code (None: it had to be killed), both outputs, seconds."""

    code: int | None
    out: str
    err: str
    seconds: float

    @property
    def document(self) -> Any:
        """The JSON document on stdout, None when there is none."""
        try:
            return json.loads(self.out)
        except ValueError:
            return None

    @property
    def message(self) -> str:
        """What went wrong, in one line: the command's error, else the checks that failed; empty when nothing did."""
        document = self.document
        if isinstance(document, dict):
            if document.get("error"):
                return str(document["error"])
            failed = [
                check for check in document.get("checks", ()) if not check["passed"] and check["severity"] == "ERROR"
            ]
            if failed:
                return "; ".join(f"{check['asset']}, {check['check']}: {check['description']}" for check in failed)
        lines = self.err.strip().splitlines()
        return lines[-1] if lines else ""


class ThrowAway:
    """`settings` and `environment` of the throw-away deployment; `start` and `run` are `gtm` in it."""

    def __init__(
        self, folder: Path, memory_limit: str | None, threads: int | None, state: Path | None = None, more: str = ""
    ) -> None:
        self.folder = folder
        config = folder / "gtm.toml"
        config.write_text(_config(state or folder / "state", memory_limit, threads) + more)
        kept = {key: value for key, value in os.environ.items() if not key.startswith(("GTM_", "DAGSTER_"))}
        self.environment = {
            **kept,
            "GTM_CONFIG": str(config),
            "GTM_STREAM__METRICS_PORT": "0",  # it is a real deployment's
            "DAGSTER_TELEMETRY_ENABLED": "false",
        }
        self.settings: Settings = load_settings(config, {})
        self.plan: Plan = load_plan(None)
        self.checkout = deployment_folder()
        self._numbers = itertools.count(1)

    @property
    def state(self) -> Path:
        """The throw-away state directory."""
        return self.settings.state_dir

    def landed_id(self, event_id: str) -> str:
        """The id an event is stored under: its own, or its pseudonym where it might say who it is about."""
        return stored_event_id(event_id, Pseudonymizer(load_or_create_key(self.settings.keys_dir)))

    def start(self, *arguments: str, module: str = "gtm_dagster.cli", **variables: str) -> Child:
        """Start `gtm ARGUMENTS` (or another module); `variables` are added to its environment."""
        output = self.folder / "output" / f"{next(self._numbers):05d}-{arguments[0] if arguments else module}"
        return Child(["-m", module, *arguments], {**self.environment, **variables}, self.checkout, output)

    def run(self, *arguments: str, **variables: str) -> CommandResult:
        """Run `gtm ARGUMENTS` to its end, LIMIT_SECONDS at the longest."""
        with self.start(*arguments, **variables) as child:
            code = child.wait(LIMIT_SECONDS)
            took = child.seconds()
        return CommandResult(code, child.out, child.err, took)


def _config(state: Path, memory_limit: str | None, threads: int | None) -> str:
    lines = [
        f"state_dir = {json.dumps(str(state))}",
        "[attribution]",
        "min_history_days = 0",
        "[refresh]",
        "min_interval_seconds = 1",
        "[warehouse]",
    ]
    if memory_limit:
        lines.append(f"memory_limit = {json.dumps(memory_limit)}")
    if threads:
        lines.append(f"threads = {threads}")
    return "\n".join(lines) + "\n"


@contextmanager
def throw_away(
    memory_limit: str | None, threads: int | None, state: Path | None = None, more: str = ""
) -> Iterator[ThrowAway]:
    """A deployment that is removed at the end, its state directory in it unless `state` says where.

    `memory_limit` and `threads` are the deployment's for DuckDB; every other setting is the default but what `more` (TOML) says.
    """
    folder = Path(tempfile.mkdtemp(prefix="gtm-chaos-"))
    try:
        yield ThrowAway(folder, memory_limit, threads, state, more)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
