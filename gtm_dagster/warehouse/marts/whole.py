"""A mart that one statement makes, whole when something is new: small, and made from tables that are incremental already."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import duckdb

from gtm_dagster.warehouse.affected import SESSIONS, drop_tables, drop_views, nothing_new, take_affected
from gtm_dagster.warehouse.build_context import BuildContext
from gtm_dagster.warehouse.engine import transaction
from gtm_dagster.warehouse.literals import composed
from gtm_dagster.warehouse.results import TableResult, count
from gtm_dagster.warehouse.schema import table_of
from gtm_dagster.warehouse.statements import statement

Input = str | Callable[[BuildContext], str]
"""A query on the working file, or what makes one."""
WholeTable = Callable[[duckdb.DuckDBPyConnection, BuildContext], TableResult]


def whole_table(
    table: str,
    name: str,
    inputs: Mapping[str, Input],
    renamed: Mapping[str, str] | None = None,
    news: tuple[str, ...] = (SESSIONS,),
    after: Callable[[duckdb.DuckDBPyConnection], None] | None = None,
) -> WholeTable:
    """The step that fills `table` from the statement `name`; columns go by their names, those it does not give are NULL.

    `inputs`: what the statement reads, by the names it uses, as queries on the working file. `renamed`: columns whose
    name in the statement cannot be the table's (no alias of a portable statement equals an input column). `news`: the stages
    of the affected ranges that change it. `after`: what else is written once the rows are there, in the same transaction.
    """

    def build(con: duckdb.DuckDBPyConnection, ctx: BuildContext) -> TableResult:
        step = table.partition(".")[2]
        if all(nothing_new(con, step, stage) for stage in news):
            return TableResult(count(con, table), changed=False)
        for view, query in inputs.items():
            con.execute(f"CREATE OR REPLACE TEMP VIEW {view} AS {query if isinstance(query, str) else query(ctx)}")
        names = ", ".join(f"{before} AS {after}" for before, after in (renamed or {}).items())
        columns = f"* RENAME ({names})" if names else "*"
        with transaction(con):
            take_affected(con, step)
            con.execute(composed("DELETE FROM $table", table=table))
            rows = con.execute(
                composed(
                    "INSERT INTO $table BY NAME SELECT $columns FROM ($statement)",
                    table=table,
                    columns=columns,
                    statement=statement(name),
                )
            ).fetchall()[0][0]
            if after is not None:
                after(con)
            _refuse_overflow(con, table)
        drop_views(con, *reversed(list(inputs)))
        drop_tables(con, "affected")
        return TableResult(rows)

    return build


def _refuse_overflow(con: duckdb.DuckDBPyConnection, table: str) -> None:
    """A sum that overflows is not known, and NULL: infinity would pass for a figure, and nothing adds up with it."""
    doubles = [column.name for column in table_of(table).columns if column.type == "DOUBLE"]
    if doubles:
        con.execute(
            composed(
                "UPDATE $table SET $finite WHERE $overflown",
                table=table,
                finite=", ".join(f"{name} = CASE WHEN isfinite({name}) THEN {name} END" for name in doubles),
                overflown=" OR ".join(f"NOT isfinite({name})" for name in doubles),
            )
        )
