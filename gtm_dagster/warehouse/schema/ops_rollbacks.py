"""`ops.rollbacks`."""

from __future__ import annotations

from gtm_dagster.warehouse.schema.table import Column, Table

TABLE = Table(
    name="ops.rollbacks",
    meaning="Flags turned off by a guard or by hand, with their evidence; copied from the ops store when published.",
    columns=(
        Column("flag", "VARCHAR", "The flag that was turned off"),
        Column("episode", "VARCHAR", "Name of the rollback; a guard makes at most one in an epoch by itself"),
        Column("decided_at", "TIMESTAMP", "Watermark of the decision, UTC: everything up to it was counted"),
        Column(
            "effective_at",
            "TIMESTAMP",
            "When sampled clients were proven to be served the old flow, UTC; NULL when never",
        ),
        Column("estimate", "DOUBLE", "Relative loss of conversion, share of 1; NULL when it could not be estimated"),
        Column("evidence", "DOUBLE", "Natural logarithm of the evidence; it had to reach `evidence_needed`"),
        Column("verified", "BOOLEAN", "Whether sampled clients were proven to be served the old flow"),
        Column(
            "outcome",
            "VARCHAR",
            "rolled_back, would_roll_back (dry run), rolling_back, rollback_failed, given_up or superseded",
        ),
        Column("guard", "VARCHAR", "Flag, conversion and environment"),
        Column("environment", "VARCHAR", "The provider's environment"),
        Column("provider", "VARCHAR", "Name under [[providers]]"),
        Column("epoch", "BIGINT", "Armings of the guard, from 1; 0: never armed"),
        Column("attempt", "BIGINT", "Runs it took"),
        Column("intent_at", "TIMESTAMP", "When the rollback was written down, before the provider was told, UTC"),
        Column("acked_at", "TIMESTAMP", "When the provider had taken it, UTC"),
        Column("last_exposure_at", "TIMESTAMP", "First exposure of the last treated unit counted until then, UTC"),
        Column("low", "DOUBLE", "Lower end of the loss, 95 %"),
        Column("high", "DOUBLE", "Upper end of the loss, 95 %"),
        Column("evidence_needed", "DOUBLE", "Natural logarithm of the evidence the budget asks for"),
        Column("dry_run", "BOOLEAN", "True: nothing was written to the provider"),
        Column("actor", "VARCHAR", "conversion_guard, or the person who asked"),
        Column("reason", "VARCHAR", "The verdict in words, or the person's reason"),
        Column("run_id", "VARCHAR", "The Dagster run that turned it off"),
        Column("bundle_sha256", "VARCHAR", "Digest of the evidence bundle in the ops store"),
    ),
    reads=("ops store",),
)
