"""`marts.attribution_status`."""

from __future__ import annotations

from gtm_dagster.warehouse.marts.attribution_status import build_attribution_status
from gtm_dagster.warehouse.schema.shared_columns import MODEL, WINDOW_HOURS
from gtm_dagster.warehouse.schema.table import Column, Table

TABLE = Table(
    name="marts.attribution_status",
    meaning="Which model and window is computed, and why another is not (multi-touch models wait for consistent history).",
    columns=(
        MODEL,
        WINDOW_HOURS,
        Column("credit_model", "VARCHAR", "Credit model behind the name in `model`; the same text where the window has no name of its own"),
        Column("computed", "BOOLEAN", "False: absent, see reason"),
        Column("reason", "VARCHAR", "Why it is computed, or what is missing"),
    ),
    reads=("staging.events", "core.sessions"),  # it follows their ranges
    step=build_attribution_status,
)  # fmt: skip
