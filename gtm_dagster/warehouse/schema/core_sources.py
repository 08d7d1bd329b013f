"""`core.sources`."""

from __future__ import annotations

from gtm_dagster.warehouse.schema.shared_columns import SOURCE_COLUMNS, SOURCE_KEY
from gtm_dagster.warehouse.schema.table import Column, Table

TABLE = Table(
    name="core.sources",
    meaning="Every source an event can name, with its channel; row 0 is direct.",
    columns=(
        SOURCE_KEY,
        Column("touch_rank", "INTEGER", "1: named by the event, 2: its referrer; NULL: direct"),
        *SOURCE_COLUMNS,
        Column(
            "rule",
            "VARCHAR",
            "What decided it, such as utm medium cpc, click id gclid, referrer search google or no source (docs/channels.md)",
        ),
    ),
    reads=("staging.events",),
)
