"""Runs whose process is gone. Dagster's default launcher has no health check, so they would block the queue for hours."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta

import dagster as dg

NEVER_SUBMITTED = timedelta(minutes=5)
"""A run is only so long between its record and the queue when whoever made it died there (Dagster: "a brief window")."""
_UNFINISHED = [dg.DagsterRunStatus.NOT_STARTED, dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED]


def process_tags(run_id: str) -> dict[str, str]:
    """Tags that say which process carries out a run, and of which run they are: a retry inherits those of its parent."""
    return {"gtm/pid": str(os.getpid()), "gtm/run": run_id}


def fail_dead_runs(instance: dg.DagsterInstance) -> list[str]:
    """Mark runs failed whose process is gone, and those that were never submitted; returns their ids."""
    dead = []
    for record in instance.get_run_records(dg.RunsFilter(statuses=_UNFINISHED)):
        run = record.dagster_run
        reason = _death(run, datetime.now(UTC) - record.create_timestamp.replace(tzinfo=UTC))
        if reason:
            instance.report_run_failed(run, message=reason)
            dead.append(run.run_id)
    return dead


def _death(run: dg.DagsterRun, age: timedelta) -> str | None:
    pid = run.tags.get("gtm/pid")
    if pid and run.tags.get("gtm/run", run.run_id) == run.run_id:
        return None if _alive(int(pid)) else f"its process {pid} is gone"
    if run.status == dg.DagsterRunStatus.NOT_STARTED and age > NEVER_SUBMITTED:
        return "it was never submitted: who asked for it was gone before"
    return None


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
