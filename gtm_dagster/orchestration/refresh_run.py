"""The job `refresh` in this process, on the instance of the state directory: the UI shows the run like its own."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import dagster as dg
import duckdb

from gtm_dagster.orchestration.dead_runs import fail_dead_runs
from gtm_dagster.orchestration.failures import reason_of
from gtm_dagster.orchestration.instance import run_history
from gtm_dagster.orchestration.interrupts import interrupts_for_this_process
from gtm_dagster.orchestration.jobs import REFRESH
from gtm_dagster.orchestration.resources import warehouse_of
from gtm_dagster.orchestration.run_labels import BY_HAND, TRIGGER, run_tags
from gtm_dagster.orchestration.run_origin import NO_RETRY, recorded_as
from gtm_dagster.settings import Settings
from gtm_dagster.warehouse.engine import opened
from gtm_dagster.warehouse.staging.books import BookRow, books
from gtm_dagster.warehouse.writer_lock import WarehouseLock

_INTERRUPTED = ("DagsterExecutionInterruptedError", "RuntimeError: Query interrupted")


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


def _books(settings: Settings) -> list[BookRow]:
    if not settings.warehouse_path.exists():
        return []
    with opened(settings.warehouse_path, settings) as con:
        return books(con)


def run_refresh(
    settings: Settings,
    build_defs: Callable[..., dg.Definitions],
    *,
    full: bool = False,
    allow_rebuild: bool = True,
    trigger: str = BY_HAND,
    progress: Callable[..., None] | None = None,
) -> RefreshResult:
    """Run the job `refresh` of `build_defs` (`definitions.build_defs`) here; `trigger`: what asked for it, as its tag says.
    `progress` gets the steps as they begin: its name, or how many are done of all.

    Raises LockHeldError when another writer does not finish in time, HistoryError when Dagster cannot record the run,
    KeyboardInterrupt when the run was interrupted.
    """
    warehouse = warehouse_of(settings, full=full, allow_rebuild=allow_rebuild, has_lock=True)
    job = build_defs(settings=settings, resources={"warehouse": warehouse}).resolve_job_def(REFRESH)
    run_id = str(uuid.uuid4())
    # Taken before the run is recorded: a busy warehouse is an error and not a failed run. Released after the books are
    # read: they are the books of this run.
    with WarehouseLock(settings.state_dir).hold(f"run {run_id}", settings.refresh.lock_timeout_seconds):
        with run_history(settings) as instance:
            fail_dead_runs(instance)
            if progress:
                instance.add_event_listener(run_id, _steps_told(progress, len(job.graph.nodes)))
            # The console would repeat every event of the run; the instance keeps them, the result names what failed.
            quiet = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
            tags = run_tags(run_id, {TRIGGER: trigger}) | NO_RETRY
            with recorded_as(instance, REFRESH), interrupts_for_this_process():
                done = job.execute_in_process(
                    instance=instance, raise_on_error=False, run_id=run_id, tags=tags, run_config=quiet
                )
        if _is_interrupted(done):
            raise KeyboardInterrupt
        result = _result_of(done)
        try:
            return replace(result, books=_books(settings))
        except (OSError, duckdb.Error):
            if result.error is None:
                raise
            return result  # the error of the step matters more than why the books cannot be shown after it


def _is_interrupted(done: dg.ExecuteInProcessResult) -> bool:
    """Whether a Ctrl-C ended a step: Dagster makes a failure of it, and DuckDB an error of its own in the midst of a query."""
    failed = [event.event_specific_data for event in done.all_events if event.event_type_value == "STEP_FAILURE"]
    return any(words in str(data.error) for data in failed for words in _INTERRUPTED)  # type: ignore[union-attr]


def _steps_told(progress: Callable[..., None], steps: int) -> Callable[[Any], None]:
    """A listener of a run's events that passes on which step runs, and how many of them are over."""
    over: set[str] = set()

    def listen(entry: Any) -> None:
        event = entry.dagster_event
        if event is None or not event.step_key:
            return
        if event.event_type_value == "STEP_START":
            progress(event.step_key.replace("__", "."))
        elif event.event_type_value in ("STEP_SUCCESS", "STEP_FAILURE", "STEP_SKIPPED"):
            over.add(event.step_key)
            progress(len(over), steps)

    return listen


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
            layers = data.materialization.metadata.get("rebuilding")
            rebuilt += str(layers.value).split("\n") if layers else []
        elif event.event_type_value == "STEP_SUCCESS" and event.step_key:
            steps[event.step_key] = data.duration_ms / 1000
        elif event.event_type_value == "STEP_FAILURE":
            failures.append(f"{event.step_key}: {reason_of(data.error)}")
        elif event.event_type_value == "PIPELINE_FAILURE":
            # The last event of the run, and the only one with a reason when no step has started.
            failures.append(reason_of(data.error))
    ok = done.success and all(check.passed or check.severity != "ERROR" for check in checks)
    return RefreshResult(done.run_id, ok, [], checks, rebuilt, steps, failures[0] if failures else None)
