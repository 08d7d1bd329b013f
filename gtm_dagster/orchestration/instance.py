"""The Dagster instance of a state directory: its home, its settings, and the run history behind it."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import dagster as dg
from dagster._core.instance.config import dagster_instance_config
from dagster._core.instance.ref import InstanceRef
from sqlalchemy.exc import OperationalError

from gtm_dagster.orchestration.event_history import storage_overrides
from gtm_dagster.orchestration.history_secrets import remove_secrets
from gtm_dagster.settings import Settings
from gtm_dagster.settings.deployment_folder import deployment_folder
from gtm_dagster.storage.atomic_write import write_whole
from gtm_dagster.storage.disk_space import full_disk
from gtm_dagster.storage.file_lock import KernelLock
from gtm_dagster.storage.private_dir import private_dir

_log = logging.getLogger("gtm_dagster.orchestration")
OPENING_SECONDS = 120.0
"""How long to wait for another process that opens the run history; making it takes a few seconds."""


class HistoryError(Exception):
    """Dagster's run history cannot be opened or written; the message says where, why, and whether the disk is full."""


class OpeningLock(KernelLock):
    """One process at a time opens the run history: two that make its tables at once leave them at two revisions for good."""

    def __init__(self, home: Path) -> None:
        super().__init__(home / ".opening.lock")

    def refusal(self, timeout_s: float) -> HistoryError:
        """The error of a wait that is over, with the process that opens the history."""
        return HistoryError(
            f"{self.path.parent}: the run history is being opened by {self.holder()}; waited {timeout_s:g} s"
        )


def dagster_home(settings: Settings) -> Path:
    """`<state_dir>/dagster_home` with the deployment's dagster.yaml in it; a rename replaces the file, because other processes read it."""
    home = settings.state_dir / "dagster_home"
    private_dir(home)
    source, target = deployment_folder() / "dagster.yaml", home / "dagster.yaml"
    if source.exists() and not (target.exists() and target.read_bytes() == source.read_bytes()):
        write_whole(target, source.read_bytes(), durable=False)
    return home


@contextmanager
def instance_of(settings: Settings) -> Iterator[dg.DagsterInstance]:
    """The Dagster instance of the state directory. Raises HistoryError when another process opens it for too long."""
    home = dagster_home(settings)
    before = os.environ.get("DAGSTER_HOME")
    os.environ["DAGSTER_HOME"] = str(home)
    try:
        with OpeningLock(home).hold("opening", OPENING_SECONDS):
            opened_instance = dg.DagsterInstance.from_ref(_reference(home))
            try:
                remove_secrets(opened_instance, home)
            except OperationalError as error:  # a busy or full disk; the next opening tries again
                _log.warning("%s: the run history was not looked through for secrets (%s)", home, error.orig)
        with opened_instance as instance:
            yield instance
    finally:
        if before is None:
            del os.environ["DAGSTER_HOME"]
        else:
            os.environ["DAGSTER_HOME"] = before


def _reference(home: Path) -> InstanceRef:
    """The instance that dagster.yaml describes, its event log left open; a dagster.yaml that names a storage decides."""
    described, _ = dagster_instance_config(str(home))
    named = any(described.get(key) for key in ("storage", "run_storage", "event_log_storage", "schedule_storage"))
    return InstanceRef.from_dir(str(home), overrides=None if named else storage_overrides(home))


@contextmanager
def run_history(settings: Settings) -> Iterator[dg.DagsterInstance]:
    """The same instance for a run: what its database or its disk refuses is raised as HistoryError."""
    try:
        with instance_of(settings) as instance:
            yield instance
    except (OperationalError, OSError) as error:
        cause = error.orig if isinstance(error, OperationalError) else error
        full = full_disk(settings.state_dir, error)
        raise HistoryError(
            f"{settings.dagster_home}: Dagster's run history cannot be written ({cause}){full}"
        ) from error
