"""The findings of `gtm doctor`: each names the thing, what was found, and the way out. Nothing is changed."""

from __future__ import annotations

import shutil
import stat
import sys
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING

from gtm_dagster.commands.finding import Finding
from gtm_dagster.commands.guard_watching import unwatched
from gtm_dagster.commands.health_checks import checks_over_everything, keys_of
from gtm_dagster.commands.output import Invocation

if TYPE_CHECKING:
    from gtm_dagster.warehouse.verify import VerifyResult

LOW_DISK_BYTES = 1_000_000_000


def examine(here: Invocation) -> list[Finding]:
    """Every finding, in the order in which the data passes."""
    settings = here.settings
    found = [
        Finding("settings", True, f"state directory {settings.state_dir}, report time zone {settings.report_timezone}"),
        *(Finding("settings", True, line) for line in here.notices),
        *(Finding("settings", False, line) for line in settings.guard_errors),
    ]
    found.append(Finding("python", sys.version_info >= (3, 11), sys.version.split()[0]))
    found.append(_plan(here))
    found += _deployment()
    if not settings.state_dir.exists():
        found.append(Finding("state directory", True, "not there yet; `gtm collect` or `gtm import` makes it"))
        return found
    found.append(_state_dir(settings.state_dir))
    free = shutil.disk_usage(settings.state_dir).free
    found.append(Finding("disk", free > LOW_DISK_BYTES, f"{free / 1e9:.1f} GB free"))
    found += _history(settings.dagster_home)
    found += _guards(here)
    found += _spool(here)
    found += [keys_of(settings), _log(here), _landing(here), _lock(here), _tables(here)]
    found += _messages(here)
    found += _triggers(here)
    found += _stage(here)
    found += checks_over_everything(here)
    return found


def _state_dir(folder: Path) -> Finding:
    """Other accounts that enter the folder read what is about persons, and can hold its locks."""
    mode = stat.S_IMODE(folder.stat().st_mode)
    if mode & 0o007:
        return Finding(
            "state directory",
            False,
            f"mode {mode:03o}: every account of this machine can enter it; chmod 700 {quote(str(folder))}",
        )
    if mode & 0o070:
        return Finding("state directory", True, f"shared with its group (mode {mode:03o})")
    return Finding("state directory", True, "its owner's alone")


def _plan(here: Invocation) -> Finding:
    from gtm_dagster.taxonomy import PlanError

    try:
        return Finding("tracking plan", True, f"version {here.plan.version}, {len(here.plan.events)} events")
    except PlanError as error:
        return Finding("tracking plan", False, str(error))


def _deployment() -> list[Finding]:
    """The deployment's own files, and whether the templates have changed since they were written."""
    from gtm_dagster.orchestration.deployment_template import RECORD, TemplateError, changes
    from gtm_dagster.reports.number_text import counted
    from gtm_dagster.settings.deployment_folder import named_deployment

    folder = named_deployment()
    if folder is None or not (folder / RECORD).exists():
        return []
    try:
        found = changes(folder)
    except TemplateError as error:
        return [Finding("deployment", False, str(error))]
    state = (
        f"the templates of this version differ in {counted(len(found), 'file')}: `gtm init --diff`"
        if found
        else "as its templates are"
    )
    return [Finding("deployment", True, f"{folder}: {state}")]


def _guards(here: Invocation) -> list[Finding]:
    from gtm_dagster.opsstore import OpsStoreError
    from gtm_dagster.orchestration.instance import HistoryError

    try:
        return [Finding("guards", False, line) for line in unwatched(here.settings)]
    except (OpsStoreError, HistoryError) as error:
        return [Finding("guards", False, str(error))]


def _history(home: Path) -> list[Finding]:
    """Secrets that earlier versions left in Dagster's run history, until a person removed the note about them."""
    note = home / "ROTATE_SECRETS.txt"
    if not note.exists():
        return []
    names = ", ".join(dict.fromkeys(line.strip() for line in note.read_text().splitlines() if line.startswith("  ")))
    return [Finding("secrets", False, f"{names} lay in Dagster's run history: give new values, then remove {note}")]


def _log(here: Invocation) -> Finding:
    from gtm_dagster.eventlog import EventLogError, log_exists
    from gtm_dagster.storage.migrations import NewerFormatError
    from gtm_dagster.taxonomy.conform import ContractBreak
    from gtm_dagster.warehouse.landing.from_log import waiting_offsets

    try:
        offsets = waiting_offsets(here.settings)
    except (EventLogError, NewerFormatError, ContractBreak) as error:
        return Finding("event log", False, str(error))
    if not log_exists(here.settings):
        return Finding("event log", True, "nothing collected yet; `gtm collect` starts the collector")
    return Finding(
        "event log", True, f"{offsets.newest:,} records, {offsets.newest - offsets.landed:,} of them not landed yet"
    )


def _spool(here: Invocation) -> list[Finding]:
    """What waits on this disk for the broker, where the log is a topic."""
    from gtm_dagster.eventlog import EventLogError, Spooling, open_log

    if here.settings.event_log is None:
        return []
    try:
        with open_log(here.settings) as log:
            waiting = log.spooled() if isinstance(log, Spooling) else 0
    except EventLogError as error:
        return [Finding("spool", False, str(error))]
    if waiting:
        return [
            Finding(
                "spool",
                False,
                f"{waiting:,} events wait for the broker; a running `gtm collect` delivers them when it is back",
            )
        ]
    return [Finding("spool", True, "empty: the topic has every event that was answered")]


def _landing(here: Invocation) -> Finding:
    from gtm_dagster.reports.number_text import counted
    from gtm_dagster.warehouse.landing import Landing

    with Landing(here.settings.landing_dir).reading() as files:
        gone = [file.key for file in files if not file.path.exists()]
    if gone:
        return Finding("landing", False, f"{gone[0]} (and {len(gone) - 1} more) is missing; restore it from a backup")
    return Finding(
        "landing", True, f"{counted(len(files), 'file')}, {counted(sum(file.rows for file in files), 'row')}"
    )


def _lock(here: Invocation) -> Finding:
    from gtm_dagster.warehouse.writer_lock import LockHeldError, WarehouseLock

    lock = WarehouseLock(here.settings.state_dir)
    if not lock.path.exists():
        return Finding("writer", True, "nobody has written yet")
    try:
        with lock.hold("gtm doctor", 0):
            return Finding("writer", True, "nobody is writing")
    except LockHeldError:
        return Finding("writer", True, f"{lock.holder()} is writing now")


def _tables(here: Invocation) -> Finding:
    from gtm_dagster.reports.number_text import counted
    from gtm_dagster.warehouse.serving import QueryError, query

    if not here.settings.serving_path.exists():
        return Finding("serving copy", True, "not built yet; `gtm refresh` builds it")
    try:
        _, rows = query(
            here.settings,
            """SELECT count(*), count(*) FILTER (raw <> clean + duplicates + quarantined + suppressed OR raw <> log_rows)
            FROM staging.books""",
        )
    except QueryError as error:
        return Finding("serving copy", False, str(error))
    days, wrong = rows[0]
    return Finding("serving copy", wrong == 0, f"the books of {counted(days, 'ingest day')}, {wrong} out of balance")


def verify_warehouse(here: Invocation) -> list[Finding]:
    """Compare the incremental warehouse with a rebuild, and its serving copy with it, holding the writer's lock."""
    from gtm_dagster.warehouse.verify import verify, verify_served
    from gtm_dagster.warehouse.writer_lock import LockHeldError, WarehouseLock

    settings = here.settings
    if not settings.warehouse_path.exists():
        return [Finding("rebuild", False, "there is no warehouse to verify; run `gtm refresh`")]
    try:
        with WarehouseLock(settings.state_dir).hold("gtm doctor --verify", settings.refresh.lock_timeout_seconds):
            result, copy = verify(settings, here.plan), verify_served(settings)
    except LockHeldError as error:
        return [Finding("rebuild", False, str(error))]
    rebuilt = _verdict("rebuild", result, "equal a rebuild of their landing files", "`gtm refresh --full` rebuilds")
    if copy is None:
        return [
            rebuilt,
            Finding("published", True, "the serving copy is not of now and was not compared; `gtm refresh` publishes"),
        ]
    again = f"remove {settings.serving_path} and run `gtm refresh`: it is written anew"
    return [rebuilt, _verdict("published", copy, "of the serving copy equal those of the warehouse", again)]


def _verdict(name: str, result: VerifyResult, equal: str, way_out: str) -> Finding:
    if result.ok:
        return Finding(name, True, f"{len(result.differences)} tables {equal}")
    differing = ", ".join(f"{table} ({n} rows)" for table, n in result.differences.items() if n)
    return Finding(name, False, f"differs in {differing}; first: {result.first}; {way_out}")


def _stage(here: Invocation) -> list[Finding]:
    """The stage whose preset is set, beside those the data would support."""
    import duckdb

    from gtm_dagster.reports.stage_support import measured, stage_line
    from gtm_dagster.warehouse.serving import QueryError, reader

    if not here.settings.serving_path.exists():
        return []
    try:
        with reader(here.settings) as con:
            amount = measured(con)
    except (QueryError, duckdb.Error):
        return []  # what is wrong with the serving copy is a finding of its own
    return [Finding("stage", True, stage_line(here.settings.stage, amount))]


def _messages(here: Invocation) -> list[Finding]:
    """Messages of guards that nobody sends any more."""
    from time import time_ns

    from gtm_dagster.delivery import given_up, given_up_lines, lately
    from gtm_dagster.opsstore import OpsStore, OpsStoreError
    from gtm_dagster.rollout.control.evaluation import store_exists

    if not store_exists(here.settings):
        return []
    try:
        with OpsStore.of(here.settings) as store:
            lost = given_up(store)
    except OpsStoreError as error:
        return [Finding("ops store", False, str(error))]
    fresh = lately(lost, time_ns() // 1000)
    return [Finding("messages", not fresh, line) for line in given_up_lines(lost)]


def _triggers(here: Invocation) -> list[Finding]:
    """Rules that run: what stops them, and what they wait for."""
    from time import time_ns

    from gtm_dagster.storage.migrations import NewerFormatError
    from gtm_dagster.triggers.trigger_db import TriggerDbError, trigger_db_path
    from gtm_dagster.triggers.trigger_status import trigger_status

    path = trigger_db_path(here.settings.state_dir)
    if not path.exists():
        return []
    try:
        status = trigger_status(path, here.settings.log_path, time_ns() // 1000)
    except (TriggerDbError, NewerFormatError) as error:
        return [Finding("triggers", False, str(error))]
    lag = "" if status.lag_events is None else f", {status.lag_events:,} records behind the log's end"
    found = [
        Finding(
            "triggers",
            status.is_well,
            f"{len(status.rules)} rules, {sum(r.open for r in status.rules):,} starts open{lag}",
        )
    ]
    if status.rules_error:
        found.append(Finding("triggers", False, f"older rules run: {status.rules_error}"))
    for rule in status.rules:
        if rule.status == "degraded":
            stopped = f"{rule.rule} raised errors and is stopped; `gtm trigger resume {rule.rule}`"
            found.append(Finding("triggers", False, stopped))
        elif rule.blind:
            found.append(
                Finding("triggers", True, f"{rule.rule} waits: nobody is heard who would report its cancelling event")
            )
    return found
