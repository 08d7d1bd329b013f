"""Retention as a triangle: cohorts by period, all channels together, periods that are not over marked."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from datetime import date

import duckdb

from gtm_dagster.warehouse.build_context import BuildContext
from gtm_dagster.warehouse.figures.figure import Cell, Figure, Grid, GridRow
from gtm_dagster.warehouse.literals import composed

_MOST_PERIODS = 13


def retained_persons(con: duckdb.DuckDBPyConnection, ctx: BuildContext) -> Sequence[Figure]:
    """Shares of the persons of each cohort."""
    return _grid(con, ctx, "marts.retention", "persons")


def retained_accounts(con: duckdb.DuckDBPyConnection, ctx: BuildContext) -> Sequence[Figure]:
    """Shares of the accounts of each cohort; no figure where there are none."""
    return _grid(con, ctx, "marts.retention_accounts", "accounts")


def _grid(con: duckdb.DuckDBPyConnection, ctx: BuildContext, table: str, who: str) -> Sequence[Figure]:
    """Columns are the periods up to the longest of a cohort, 12 after the first at most; what is later has no cell."""
    rows = con.execute(
        composed(
            """SELECT cohort, period, sum(retained)::BIGINT, bool_or(is_open) FROM $table
        WHERE period < $most GROUP BY ALL ORDER BY cohort, period""",
            table=table,
            most=_MOST_PERIODS,
        )
    ).fetchall()
    if not rows:
        return ()
    cells: dict[date, dict[int, Cell]] = defaultdict(dict)
    sizes: dict[date, int] = {}
    for cohort, period, retained, is_open in rows:
        sizes.setdefault(cohort, retained)  # period 0 comes first, and all are there in it
        cells[cohort][period] = Cell(retained / sizes[cohort], is_open)
    columns = range(max(max(row) for row in cells.values()) + 1)
    unit = ctx.settings.retention.unit
    title = (
        f"{who.capitalize()} active again: % of those first active in a {unit}, by {unit}s after it · {unit}s of "
        f"{min(cells)} to {max(cells)} ({ctx.settings.report_timezone}) · … or ~: not over, still grows"
    )
    grid_rows = tuple(
        GridRow(str(cohort), tuple(row.get(n, Cell(None)) for n in range(max(row) + 1)), f"({sizes[cohort]:,})")
        for cohort, row in sorted(cells.items())
    )
    return (Grid(title, tuple(str(number) for number in columns), grid_rows),)
