"""Which ids of new rows the landed batches hold already, and whether their contents agree."""

from __future__ import annotations

from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from gtm_dagster.warehouse.engine import in_memory
from gtm_dagster.warehouse.landing.landing_columns import CONTENT
from gtm_dagster.warehouse.literals import composed, literals

SCHEMA = pa.schema([("row_no", pa.int64()), ("batch", pa.string()), ("same", pa.bool_()), ("earlier", pa.bool_())])
_FILES_AT_ONCE = 200


def known_ids(events: pa.Table, files: list[tuple[Path, str]]) -> pa.Table:
    """As `Landing.known`; `files`: path and batch name of the landed files.

    Ids are compared first, in the files of the same write keys alone; the content is read for the ids found.
    """
    if not files:
        return SCHEMA.empty_table()
    accepted = events.append_column("place", pa.array(np.arange(events.num_rows, dtype=np.int64)))
    flags = pc.equal(accepted.column("verdict"), "accepted")
    if not pc.all(flags).as_py():
        accepted = accepted.filter(flags)
    keys = set(accepted.column("write_key").unique().to_pylist())
    relevant = [(path, name) for path, name in files if keys and _may_hold(path, keys)]
    if not relevant:
        return SCHEMA.empty_table()
    with in_memory() as con:
        con.register("fresh_rows", accepted.select(["write_key", "event_id", "received_us", "place", *CONTENT]))
        con.execute("CREATE TABLE fresh AS SELECT * FROM fresh_rows")
        con.execute("CREATE TABLE known (place BIGINT, file_path VARCHAR, file_row BIGINT)")
        for start in range(0, len(relevant), _FILES_AT_ONCE):
            con.execute(
                composed(
                    """INSERT INTO known SELECT f.place, l.filename, l.file_row_number
                FROM $source l
                JOIN fresh f ON f.write_key = l.write_key AND f.event_id = l.event_id
                WHERE l.verdict = 'accepted' AND l.write_key IN ($keys)""",
                    source=_source(relevant[start : start + _FILES_AT_ONCE]),
                    keys=literals(sorted(keys)),
                )
            )
        found = {path for (path,) in con.execute("SELECT DISTINCT file_path FROM known").fetchall()}
        hits = [(path, name) for path, name in relevant if str(path) in found]
        return _compared(con, hits) if hits else SCHEMA.empty_table()


def _compared(con: duckdb.DuckDBPyConnection, files: list[tuple[Path, str]]) -> pa.Table:
    names = pa.table({"file_path": [str(path) for path, _ in files], "batch": [name for _, name in files]})
    con.register("names", names)
    present = {column for path, _ in files for column in pq.read_schema(path).names}
    columns = [column for column in CONTENT if column in present]
    landed = ", ".join(f"l.{column}" for column in columns)
    fresh = ", ".join(f"f.{column}" for column in columns)
    others = "".join(f" AND f.{column} IS NULL" for column in CONTENT if column not in present)
    result: pa.Table = con.sql(
        composed(
            """SELECT k.place AS row_no, n.batch, hash($landed) = hash($fresh)$others AS same, l.received_us <= f.received_us AS earlier
        FROM $source l
        JOIN known k ON k.file_path = l.filename AND k.file_row = l.file_row_number
        JOIN fresh f ON f.place = k.place
        JOIN names n ON n.file_path = l.filename""",
            landed=landed,
            fresh=fresh,
            others=others,
            source=_source(files),
        )
    ).to_arrow_table()
    return result.cast(SCHEMA)


def _may_hold(path: Path, keys: set[str]) -> bool:
    """Whether the statistics of the file leave room for one of the write keys."""
    with pq.ParquetFile(path) as opened:
        metadata, schema = opened.metadata, opened.schema_arrow
        column = schema.get_field_index("write_key")
        for group in range(metadata.num_row_groups):
            statistics = metadata.row_group(group).column(column).statistics
            if statistics is None or not statistics.has_min_max:
                return True
            if any(str(statistics.min) <= key <= str(statistics.max) for key in keys):
                return True
    return False


def _source(files: list[tuple[Path, str]]) -> str:
    return f"read_parquet([{literals(path for path, _ in files)}], filename = true, file_row_number = true, hive_partitioning = false, union_by_name = true)"
