"""`ops.rollbacks` of the serving copy: the ledger of the ops store as readers see it."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb

from gtm_dagster.opsstore import OpsStore
from gtm_dagster.warehouse.schema.ops_rollbacks import TABLE

if TYPE_CHECKING:
    from gtm_dagster.opsstore import RollbackRow
    from gtm_dagster.settings import Settings


def copy_rollbacks(con: duckdb.DuckDBPyConnection, settings: Settings, table: str) -> int:
    """Make `table` anew and fill it from the ops store, where there is one; returns its rows."""
    con.execute(f"CREATE OR REPLACE TABLE {table} ({TABLE.column_list})")
    address = settings.ops_address
    if address.startswith("sqlite:///") and not Path(address.removeprefix("sqlite:///")).exists():
        return 0
    with OpsStore.of(settings) as store:
        rows = [_values(row) for row in store.rollbacks(evidence=False)]
    if rows:
        con.executemany(f"INSERT INTO {table} VALUES ({', '.join('?' * len(TABLE.columns))})", rows)
    return len(rows)


def _values(row: RollbackRow) -> list[object]:
    return [
        row.flag, row.episode, _at(row.decided_us), _at(row.effective_us), row.estimate, row.log_e, row.verified,
        row.outcome, row.guard, row.environment, row.provider, row.epoch, row.attempt, _at(row.intent_us),
        _at(row.acked_us), _at(row.last_exposure_us), row.low, row.high, row.log_budget, row.dry_run, row.actor,
        row.reason, row.run_id, row.bundle_sha256,
    ]  # fmt: skip


def _at(us: int | None) -> datetime | None:
    return None if us is None else datetime.fromtimestamp(us / 1e6, UTC).replace(tzinfo=None)
