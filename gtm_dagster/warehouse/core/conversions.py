"""`core.conversions`: the events that the settings call a conversion."""

from __future__ import annotations

import duckdb

from gtm_dagster.warehouse.affected import delete_affected, drop_tables, nothing_new, take_affected, within
from gtm_dagster.warehouse.build_context import BuildContext
from gtm_dagster.warehouse.causes import remember_credit
from gtm_dagster.warehouse.engine import transaction
from gtm_dagster.warehouse.results import StepResult, count, unchanged
from gtm_dagster.warehouse.statements import fragment


def build_conversions(con: duckdb.DuckDBPyConnection, ctx: BuildContext) -> StepResult:
    """One row for each event that the settings call a conversion; a conversion without a value property has NULL, not 0."""
    if nothing_new(con, "conversions"):
        return unchanged(con, "core.conversions")
    con.execute(
        "CREATE OR REPLACE TEMP TABLE conversion_types (event_name VARCHAR, value_path VARCHAR, currency_path VARCHAR)"
    )
    for kind in ctx.settings.conversions:
        con.execute(
            "INSERT INTO conversion_types VALUES (?, ?, ?)",
            [
                kind.event,
                _pointer(kind.value),
                _pointer(kind.currency),
            ],
        )
    with transaction(con):
        whole = take_affected(con, "conversions")
        among = "" if whole else f"JOIN affected r ON {within('e', 'event_us')}"
        if not whole:
            remember_credit(con, ctx.settings)
        delete_affected(con, "core.conversions", "conversion_us", whole)
        written = con.execute(f"INSERT INTO core.conversions {fragment('conversions_table', among=among)}").fetchall()[
            0
        ][0]
        result = StepResult(count(con, "core.conversions"), written, count(con, "affected"), whole)
    drop_tables(con, "affected", "conversion_types")
    return result


def _pointer(name: str | None) -> str | None:
    """The JSON pointer of a property; unlike a JSON path it takes any name, quotes included."""
    return "/" + name.replace("~", "~0").replace("/", "~1") if name else None
