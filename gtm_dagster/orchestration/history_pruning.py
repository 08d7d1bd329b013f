"""Ends old runs in Dagster's history, which by itself grows for ever: a refresh leaves about a megabyte.

What goes are runs whose outcome the tables hold: refreshes, materialisations and checks by hand, messages, earlier
prunings. What stays, however old: runs that acted on a flag or on people's data, runs of jobs of one's own, the run of
the last materialisation of each asset and of the last outcome of each check, and whatever has not ended.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import dagster as dg
from dagster._core.storage.event_log.schema import AssetCheckExecutionsTable, SqlEventLogStorageTable
from dagster._core.storage.event_log.sql_event_log import SqlEventLogStorage
from dagster._core.storage.legacy_storage import LegacyEventLogStorage
from sqlalchemy import Connection, and_, delete, func, select

from gtm_dagster.orchestration.jobs import REBUILD, REFRESH

PRUNING, NOTIFY = "history_pruning", "notify_people"
PRUNED_JOBS = frozenset({REFRESH, REBUILD, PRUNING, NOTIFY, "__ASSET_JOB", "page_guard"})
_PAGE = 100
_ENDED = [dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED]


@dataclass(frozen=True)
class Pruned:
    """Runs ended, events without a run ended, and whether older runs are left for the next time."""

    runs: int
    events: int
    more: bool


def prune(instance: dg.DagsterInstance, days: float, most: int, now: datetime | None = None) -> Pruned:
    """End at most `most` runs that were made more than `days` ago, the oldest first, and events without a run as old.

    Each run is its own transaction: stopped at any point, the next pruning goes on from there.
    """
    before = (now or datetime.now(UTC)) - timedelta(days=days)
    kept = _kept_runs(instance)
    ended = 0
    for run in _old_runs(instance, before):
        if run.run_id in kept or run.job_name not in PRUNED_JOBS:
            continue
        if ended == most:
            return Pruned(ended, _end_loose_events(instance, before), more=True)
        _end_run(instance, run.run_id)
        ended += 1
    return Pruned(ended, _end_loose_events(instance, before), more=False)


def _old_runs(instance: dg.DagsterInstance, before: datetime) -> Iterator[dg.DagsterRun]:
    """Runs that ended and were made before, the oldest first. The next page is asked for by the last run of this one,
    which may be gone by then: so one page is always read ahead.
    """
    filters = dg.RunsFilter(statuses=_ENDED, created_before=before)
    page = instance.get_runs(filters, limit=_PAGE, ascending=True)
    while page:
        following = instance.get_runs(filters, limit=_PAGE, ascending=True, cursor=page[-1].run_id)
        yield from page
        page = following


def _kept_runs(instance: dg.DagsterInstance) -> set[str]:
    """Runs that the web UI shows as the present state of an asset or a check."""
    latest = [instance.get_latest_materialization_event(key) for key in instance.all_asset_keys()]
    kept = {event.run_id for event in latest if event is not None}
    events = _sql_event_log(instance)
    if events is not None:
        checks = AssetCheckExecutionsTable
        newest = select(func.max(checks.c.id)).group_by(checks.c.asset_key, checks.c.check_name)
        with events.index_connection() as con:
            kept |= {row[0] for row in con.execute(select(checks.c.run_id).where(checks.c.id.in_(newest)))}
    return kept


def _end_run(instance: dg.DagsterInstance, run_id: str) -> None:
    """Dagster's own deletion, and what it leaves: the outcomes of checks."""
    instance.delete_run(run_id)
    events = _sql_event_log(instance)
    if events is not None:
        with events.index_connection() as con:
            con.execute(delete(AssetCheckExecutionsTable).where(AssetCheckExecutionsTable.c.run_id == run_id))


def _end_loose_events(instance: dg.DagsterInstance, before: datetime) -> int:
    """Events of no run, such as changes of freshness, but the newest of each kind and asset."""
    events = _sql_event_log(instance)
    if events is None:
        return 0
    # SQLite holds them twice, as it does the events of a run: in a file of theirs, and in the index.
    for connection in (events.run_connection(""), events.index_connection()):
        with connection as con:
            ended = _end_loose(con, before.replace(tzinfo=None))
    return ended


def _end_loose(con: Connection, before: datetime) -> int:
    table = SqlEventLogStorageTable
    loose = table.c.run_id == ""
    newest = select(func.max(table.c.id)).where(loose).group_by(table.c.dagster_event_type, table.c.asset_key)
    old = and_(loose, table.c.timestamp < before, table.c.id.not_in(newest.scalar_subquery()))
    return int(con.execute(delete(table).where(old)).rowcount)


def _sql_event_log(instance: dg.DagsterInstance) -> SqlEventLogStorage | None:
    storage = instance.event_log_storage
    if isinstance(storage, LegacyEventLogStorage):
        storage = storage._storage.event_log_storage
    return storage if isinstance(storage, SqlEventLogStorage) else None
