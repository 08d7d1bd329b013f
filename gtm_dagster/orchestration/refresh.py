"""`gtm refresh`: the same job the UI runs, in this process and on the same instance, so the UI shows the run."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import dagster as dg
import msgspec
from sqlalchemy.exc import OperationalError

from gtm_dagster.orchestration.jobs import REFRESH
from gtm_dagster.orchestration.resources import WarehouseResource, run_tags
from gtm_dagster.settings import Settings
from gtm_dagster.warehouse.build import BookRow, books
from gtm_dagster.warehouse.engine import opened
from gtm_dagster.warehouse.lock import WarehouseLock

FULL_BYTES = 1_000_000
"""With less room than this a database that cannot write has met a full disk."""
_ALIVE = [dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.STARTING]


@dataclass(frozen=True)
class CheckOutcome:
    """One asset check of a run."""

    asset: str
    check: str
    passed: bool
    severity: str
    description: str


@dataclass(frozen=True)
class RefreshResult:
    """What a refresh did: `ok` is false when a step failed or a check of severity ERROR did not pass."""

    run_id: str
    ok: bool
    books: list[BookRow] = field(default_factory=list)
    checks: list[CheckOutcome] = field(default_factory=list)
    rebuilt: list[str] = field(default_factory=list)
    steps: dict[str, float] = field(default_factory=dict)
    error: str | None = None


class FixedWarehouse(WarehouseResource):
    """The warehouse of settings that were read already (the command line reads them once)."""

    settings_json: str = ""

    @property
    def settings(self) -> Settings:
        if self._settings is None:
            self._settings = msgspec.json.decode(
                self.settings_json, type=Settings, dec_hook=lambda kind, value: kind(value)
            )
        return self._settings


def fixed(settings: Settings, **options: Any) -> FixedWarehouse:
    """The resource over frozen settings."""
    return FixedWarehouse(settings_json=msgspec.json.encode(settings, enc_hook=str).decode(), **options)


def dagster_home(settings: Settings) -> Path:
    """`<state_dir>/dagster_home` with the deployment's dagster.yaml in it, swapped in whole: others read it meanwhile."""
    home = settings.state_dir / "dagster_home"
    home.mkdir(parents=True, exist_ok=True)
    source, target = Path(__file__).parents[2] / "dagster.yaml", home / "dagster.yaml"
    if source.exists() and not (target.exists() and target.read_bytes() == source.read_bytes()):
        part = target.with_name(f".dagster.yaml.{os.getpid()}.part")
        try:
            shutil.copyfile(source, part)
            part.replace(target)
        finally:
            part.unlink(missing_ok=True)
    return home


@contextmanager
def instance_of(settings: Settings) -> Iterator[dg.DagsterInstance]:
    """The Dagster instance of the state directory."""
    home = dagster_home(settings)
    before = os.environ.get("DAGSTER_HOME")
    os.environ["DAGSTER_HOME"] = str(home)
    try:
        with dg.DagsterInstance.from_config(str(home)) as instance:
            yield instance
    finally:
        if before is None:
            del os.environ["DAGSTER_HOME"]
        else:
            os.environ["DAGSTER_HOME"] = before


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def fail_dead_runs(instance: dg.DagsterInstance) -> list[str]:
    """Mark runs failed whose process (tag gtm/pid) is gone; returns their ids. A killed run would block the queue."""
    dead = []
    for run in instance.get_runs(dg.RunsFilter(statuses=_ALIVE)):
        pid = run.tags.get("gtm/pid")
        if pid and not _alive(int(pid)):
            instance.report_run_failed(run, message=f"its process {pid} is gone")
            dead.append(run.run_id)
    return dead


def _said(message: str) -> str:
    """An error's message in one line, without the class path in front."""
    line = " ".join(message.split())
    head, _, rest = line.partition(": ")
    return rest if rest and "." in head and " " not in head else line


class HistoryError(Exception):
    """Dagster's run history cannot be written; the message says where, why, and whether the disk is full."""


@contextmanager
def _history(settings: Settings) -> Iterator[dg.DagsterInstance]:
    """The instance; what its database refuses is raised as HistoryError."""
    try:
        with instance_of(settings) as instance:
            yield instance
    except OperationalError as error:
        # SQLite says no more than "disk I/O error" when the file beside its log cannot grow.
        free = shutil.disk_usage(settings.state_dir).free
        full = f"; no space left on its disk ({free:,} bytes free)" if free < FULL_BYTES else ""
        raise HistoryError(
            f"{settings.dagster_home}: Dagster's run history cannot be written ({error.orig}){full}"
        ) from error


def run_refresh(settings: Settings, *, full: bool = False, allow_rebuild: bool = True) -> RefreshResult:
    """Run the job `refresh` here.

    Raises LockHeldError when another writer does not finish in time, HistoryError when Dagster cannot record the run.
    """
    from gtm_dagster.definitions import build_defs

    # Wait for the writer before a run is recorded, so that a busy warehouse is an answer and not a failed run.
    with WarehouseLock(settings.state_dir).held("gtm refresh, about to start", settings.refresh.lock_timeout_seconds):
        pass
    warehouse = fixed(settings, full=full, allow_rebuild=allow_rebuild)
    definitions = build_defs(settings=settings, resources={"warehouse": warehouse})
    with _history(settings) as instance:
        fail_dead_runs(instance)
        job = definitions.resolve_job_def(REFRESH)
        # The console would repeat every event of the run; the instance keeps them all, the result tells what failed.
        quiet = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
        result = job.execute_in_process(instance=instance, raise_on_error=False, tags=run_tags(), run_config=quiet)
        checks, steps, error = [], {}, None
        rebuilt: list[str] = []
        for event in result.all_events:
            data: Any = event.event_specific_data
            if event.event_type_value == "ASSET_CHECK_EVALUATION":
                told = data
                checks.append(
                    CheckOutcome(
                        "/".join(told.asset_key.path),
                        told.check_name,
                        told.passed,
                        told.severity.value,
                        told.description or "",
                    )
                )
            elif event.event_type_value == "ASSET_MATERIALIZATION" and event.step_key == "staging":
                told = data.materialization.metadata.get("rebuilding")
                rebuilt += str(told.value).split("\n") if told else []
            elif event.event_type_value == "STEP_SUCCESS" and event.step_key:
                steps[event.step_key] = data.duration_ms / 1000
            elif event.event_type_value == "STEP_FAILURE" and error is None:
                cause = data.error
                while cause is not None and cause.cause is not None:
                    cause = cause.cause
                error = f"{event.step_key}: {_said(cause.message) if cause else 'failed'}"
    rows: list[BookRow] = []
    if settings.warehouse_path.exists():
        with WarehouseLock(settings.state_dir).held(
            "gtm refresh, reading the books", settings.refresh.lock_timeout_seconds
        ):
            with opened(settings.warehouse_path, settings) as con:
                rows = books(con)
    ok = result.success and all(check.passed or check.severity != "ERROR" for check in checks)
    return RefreshResult(result.run_id, ok, rows, checks, rebuilt, steps, error)
