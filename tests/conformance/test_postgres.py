"""The statements on a real PostgreSQL, IGNORE NULLS said in other words."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import psycopg
import pyarrow as pa
import pytest
from conformance_differences import differences, read, told
from conformance_engines import case_id
from conformance_traffic import SCENARIOS
from postgres_server import start_postgres

from gtm_dagster.warehouse import statements
from gtm_dagster.warehouse.engines.dialects import translate

pytestmark = pytest.mark.real
TYPES = {
    pa.string(): "text", pa.int64(): "bigint", pa.int32(): "integer", pa.float64(): "double precision",
    pa.date32(): "date", pa.bool_(): "boolean", pa.timestamp("us"): "timestamp",
}  # fmt: skip


@pytest.fixture(scope="module")
def postgres() -> Iterator[psycopg.Connection]:
    # A statement kept prepared would not see that a table of its name has other columns now.
    with start_postgres() as address, psycopg.connect(address, autocommit=True, prepare_threshold=None) as con:
        yield con


def load(con: psycopg.Connection, name: str, table: pa.Table) -> None:
    columns = ", ".join(f'"{field.name}" {TYPES[field.type]}' for field in table.schema)
    con.execute(f"DROP TABLE IF EXISTS {name}")
    con.execute(f"CREATE TABLE {name} ({columns})")
    with con.cursor().copy(f"COPY {name} FROM STDIN") as copy:
        for row in zip(*(column.to_pylist() for column in table.columns), strict=True):
            copy.write_row(row)
    con.execute(f"ANALYZE {name}")


def result(con: psycopg.Connection, sql: str, like: pa.Schema) -> pa.Table:
    """Rows as a table with the types of `like`: a sum of whole numbers, and a literal such as 1e0, are NUMERIC there."""
    cursor = con.execute(sql)
    names = [column.name for column in cursor.description or ()]
    rows = [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
    exact = {field.name: int for field in like if pa.types.is_integer(field.type)}
    exact |= {field.name: float for field in like if pa.types.is_floating(field.type)}
    typed = [{n: exact[n](v) if v is not None and n in exact else v for n, v in row.items()} for row in rows]
    return pa.Table.from_pylist(typed, schema=pa.schema([like.field(name) for name in names]))


@pytest.mark.parametrize("scenario", [scenario.name for scenario in SCENARIOS])
def test_postgres_gives_the_same_results(locked: dict, postgres: psycopg.Connection, scenario: str) -> None:
    lines, ran = [], set()
    for number, one in enumerate(locked["scenarios"][scenario]):
        home = Path(one["folder"])
        expected = read(home / "result.parquet")
        for name in one["inputs"]:
            load(postgres, name, read(home / f"{name}.parquet"))
        found = result(postgres, translate(one["sql"], "postgres"), expected.schema)
        lines += [
            f"{case_id(scenario, number, one)}: {line}" for line in differences(one["statement"], expected, found)
        ]
        ran.add(one["statement"])
    by_definition = ("sessions", "event_touches")
    assert ran >= {name for name in statements.names() if not name.startswith(by_definition)}
    assert not lines, told(lines)
