"""Landed files as relations of the staging steps: their rows where they lie, the keys of the files, the ids in numbers."""

from __future__ import annotations

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from gtm_dagster.admission.record import DEFAULTS, REQUIRED_COLUMNS
from gtm_dagster.warehouse.landing import ARROW_SCHEMA, LandingFile
from gtm_dagster.warehouse.literals import literals
from gtm_dagster.warehouse.statements import fragment

_SQL_TYPES = {pa.string(): "VARCHAR", pa.int64(): "BIGINT", pa.binary(): "BLOB"}


def view_landed(con: duckdb.DuckDBPyConnection, files: list[LandingFile]) -> None:
    """`landed`: the rows of `files` where they lie, named by file_path and file_row.

    A column that a file lacks has its default, NULL for most.
    """
    paths = literals(file.path for file in files)
    source = f"read_parquet([{paths}], filename = true, file_row_number = true, hive_partitioning = false, union_by_name = true)"
    present: set[str] = set()
    for file in files:  # the first has them all, unless it is of a version that did not know some
        present.update(pq.read_schema(file.path).names)
        if present.issuperset(ARROW_SCHEMA.names):
            break
    columns = ", ".join(_column(column, column.name in present) for column in ARROW_SCHEMA)
    con.execute(
        f"CREATE OR REPLACE TEMP VIEW landed AS SELECT {columns}, filename AS file_path, file_row_number AS file_row FROM {source}"
    )


def name_files(con: duckdb.DuckDBPyConnection, files: list[LandingFile]) -> None:
    """`batch_files`: the file keys of `files`."""
    con.execute("CREATE OR REPLACE TEMP TABLE batch_files (file_path VARCHAR, file_key VARCHAR)")
    keys = pa.table({"file_path": [str(file.path) for file in files], "file_key": [file.key for file in files]})
    con.register("keys", keys)
    con.execute("INSERT INTO batch_files SELECT * FROM keys")
    con.unregister("keys")


def _column(column: pa.Field, present: bool) -> str:
    """SQL for one landing column; one that is required is never filled in."""
    value = f"CAST({column.name if present else 'NULL'} AS {_SQL_TYPES[column.type]})"
    default = None if column.name in REQUIRED_COLUMNS else DEFAULTS.get(column.name)
    return f"{value if default is None else f'coalesce({value}, {default!r})'} AS {column.name}"


def number_ids(con: duckdb.DuckDBPyConnection) -> None:
    """Give every new user id and anonymous id of the batch its number; `batch_ids(id_no, id)` holds those of the batch."""
    con.execute(f"CREATE OR REPLACE TEMP TABLE batch_id_texts AS {fragment('batch_id_texts')}")
    con.execute(
        """INSERT INTO meta.ids
        SELECT (SELECT coalesce(max(id_no), 0) FROM meta.ids) + row_number() OVER (), id FROM batch_id_texts ANTI JOIN meta.ids USING (id)"""
    )
    con.execute(
        "CREATE OR REPLACE TEMP TABLE batch_ids AS SELECT id_no, id FROM meta.ids SEMI JOIN batch_id_texts USING (id)"
    )
    con.execute("DROP TABLE batch_id_texts")
