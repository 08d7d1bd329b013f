"""Brings a serving copy up to date: the rows of each table that changed since it was published."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING

import duckdb

from gtm_dagster.warehouse.affected import (
    OWNERS,
    PUBLISH,
    SESSIONS,
    drop_tables,
    find_affected,
    longest_window_us,
    within,
)
from gtm_dagster.warehouse.literals import composed
from gtm_dagster.warehouse.schema.table import ByLandedFile, ByNumber, ByPerson, ByPersonAndTime

if TYPE_CHECKING:
    from gtm_dagster.settings import Settings
    from gtm_dagster.warehouse.schema import Table


def take_over(
    con: duckdb.DuckDBPyConnection,
    settings: Settings,
    selected: Mapping[str, str],
    declared: Sequence[Table],
    others: Collection[str],
) -> set[str]:
    """Replace the rows that changed since the copy before, and drop what is not served any more.

    `selected`: the tables that are served, and which of their columns; `declared`: their declarations; `others`: tables of
    the copy that do not come from the working file. Returns the tables that are up to date now; the rest are small.
    """
    existing = {
        name
        for (name,) in con.execute(
            "SELECT schema_name || '.' || table_name FROM duckdb_tables() WHERE database_name = 'serving'"
        ).fetchall()
    }
    find_affected(con, PUBLISH, SESSIONS, OWNERS)
    current: set[str] = set()
    for table in declared:
        columns = selected[table.name]
        if table.changes is None or table.name not in existing:
            continue
        if isinstance(table.changes, ByPersonAndTime):
            lookback_us = longest_window_us(settings) if table.changes.lookback else 0
            condition = within("t", table.changes.moment, lookback_us)
            con.execute(
                composed(
                    "DELETE FROM serving.$table t USING affected r WHERE $condition",
                    table=table.name,
                    condition=condition,
                )
            )
            qualified = ", ".join(f"t.{column.strip()}" for column in columns.split(","))
            con.execute(
                composed(
                    "INSERT INTO serving.$table SELECT $qualified FROM $table t JOIN affected r ON $condition",
                    table=table.name,
                    qualified=qualified,
                    condition=condition,
                )
            )
        elif isinstance(table.changes, ByPerson):
            among = "WHERE person_no IN (SELECT person_no FROM affected)"
            con.execute(composed("DELETE FROM serving.$table $among", table=table.name, among=among))
            con.execute(
                composed(
                    "INSERT INTO serving.$table SELECT $columns FROM $table $among",
                    table=table.name,
                    columns=columns,
                    among=among,
                )
            )
        elif isinstance(table.changes, ByLandedFile):
            con.execute(
                composed(
                    """INSERT INTO serving.$table SELECT $columns FROM $table
                WHERE file_key NOT IN (SELECT file_key FROM serving.$table)""",
                    table=table.name,
                    columns=columns,
                )
            )
        elif isinstance(table.changes, ByNumber):
            con.execute(
                composed(
                    """DELETE FROM serving.$table
                WHERE $number < (SELECT coalesce(min($number), 9223372036854775807) FROM $table)""",
                    table=table.name,
                    number=table.changes.number,
                )
            )
            con.execute(
                composed(
                    """INSERT INTO serving.$table SELECT $columns FROM $table
                WHERE $number > (SELECT coalesce(max($number), 0) FROM serving.$table)""",
                    table=table.name,
                    columns=columns,
                    number=table.changes.number,
                )
            )
        current.add(table.name)
    drop_tables(con, "affected")
    for name in existing - set(selected) - set(others):
        con.execute(f"DROP TABLE serving.{name}")
    return current
