"""Runs recorded statements again over the recorded Parquet, with whatever DuckDB its interpreter has.

`python conformance_again.py RECORDINGS.json`; each result is `again.parquet` beside the recorded one.
"""

import json
import sys
from pathlib import Path

import duckdb


def main(recordings: Path) -> None:
    for told in json.loads(recordings.read_text())["scenarios"].values():
        for one in told:
            home = Path(one["folder"])
            with duckdb.connect() as con:
                for name in one["inputs"]:
                    con.execute(f"CREATE VIEW {name} AS FROM '{home / name}.parquet'")
                con.execute(f"COPY ({one['sql']}\n) TO '{home}/again.parquet' (FORMAT parquet)")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
