"""Landed files as relations of the staging steps: their rows where they lie, the keys of the files, the ids in numbers."""

from __future__ import annotations

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from gtm_dagster.admission.record import DEFAULTS, REQUIRED_COLUMNS
from gtm_dagster.admission.rules import rules_fingerprint
from gtm_dagster.taxonomy import Plan
from gtm_dagster.warehouse.landing import ARROW_SCHEMA, ROW_COLUMNS, LandingFile
from gtm_dagster.warehouse.landing.manifests import BATCH_NAME
from gtm_dagster.warehouse.literals import composed, literal, literals
from gtm_dagster.warehouse.statements import fragment

_SQL_TYPES = {pa.string(): "VARCHAR", pa.int64(): "BIGINT", pa.binary(): "BLOB"}


def view_landed(con: duckdb.DuckDBPyConnection, files: list[LandingFile], plan: Plan) -> None:
    """`landed`: the rows of `files` where they lie, named by file_path and file_row; without those that are left out.

    An accepted event has the name that `plan` gives it: of one that landed under another plan that is maybe an alias now.

    A column that a file lacks has its default, NULL for most. `batch_name`: in a compacted file the batch the row landed in.
    """
    paths = literals(file.path for file in files)
    source = f"read_parquet([{paths}], filename = true, file_row_number = true, hive_partitioning = false, union_by_name = true)"
    wanted = {*ROW_COLUMNS, *([BATCH_NAME] if any(file.parts for file in files) else [])}
    present: set[str] = set()
    for file in files:  # the first has them all, unless it is of a version that did not know some
        if not present.issuperset(ROW_COLUMNS) or (file.parts and BATCH_NAME not in present):
            present.update(pq.read_schema(file.path).names)
        if present.issuperset(wanted):
            break
    columns = ", ".join(_column(ARROW_SCHEMA.field(name), name in present) for name in ROW_COLUMNS)
    batch_name = f"CAST({BATCH_NAME if BATCH_NAME in present else 'NULL'} AS VARCHAR) AS {BATCH_NAME}"
    if any(file.left_out for file in files):
        left_out = [(str(file.path), part) for file in files for part in file.left_out]
        con.execute("CREATE OR REPLACE TEMP TABLE left_out (filename VARCHAR, batch_name VARCHAR)")
        con.executemany("INSERT INTO left_out VALUES (?, ?)", left_out)
        source = composed("(SELECT * FROM $source ANTI JOIN left_out USING (filename, batch_name))", source=source)
    con.execute(
        composed(
            "CREATE OR REPLACE TEMP VIEW landed AS SELECT *$renamed FROM (SELECT $columns, $batch_name, filename AS file_path, file_row_number AS file_row FROM $source)",
            renamed=_renamed(plan),
            columns=columns,
            batch_name=batch_name,
            source=source,
        )
    )


def _renamed(plan: Plan) -> str:
    """What puts an event's name of today in the place of an alias; nothing where the plan has none."""
    if not plan.aliases:
        return ""
    cases = " ".join(
        composed("WHEN $alias THEN $name", alias=literal(alias), name=literal(name))
        for alias, name in plan.aliases.items()
    )
    return composed(
        """ REPLACE (CASE WHEN verdict = 'accepted' AND rules IS DISTINCT FROM $rules
          THEN CASE event_name $cases ELSE event_name END ELSE event_name END AS event_name)""",
        rules=literal(rules_fingerprint(plan)),
        cases=cases,
    )


def name_files(con: duckdb.DuckDBPyConnection, files: list[LandingFile]) -> None:
    """`batch_files`: the file keys of `files`; of a compacted one those of the batches it was compacted from."""
    con.execute("CREATE OR REPLACE TEMP TABLE batch_files (file_path VARCHAR, batch_name VARCHAR, file_key VARCHAR)")
    named = [
        (str(file.path), part, file.key if part is None else file.key_of(part))
        for file in files
        for part in (file.parts or [None])
    ]
    keys = pa.table(list(map(pa.array, zip(*named, strict=True))), ["file_path", "batch_name", "file_key"])
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
