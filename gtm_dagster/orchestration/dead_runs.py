"""Runs whose process is gone. Dagster's default launcher has no health check: such a run blocks the queue for hours."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg

NEVER_SUBMITTED = timedelta(minutes=5)
"""A run stays longer than this between its record and the queue only when its creator died (Dagster: "a brief window")."""
_UNFINISHED = [dg.DagsterRunStatus.NOT_STARTED, dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED]


def process_tags(run_id: str) -> dict[str, str]:
    """Tags that name the process of a run, and the run itself: a retry inherits the tags of its parent."""
    return {"gtm/pid": str(os.getpid()), "gtm/born": _born(os.getpid()), "gtm/run": run_id}


def fail_dead_runs(instance: dg.DagsterInstance) -> list[str]:
    """Mark runs failed whose process is gone or that were never submitted; returns their ids."""
    dead = []
    for record in instance.get_run_records(dg.RunsFilter(statuses=_UNFINISHED)):
        run = record.dagster_run
        reason = _death(instance, run, datetime.now(UTC) - record.create_timestamp.replace(tzinfo=UTC))
        if reason:
            instance.report_run_failed(run, message=reason)
            dead.append(run.run_id)
    return dead


def _death(instance: dg.DagsterInstance, run: dg.DagsterRun, age: timedelta) -> str | None:
    pid, born = _process(instance, run)
    if pid is not None:
        return None if _alive(pid, born) else f"its process {pid} is gone"
    if run.status == dg.DagsterRunStatus.NOT_STARTED and age > NEVER_SUBMITTED:
        return "it was never submitted: the process that created it is gone"
    return None


def _process(instance: dg.DagsterInstance, run: dg.DagsterRun) -> tuple[int | None, str]:
    """Process id and birth of the run's process, from its tags, else from what Dagster logged at its start.

    A run killed before it could tag itself has the log alone. Only the default launcher starts runs on this machine.
    """
    if "gtm/pid" in run.tags and run.tags.get("gtm/run", run.run_id) == run.run_id:
        return int(run.tags["gtm/pid"]), run.tags.get("gtm/born", "")
    if isinstance(instance.run_launcher, dg.DefaultRunLauncher):
        with_pid = {dg.DagsterEventType.ENGINE_EVENT, dg.DagsterEventType.PIPELINE_START}
        for entry in instance.all_logs(run.run_id, with_pid):
            event = entry.get_dagster_event()
            if event.pid is not None:
                return event.pid, ""
            if event.is_engine_event and "pid" in event.engine_event_data.metadata:
                return int(str(event.engine_event_data.metadata["pid"].value)), ""
    return None, ""


def _stat(pid: int) -> list[str]:
    """Fields 3 and later of /proc/PID/stat (proc(5)), the process state first; empty where there is no /proc."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def _born(pid: int) -> str:
    """Boot id and clock tick at which the process began: a later process of the same number has another."""
    fields = _stat(pid)
    try:
        return f"{Path('/proc/sys/kernel/random/boot_id').read_text().strip()}/{fields[19]}" if fields else ""
    except OSError:
        return ""


def _alive(pid: int, born: str) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    if _stat(pid)[:1] == ["Z"]:
        return False  # a zombie: killed, and its parent has not waited for it yet
    now = _born(pid)
    return not (born and now) or born == now
