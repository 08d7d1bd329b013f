"""Runs the build and writes down every statement of `sql/` it executes: the text, what it read, what it gave.

As a program it builds the scenarios with whatever DuckDB its interpreter has:
`python conformance_recording.py OUT KEPT`, with GTM_SITE naming the folder of the other packages; with KEPT 0 nothing is
recorded and the tables alone are left.
"""

from __future__ import annotations

import json
import os
import site
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

if os.environ.get("GTM_SITE"):  # behind this interpreter's own packages, so its DuckDB wins
    site.addsitedir(os.environ["GTM_SITE"])

import duckdb
import sqlglot
from sqlglot import exp


@dataclass(frozen=True)
class Recording:
    """One executed statement. `folder` holds `<input>.parquet` for each input, and `result.parquet`."""

    statement: str
    params: dict[str, int]
    sql: str
    inputs: list[str]
    folder: str
    rows: int


@cache
def relations(sql: str) -> dict[str, set[str] | None]:
    """What a statement reads: name of each relation, and the columns it may take of it (None: all of them)."""
    tree = sqlglot.parse_one(sql, read="duckdb")
    own = {cte.alias_or_name for cte in tree.find_all(exp.CTE)}
    names = {table.name for table in tree.find_all(exp.Table)} - own
    starred = any(
        isinstance(item, exp.Star)
        for select in tree.find_all(exp.Select)
        for item in select.expressions
        if {t.name for t in select.find_all(exp.Table)} & names
    )
    columns = None if starred else {column.name for column in tree.find_all(exp.Column)}
    return dict.fromkeys(sorted(names), columns)


class RecordingConnection:
    """A connection that, before it executes a statement holding a rendered body, writes that body's inputs and result.

    `kept`: how many times for one statement with the same parameters; a build by person buckets may execute many.
    """

    def __init__(self, con: duckdb.DuckDBPyConnection, folder: Path, kept: int = 2) -> None:
        self._con = con
        self._folder = folder
        self._kept = kept
        self._waiting: list[tuple[str, dict[str, int], str]] = []
        self._seen: Counter[tuple] = Counter()
        self.recordings: list[Recording] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._con, name)

    def rendered(self, statement: str, params: dict[str, int], sql: str) -> None:
        """Told when the build puts a statement together."""
        self._waiting.append((statement, params, sql))

    def execute(self, sql: str, *args: Any, **kwargs: Any) -> Any:
        for entry in [entry for entry in self._waiting if entry[2] in sql]:
            self._waiting.remove(entry)
            self._record(*entry)
        return self._con.execute(sql, *args, **kwargs)

    def sql(self, sql: str, *args: Any, **kwargs: Any) -> Any:
        for entry in [entry for entry in self._waiting if entry[2] in sql]:
            self._waiting.remove(entry)
            self._record(*entry)
        return self._con.sql(sql, *args, **kwargs)

    def finish(self) -> list[Recording]:
        """Every recording; raises when a statement was put together and never seen executed."""
        assert not self._waiting, f"rendered, but not seen executed: {sorted({entry[0] for entry in self._waiting})}"
        return self.recordings

    def _record(self, statement: str, params: dict[str, int], sql: str) -> None:
        kind = (statement, tuple(sorted(params.items())))
        self._seen[kind] += 1
        if self._seen[kind] > self._kept:
            return
        folder = self._folder / f"{len(self.recordings):02d}-{statement}"
        folder.mkdir(parents=True)
        read = relations(sql)
        for name, columns in read.items():
            have = [row[0] for row in self._con.execute(f"DESCRIBE {name}").fetchall()]
            taken = [column for column in have if columns is None or column in columns] or have[:1]
            self._copy(f"SELECT {', '.join(taken)} FROM {name}", folder / f"{name}.parquet")
        rows = self._copy(sql, folder / "result.parquet")
        self.recordings.append(Recording(statement, params, sql, list(read), str(folder), rows))

    def _copy(self, sql: str, path: Path) -> int:
        return int(self._con.execute(f"COPY ({sql}\n) TO '{path}' (FORMAT parquet)").fetchall()[0][0])


@contextmanager
def listening(tell: Callable[[str, dict[str, int], str], None]) -> Iterator[None]:
    """Every module of the warehouse that knows `statement` tells what it puts together."""
    from gtm_dagster.warehouse import statements
    from gtm_dagster.warehouse.schema import tables

    tables()  # loads every module that may use it

    plain = statements.statement

    def told(name: str, **params: int) -> str:
        body = plain(name, **params)
        tell(name, params, body)
        return body

    patched = [
        module
        for name, module in list(sys.modules.items())
        if name.startswith("gtm_dagster.warehouse") and getattr(module, "statement", None) is plain
    ]
    for module in patched:
        module.statement = told  # type: ignore[attr-defined]
    try:
        yield
    finally:
        for module in patched:
            module.statement = plain  # type: ignore[attr-defined]


def compared() -> dict[str, str]:
    """The tables of a warehouse, and the columns by which two engines are compared; each build numbers persons anew, and has
    a time of its own.
    """
    from gtm_dagster.warehouse.schema import tables

    own = {"anonymous_no", "person_no", "restatement_no", "refreshed_at", "previous_at"}
    return {
        table.name: ", ".join(column.name for column in table.columns if column.name not in own)
        for table in tables()
        if table.schema in ("staging", "core", "marts") and table.name != "staging.quarantine"
    }


def build_scenario(scenario: Any, folder: Path, kept: int) -> list[Recording]:
    """Land, build, land what is late, build again; the recordings of both, the tables of the end under `tables/`.

    The bundle for Spark is written from the same warehouse, under `bundle/`.
    """
    import pyarrow as pa
    from conformance_traffic import WINDOWS, first_landing, late_landing, spend_of

    from gtm_dagster.importing.spend import SPEND_SCHEMA
    from gtm_dagster.settings import load_settings
    from gtm_dagster.taxonomy import load_plan
    from gtm_dagster.warehouse.build import build_all
    from gtm_dagster.warehouse.build_context import BuildContext
    from gtm_dagster.warehouse.engine import opened
    from gtm_dagster.warehouse.engines.export import export
    from gtm_dagster.warehouse.fingerprints import check_settings
    from gtm_dagster.warehouse.landing import ARROW_SCHEMA, Landing
    from gtm_dagster.warehouse.landing.landed_spend import SpendLanding
    from gtm_dagster.warehouse.publishing import publish

    plan = load_plan()
    settings = load_settings(
        None,
        {
            "GTM_STATE_DIR": str(folder / "state"),
            "GTM_ATTRIBUTION__WINDOWS": json.dumps(WINDOWS),
            "GTM_ATTRIBUTION__MIN_HISTORY_DAYS": "0",
            **scenario.environ,
        },
    )
    ctx = BuildContext(settings, plan)
    recordings: list[Recording] = []
    empty = dict.fromkeys(ARROW_SCHEMA.names)
    for name, rows in (
        ("first", first_landing(scenario, plan.version)),
        ("late", late_landing(scenario, plan.version)),
    ):
        table = pa.Table.from_pylist([{**empty, **row, "row_no": i} for i, row in enumerate(rows)], schema=ARROW_SCHEMA)
        Landing(settings.landing_dir).write(table, name)
        spent = [
            {**dict.fromkeys(SPEND_SCHEMA.names), **row, "row_no": i} for i, row in enumerate(spend_of(scenario, name))
        ]
        SpendLanding(settings.landing_dir).write(
            pa.Table.from_pylist(spent, schema=SPEND_SCHEMA), f"spend-{name}", file=name
        )
        with opened(settings.warehouse_path, settings) as con:
            watched = RecordingConnection(con, folder / name, kept)
            with listening(watched.rendered):
                check_settings(watched, ctx, allow_rebuild=True)  # type: ignore[arg-type]
                build_all(watched, ctx)  # type: ignore[arg-type]
            recordings += watched.finish()
            if name == "late":
                for relation, columns in compared().items():
                    path = folder / "tables" / f"{relation}.parquet"
                    path.parent.mkdir(exist_ok=True)
                    con.execute(f"COPY (SELECT {columns} FROM {relation}) TO '{path}' (FORMAT parquet)")
                export(con, ctx, folder / "bundle")
                publish(con, settings)
    return recordings


def main(out: Path, kept: int) -> None:
    """Build every scenario into `out/<scenario>/` and write `out/recordings.json`."""
    from conformance_traffic import SCENARIOS

    told = {one.name: [asdict(r) for r in build_scenario(one, out / one.name, kept)] for one in SCENARIOS}
    (out / "recordings.json").write_text(json.dumps({"duckdb": duckdb.__version__, "scenarios": told}, indent=1))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
