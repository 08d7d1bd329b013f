"""`staging.books`."""

from __future__ import annotations

from gtm_dagster.warehouse.schema.table import Column, Table

TABLE = Table(
    name="staging.books",
    meaning="The books by ingest day: every landed row is clean, a duplicate, quarantined or suppressed.",
    columns=(
        Column("ingest_date", "DATE", "UTC date of received_at"),
        Column("log_rows", "BIGINT", "Rows the writer of the landing files says it took"),
        Column("raw", "BIGINT", "Rows read from the landing files"),
        Column("clean", "BIGINT", "Rows in staging.events"),
        Column("duplicates", "BIGINT", "Rows dropped because their id was known"),
        Column("quarantined", "BIGINT", "Rows in staging.quarantine"),
        Column("suppressed", "BIGINT", "Rows of which nothing is kept (no consent, drills)"),
        Column("withdrawn", "BIGINT", "Rows of withdrawn imports; they are in none of the other columns"),
        Column("bots", "BIGINT", "Rows of the clean ones that came with the user agent of a program"),
    ),
    reads=("ingestion.landing_events",),
)
