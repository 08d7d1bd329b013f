"""`gtm refresh`: the same job the UI runs, in this process and on the same instance, so the UI shows the run."""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import dagster as dg
import duckdb
import msgspec
from sqlalchemy.exc import OperationalError

from gtm_dagster.orchestration.dead_runs import fail_dead_runs
from gtm_dagster.orchestration.jobs import REFRESH
from gtm_dagster.orchestration.resources import WarehouseResource, run_tags
from gtm_dagster.settings import Settings
from gtm_dagster.storage.disk_space import full_disk
from gtm_dagster.storage.file_lock import KernelLock
from gtm_dagster.warehouse.engine import opened
from gtm_dagster.warehouse.staging.books import BookRow, books
from gtm_dagster.warehouse.writer_lock import WarehouseLock

OPENING_SECONDS = 120.0
"""How long to wait for another process that opens the run history; making it takes a few seconds."""


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
    """The warehouse of settings that were read already (the command line reads them once).

    Who starts the run with the writer's lock in its hands says so with `lock_held`.
    """

    settings_json: str = ""
    lock_held: bool = False

    @property
    def settings(self) -> Settings:
        if self._settings is None:
            self._settings = msgspec.json.decode(
                self.settings_json, type=Settings, dec_hook=lambda kind, value: kind(value)
            )
        return self._settings

    def _writers_lock(self, owner: str) -> AbstractContextManager[None]:
        return nullcontext() if self.lock_held else super()._writers_lock(owner)


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


class HistoryError(Exception):
    """Dagster's run history cannot be opened or written; the message says where, why, and whether the disk is full."""


class OpeningLock(KernelLock):
    """One process at a time opens the run history: two that make its tables at once leave them at two revisions for good."""

    def __init__(self, home: Path) -> None:
        super().__init__(home / ".opening.lock")

    def refusal(self, timeout_s: float) -> HistoryError:
        """Who is at it."""
        return HistoryError(
            f"{self.path.parent}: the run history is being opened by {self.holder()}; waited {timeout_s:g} s"
        )


@contextmanager
def instance_of(settings: Settings) -> Iterator[dg.DagsterInstance]:
    """The Dagster instance of the state directory."""
    home = dagster_home(settings)
    before = os.environ.get("DAGSTER_HOME")
    os.environ["DAGSTER_HOME"] = str(home)
    try:
        with OpeningLock(home).held("opening", OPENING_SECONDS):
            opened_instance = dg.DagsterInstance.from_config(str(home))
        with opened_instance as instance:
            yield instance
    finally:
        if before is None:
            del os.environ["DAGSTER_HOME"]
        else:
            os.environ["DAGSTER_HOME"] = before


def _said(message: str) -> str:
    """An error's message in one line, without the class path in front."""
    line = " ".join(message.split())
    head, _, rest = line.partition(": ")
    return rest if rest and "." in head and " " not in head else line


def _books(settings: Settings) -> list[BookRow]:
    if not settings.warehouse_path.exists():
        return []
    with opened(settings.warehouse_path, settings) as con:
        return books(con)


@contextmanager
def _history(settings: Settings) -> Iterator[dg.DagsterInstance]:
    """The instance; what its database refuses is raised as HistoryError."""
    try:
        with instance_of(settings) as instance:
            yield instance
    except (OperationalError, OSError) as error:
        said = error.orig if isinstance(error, OperationalError) else error
        full = full_disk(settings.state_dir)
        raise HistoryError(
            f"{settings.dagster_home}: Dagster's run history cannot be written ({said}){full}"
        ) from error


def _why(error: Any) -> str:
    """What went wrong: Dagster wraps what was raised; what that was raised from says less (SQLite's own words)."""
    while error is not None and error.cause is not None and (error.cls_name or "").startswith("Dagster"):
        error = error.cause
    return _said(error.message) if error else "failed"


def run_refresh(
    settings: Settings, build_defs: Callable[..., dg.Definitions], *, full: bool = False, allow_rebuild: bool = True
) -> RefreshResult:
    """Run the job `refresh` of `build_defs` (`definitions.build_defs`) here.

    Raises LockHeldError when another writer does not finish in time, HistoryError when Dagster cannot record the run.
    """
    warehouse = fixed(settings, full=full, allow_rebuild=allow_rebuild, lock_held=True)
    job = build_defs(settings=settings, resources={"warehouse": warehouse}).resolve_job_def(REFRESH)
    run_id = str(uuid.uuid4())
    # From before a run is recorded, so that a busy warehouse is an answer and not a failed run, until the books are read,
    # so that they are this run's.
    with WarehouseLock(settings.state_dir).held(f"run {run_id}", settings.refresh.lock_timeout_seconds):
        with _history(settings) as instance:
            fail_dead_runs(instance)
            # The console would repeat every event of the run; the instance keeps them all, the result tells what failed.
            quiet = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
            done = job.execute_in_process(
                instance=instance, raise_on_error=False, run_id=run_id, tags=run_tags(run_id), run_config=quiet
            )
        result = _result_of(done)
        try:
            return replace(result, books=_books(settings))
        except (OSError, duckdb.Error):
            if result.error is None:
                raise
            return result  # what the step said matters more than why the books cannot be shown after it


def _result_of(done: dg.ExecuteInProcessResult) -> RefreshResult:
    checks, steps = [], {}
    rebuilt: list[str] = []
    failures: list[str] = []
    for event in done.all_events:
        data: Any = event.event_specific_data
        if event.event_type_value == "ASSET_CHECK_EVALUATION":
            asset = "/".join(data.asset_key.path)
            checks.append(
                CheckOutcome(asset, data.check_name, data.passed, data.severity.value, data.description or "")
            )
        elif event.event_type_value == "ASSET_MATERIALIZATION" and event.step_key == "staging":
            told = data.materialization.metadata.get("rebuilding")
            rebuilt += str(told.value).split("\n") if told else []
        elif event.event_type_value == "STEP_SUCCESS" and event.step_key:
            steps[event.step_key] = data.duration_ms / 1000
        elif event.event_type_value == "STEP_FAILURE":
            failures.append(f"{event.step_key}: {_why(data.error)}")
        elif event.event_type_value == "PIPELINE_FAILURE":
            # Last of the run, and the only one that says why when no step came to run.
            failures.append(_why(data.error))
    ok = done.success and all(check.passed or check.severity != "ERROR" for check in checks)
    return RefreshResult(done.run_id, ok, [], checks, rebuilt, steps, failures[0] if failures else None)
