"""`ops.rollbacks` of the serving copy: the ledger of the ops store as readers see it."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb

from gtm_dagster.opsstore import OpsStore

if TYPE_CHECKING:
    from gtm_dagster.opsstore import RollbackRow
    from gtm_dagster.settings import Settings

COLUMNS = (
    ("flag", "VARCHAR", "The flag that was turned off"),
    ("episode", "VARCHAR", "Name of the rollback; a guard makes at most one in an epoch by itself"),
    ("decided_at", "TIMESTAMP", "Watermark of the decision, UTC: everything up to it was counted"),
    ("effective_at", "TIMESTAMP", "When sampled clients were proven to be served the old flow, UTC; NULL when never"),
    ("estimate", "DOUBLE", "Relative loss of conversion, share of 1; NULL when it could not be estimated"),
    ("evidence", "DOUBLE", "Natural logarithm of the evidence; it had to reach `evidence_needed`"),
    ("verified", "BOOLEAN", "Whether sampled clients were proven to be served the old flow"),
    ("outcome", "VARCHAR", "rolled_back, would_roll_back (dry run), rolling_back, rollback_failed or superseded"),
    ("guard", "VARCHAR", "Flag, conversion and environment"),
    ("environment", "VARCHAR", "The provider's environment"),
    ("provider", "VARCHAR", "Name under [[providers]]"),
    ("epoch", "BIGINT", "Armings of the guard, from 1; 0: never armed"),
    ("attempt", "BIGINT", "Runs it took"),
    ("intent_at", "TIMESTAMP", "When the rollback was written down, before the provider was told, UTC"),
    ("acked_at", "TIMESTAMP", "When the provider had taken it, UTC"),
    ("last_exposure_at", "TIMESTAMP", "First exposure of the last treated unit counted until then, UTC"),
    ("low", "DOUBLE", "Lower end of the loss, 95 %"),
    ("high", "DOUBLE", "Upper end of the loss, 95 %"),
    ("evidence_needed", "DOUBLE", "Natural logarithm of the evidence the budget asks for"),
    ("dry_run", "BOOLEAN", "True: nothing was written to the provider"),
    ("actor", "VARCHAR", "conversion_guard, or the person who asked"),
    ("reason", "VARCHAR", "The verdict in words, or the person's reason"),
    ("run_id", "VARCHAR", "The Dagster run that turned it off"),
    ("bundle_sha256", "VARCHAR", "Digest of the evidence bundle in the ops store"),
)
"""Name, type and meaning."""


def copy_rollbacks(con: duckdb.DuckDBPyConnection, settings: Settings, table: str) -> int:
    """Make `table` anew and fill it from the ops store, where there is one; returns its rows."""
    con.execute(f"CREATE OR REPLACE TABLE {table} ({', '.join(f'{name} {kind}' for name, kind, _ in COLUMNS)})")
    address = settings.ops_address
    if address.startswith("sqlite:///") and not Path(address.removeprefix("sqlite:///")).exists():
        return 0
    with OpsStore.of(settings) as store:
        rows = [_told(row) for row in store.rollbacks()]
    if rows:
        con.executemany(f"INSERT INTO {table} VALUES ({', '.join('?' * len(COLUMNS))})", rows)
    return len(rows)


def _told(row: RollbackRow) -> list[object]:
    digest = hashlib.sha256(row.bundle.encode()).hexdigest() if row.bundle else None
    return [
        row.flag, row.episode, _at(row.decided_us), _at(row.effective_us), row.estimate, row.log_e, row.verified,
        row.outcome, row.guard, row.environment, row.provider, row.epoch, row.attempt, _at(row.intent_us),
        _at(row.acked_us), _at(row.last_exposure_us), row.low, row.high, row.log_budget, row.dry_run, row.actor,
        row.reason, row.run_id, digest,
    ]  # fmt: skip


def _at(us: int | None) -> datetime | None:
    return None if us is None else datetime.fromtimestamp(us / 1e6, UTC).replace(tzinfo=None)
