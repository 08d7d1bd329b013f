"""`ops.rollbacks` of the serving copy: the ledger of the ops store as readers see it."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb

from gtm_dagster.opsstore import OpsStore
from gtm_dagster.warehouse.literals import composed
from gtm_dagster.warehouse.schema.ops_rollbacks import TABLE

if TYPE_CHECKING:
    from gtm_dagster.opsstore import RollbackRow
    from gtm_dagster.settings import Settings


def rollbacks(settings: Settings) -> list[list[object]]:
    """The rollbacks of the ops store, each the values of `ops.rollbacks`; none where there is no store."""
    address = settings.ops_address
    if address.startswith("sqlite:///") and not Path(address.removeprefix("sqlite:///")).exists():
        return []
    with OpsStore.of(settings) as store:
        return [_values(row) for row in store.rollbacks(evidence=False)]


def write_rollbacks(con: duckdb.DuckDBPyConnection, rows: list[list[object]], table: str) -> None:
    """Make `table` anew and fill it with `rows`."""
    con.execute(f"CREATE OR REPLACE TABLE {table} ({TABLE.column_list})")
    if rows:
        con.executemany(
            composed("INSERT INTO $table VALUES ($columns)", table=table, columns=", ".join("?" * len(TABLE.columns))),
            rows,
        )


def _values(row: RollbackRow) -> list[object]:
    return [
        row.flag, row.episode, _at(row.decided_us), _at(row.effective_us), row.estimate, row.log_e, row.verified,
        row.outcome, row.guard, row.environment, row.provider, row.epoch, row.attempt, _at(row.intent_us),
        _at(row.acked_us), _at(row.last_exposure_us), row.low, row.high, row.log_budget, row.dry_run, row.actor,
        row.reason, row.run_id, row.bundle_sha256,
    ]  # fmt: skip


def _at(us: int | None) -> datetime | None:
    return None if us is None else datetime.fromtimestamp(us / 1e6, UTC).replace(tzinfo=None)
