"""Runs whose process is gone. Dagster's default launcher has no health check: such a run blocks the queue for hours.

A process number means something only where it was given: a run is judged by the machine, boot and pid namespace that began
it. Runs of other machines and containers on the same storage are left to Dagster's run monitoring.
"""

from __future__ import annotations

import hashlib
import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
from dagster._core.storage.runs.sqlite import SqliteRunStorage

_HIDDEN, _EARLIER = ".dagster/gtm_", "gtm/"
"""What the tags of a run's process begin with: the web UI does not show the first; earlier versions wrote the second."""
NEVER_SUBMITTED = timedelta(minutes=5)
"""A run stays longer than this between its record and the queue only when its creator died (Dagster: "a brief window")."""
_UNFINISHED = [
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]


@dataclass(frozen=True)
class Host:
    """Where process numbers are given: a machine, its boot, and the pid namespace there; empty where there is no /proc."""

    machine: str
    boot: str
    pid_namespace: str

    @classmethod
    def here(cls) -> Host:
        """Of this process."""
        # A digest: machine-id(5) asks not to show the id itself, and tags are shown.
        machine_id = hashlib.sha256(f"gtm-dagster/{_text('/etc/machine-id')}".encode()).hexdigest()
        machine = f"{socket.gethostname()}:{machine_id[:12]}"
        return cls(machine, _text("/proc/sys/kernel/random/boot_id"), _link("/proc/self/ns/pid"))

    @classmethod
    def of(cls, tag: str) -> Host | None:
        """The host of a tag; None when the tag is of another form."""
        parts = tag.split(" ")
        return cls(*parts) if len(parts) == 3 else None

    def __str__(self) -> str:
        return f"{self.machine} {self.boot} {self.pid_namespace}"


def process_tags(run_id: str) -> dict[str, str]:
    """Tags that name the process of a run, and the run itself: a retry inherits the tags of its parent."""
    pid = os.getpid()
    named = {"pid": str(pid), "born": _born(pid), "host": str(Host.here()), "run": run_id}
    return {f"{_HIDDEN}{name}": value for name, value in named.items()}


def process_of(tags: Mapping[str, str]) -> dict[str, str]:
    """What a run's tags say of its process (pid, born, host, run), as this or an earlier version wrote them."""
    form = _HIDDEN if f"{_HIDDEN}pid" in tags else _EARLIER
    return {name: tags[form + name] for name in ("pid", "born", "host", "run") if form + name in tags}


def fail_dead_runs(instance: dg.DagsterInstance) -> list[str]:
    """End runs whose process is gone or that were never submitted; returns their ids. One being cancelled is cancelled."""
    dead = []
    for record in instance.get_run_records(dg.RunsFilter(statuses=_UNFINISHED)):
        run = record.dagster_run
        reason = _death(instance, run, datetime.now(UTC) - record.create_timestamp.replace(tzinfo=UTC))
        if reason:
            if run.status == dg.DagsterRunStatus.CANCELING:
                instance.report_run_canceled(run, message=reason)
            else:
                instance.report_run_failed(run, message=reason)
            dead.append(run.run_id)
    return dead


def _death(instance: dg.DagsterInstance, run: dg.DagsterRun, age: timedelta) -> str | None:
    process = process_of(run.tags)
    if "pid" in process and process.get("run", run.run_id) == run.run_id:
        return _death_of(process)
    pid = _logged_process(instance, run)
    if pid is not None:
        return None if _alive(pid, "") else f"its process {pid} is gone"
    if run.status == dg.DagsterRunStatus.NOT_STARTED and age > NEVER_SUBMITTED:
        return "it was never submitted: the process that created it is gone"
    return None


def _death_of(process: Mapping[str, str]) -> str | None:
    """Why the process is gone; None when it lives, and when only another host could say."""
    pid, born, here = int(process["pid"]), process.get("born", ""), Host.here()
    boot = born.partition("/")[0]
    host = Host.of(process["host"]) if "host" in process else replace(here, boot=boot or here.boot)
    if host is None or (boot and boot != host.boot):
        return None
    if host == here:
        return None if _alive(pid, born) else f"its process {pid} is gone"
    if "host" in process and host.machine == here.machine and host.boot and here.boot and host.boot != here.boot:
        return f"its process {pid} is gone: the machine was started anew since"
    return None


def _logged_process(instance: dg.DagsterInstance, run: dg.DagsterRun) -> int | None:
    """Number of the run's process from what Dagster logged at its start: all there is of a run killed before it could tag
    itself. The log does not name the host: it is believed where runs are started and recorded on this machine alone.
    """
    if isinstance(instance.run_launcher, dg.DefaultRunLauncher) and isinstance(instance.run_storage, SqliteRunStorage):
        with_pid = {dg.DagsterEventType.ENGINE_EVENT, dg.DagsterEventType.PIPELINE_START}
        for entry in instance.all_logs(run.run_id, with_pid):
            event = entry.get_dagster_event()
            if event.pid is not None:
                return event.pid
            if event.is_engine_event and "pid" in event.engine_event_data.metadata:
                return int(str(event.engine_event_data.metadata["pid"].value))
    return None


def _text(path: str) -> str:
    try:
        return Path(path).read_text().strip()
    except OSError:
        return ""


def _link(path: str) -> str:
    try:
        return str(Path(path).readlink())
    except OSError:
        return ""


def _stat(pid: int) -> list[str]:
    """Fields 3 and later of /proc/PID/stat (proc(5)), the process state first; empty where there is no /proc."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def _born(pid: int) -> str:
    """Boot id and clock tick at which the process began: a later process of the same number has another."""
    fields = _stat(pid)
    return f"{_text('/proc/sys/kernel/random/boot_id')}/{fields[19]}" if fields else ""


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
