"""Making the declared tables, and dropping them."""

from __future__ import annotations

import duckdb

from gtm_dagster.warehouse.engine import in_memory, transaction
from gtm_dagster.warehouse.literals import composed
from gtm_dagster.warehouse.schema import Table, schema_of, table_of, tables

SCHEMAS = ("meta", "staging", "core", "marts", "ops")


def create(con: duckdb.DuckDBPyConnection) -> None:
    """Make every table that is not there yet, and source 0 (direct)."""
    for schema in SCHEMAS:
        con.execute(f"CREATE SCHEMA IF NOT EXISTS {schema}")
    there = _there(con)
    for table in sorted(schema_of("meta", "staging", "core", "marts"), key=lambda each: each.view is not None):
        # Where a table of an older layout stands in place of a view, it is about to be dropped or refused.
        if table.name not in there:
            con.execute(table.ddl)
    if not con.execute("SELECT 1 FROM core.sources LIMIT 1").fetchall():  # one of an older layout has it
        con.execute("INSERT INTO core.sources VALUES (0, NULL, 'direct', '(none)', NULL, 'Direct', 'no source')")


def _there(con: duckdb.DuckDBPyConnection) -> set[str]:
    rows = con.execute(
        """SELECT schema_name || '.' || table_name FROM duckdb_tables() WHERE database_name = current_database()
        UNION ALL SELECT schema_name || '.' || view_name FROM duckdb_views() WHERE database_name = current_database()"""
    ).fetchall()
    return {name for (name,) in rows}


def drop_all(con: duckdb.DuckDBPyConnection) -> None:
    """Drop everything but the rows of kept tables: the next staging reads all landing files again, and every step builds
    its table whole.

    The blocks of what is dropped are free at once, so what is built now is written over them and closing the file cuts
    the others off: nothing that an earlier version kept stays behind in them.
    """
    with transaction(con):
        there = _there(con)
        kept = [table for table in tables() if table.kept and table.name in there]
        for table in kept:
            _put_aside(con, table)
        for schema in ("meta", "staging", "core", "marts"):
            con.execute(f"DROP SCHEMA IF EXISTS {schema} CASCADE")
        create(con)
        for table in kept:
            _take_back(con, table)
    con.execute("CHECKPOINT")


def replace_table(con: duckdb.DuckDBPyConnection, name: str) -> None:
    """Make the table anew with the columns it is declared with; empty unless it is kept. Part of a transaction."""
    table = table_of(name)
    kept = table.kept and name in _there(con)
    if kept:
        _put_aside(con, table)
    con.execute(f"DROP TABLE IF EXISTS {name}")
    con.execute(table.ddl)
    if kept:
        _take_back(con, table)


def _put_aside(con: duckdb.DuckDBPyConnection, table: Table) -> None:
    copy = "CREATE OR REPLACE TEMP TABLE kept_$name AS SELECT * FROM $table"
    con.execute(composed(copy, name=table.table, table=table.name))


def _take_back(con: duckdb.DuckDBPyConnection, table: Table) -> None:
    """A column that the rows of an older version lack is NULL; one that is not declared any more goes."""
    before = {name for name, *_ in con.execute(f"DESCRIBE kept_{table.table}").fetchall()}
    names = ", ".join(column.name for column in table.columns if column.name in before)
    con.execute(
        composed(
            "INSERT INTO $table BY NAME SELECT $names FROM kept_$name", table=table.name, names=names, name=table.table
        )
    )
    con.execute(f"DROP TABLE kept_{table.table}")


def declared_differences() -> list[str]:
    """Tables whose columns in DuckDB are not those of their declaration; empty when all agree."""
    with in_memory() as con:
        create(con)
        found = []
        for table in tables():
            if table.schema not in ("meta", "staging", "core", "marts"):
                continue
            columns = [(name, kind) for name, kind, *_ in con.execute(f"DESCRIBE {table.name}").fetchall()]
            declared = [(column.name, column.type.partition(" ")[0]) for column in table.columns]
            if columns != declared:
                found.append(f"{table.name}: declared {declared}, is {columns}")
        return found
