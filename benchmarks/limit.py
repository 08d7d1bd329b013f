"""The work nobody can leave out: read the landed columns, find double ids by hash, sort by person and time, write.

`python -m benchmarks.limit STATE_DIR` measures it with the engine of the pipeline and no rule of the pipeline.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import duckdb

from benchmarks.measuring import Meter
from gtm_dagster.settings import load_settings
from gtm_dagster.taxonomy import load_plan
from gtm_dagster.warehouse.landing import ARROW_SCHEMA
from gtm_dagster.warehouse.staging.contract import judge

_JUDGED_ONLY = {"verdict", "reason_codes", "errors", "raw", "sealed", "origin", "row_no"}


def main(state_dir: str) -> None:
    """Measure scan, dedup hash, integer sort and write; then the rule pass and the plain copy it is compared with."""
    meter = Meter()
    files = f"{load_settings(None, {'GTM_STATE_DIR': state_dir}).landing_dir}/ingest_date=*/*.parquet"
    source = f"read_parquet('{files}', hive_partitioning = false)"
    columns = [name for name in ARROW_SCHEMA.names if name not in _JUDGED_ONLY]
    listed = ", ".join(columns)
    with tempfile.TemporaryDirectory(dir=state_dir) as folder, duckdb.connect() as con:
        con.execute("SET preserve_insertion_order = false")
        rows = con.execute(f"SELECT count(*) FROM {source}").fetchall()[0][0]

        def run(title: str, sql: str) -> None:
            meter.work(title, lambda: con.execute(sql).fetchall(), rows)

        run("limit: scan", f"SELECT {', '.join(f'max({name})' for name in columns)} FROM {source}")
        run("limit: dedup hash", f"SELECT count(*) FROM (SELECT hash(write_key, event_id) AS h FROM {source} GROUP BY 1 HAVING count(*) > 1)")  # fmt: skip
        con.execute(
            f"CREATE TABLE keys AS SELECT hash(coalesce(user_id, anonymous_id)) AS person, event_us FROM {source}"
        )
        run("limit: sort by integer person and time", "SELECT max(n), sum(person % 7) FROM (SELECT person, row_number() OVER (PARTITION BY person ORDER BY event_us) AS n FROM keys)")  # fmt: skip
        con.execute(f"ATTACH '{Path(folder) / 'limit.duckdb'}' AS file (STORAGE_VERSION 'v1.4.0')")
        run("limit: write the columns of staging.events", f"CREATE TABLE file.copied AS SELECT {listed} FROM {source}")
        con.execute("DROP TABLE keys")
        run("plain copy of the landed rows", f"CREATE TABLE plain AS SELECT {listed} FROM {source}")
        con.execute(
            f"""CREATE VIEW landed AS SELECT * EXCLUDE (filename, file_row_number, rules), CAST(NULL AS VARCHAR) AS rules, filename AS file_path, file_row_number AS file_row
            FROM read_parquet('{files}', filename = true, file_row_number = true, hive_partitioning = false)"""
        )
        plan = load_plan()
        meter.work("rule pass: every row judged", lambda: judge(con, plan, "landed", True), rows)
    meter.finish()


if __name__ == "__main__":
    main(sys.argv[1])
