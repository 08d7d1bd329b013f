"""`staging.quarantine`."""

from __future__ import annotations

from gtm_dagster.warehouse.literals import composed
from gtm_dagster.warehouse.schema.table import STAGED, ByLandedFile, Check, Column, Table, none_of
from gtm_dagster.warehouse.staging.checks import reject_limit, reject_rate

_NO_REASON = "SELECT count(*) FROM staging.quarantine WHERE coalesce(reason_codes, '') = ''"

TABLE = Table(
    name="staging.quarantine",
    meaning="Rows the tracking plan refuses, with every reason; personal values masked.",
    columns=(
        Column("write_key", "VARCHAR", "Name of the source"),
        Column("event_id", "VARCHAR", "As in staging.events, NULL when it cannot be read"),
        Column("event_name", "VARCHAR", "As in staging.events, NULL when it cannot be read"),
        Column("reason_codes", "VARCHAR", "Every reason, comma separated"),
        Column("errors", "VARCHAR", "Every reason as JSON: path, code, message"),
        Column("raw", "VARCHAR", "The event with personal values masked"),
        Column("received_at", "TIMESTAMP", "When the collector or the import took it, UTC"),
        Column("received_us", "BIGINT", "received_at in microseconds UTC"),
        Column("plan_version", "VARCHAR", "Version of the tracking plan that refused it"),
        Column("origin", "VARCHAR", "log or import"),
        Column("file_key", "VARCHAR", "File it landed in: ingest date and batch"),
        Column("row_no", "BIGINT", "Offset in the log, or line of the import"),
        Column("bot_reason", "VARCHAR", "As in staging.events"),
    ),
    reads=("ingestion.landing_events",),
    changes=ByLandedFile(),
    news=(STAGED,),
    checks=(
        Check(
            "reject_rate_is_low",
            "Of no import, and not of the log's newest day, is more than quarantine.warn_rate quarantined. Rows accepted from another copy leave the share.",
            reject_rate,
            blocking=False,
            severity="WARN",
        ),
        Check(
            "batches_are_mostly_accepted",
            "Of no import, and not of the log's newest day, is more than quarantine.max_rate quarantined (from 100 rows on).",
            reject_limit,
        ),
        Check(
            "every_rejection_has_a_reason",
            "Every quarantined row says why.",
            none_of(_NO_REASON, "rows without a reason"),
            changed=none_of(
                composed("$no_reason AND file_key IN (SELECT file_key FROM changed_files)", no_reason=_NO_REASON),
                "rows of the files staged without a reason",
            ),
        ),
    ),
)
