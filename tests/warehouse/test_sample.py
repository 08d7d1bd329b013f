"""Sample rows go into a history that no erasure reaches: nobody is to be found in them, and they are read as a table."""

import random

import duckdb
import pytest
from warehouse_cases import land, random_events, refresh, settings_for

from gtm_dagster.warehouse.engine import opened
from gtm_dagster.warehouse.sample import CHARACTERS, query_line, sample_of
from gtm_dagster.warehouse.schema import table_of, tables
from gtm_dagster.warehouse.schema.table import Column, Table

IDS = ("person_id", "user_id", "anonymous_id", "event_id", "conversion_id", "session_key", "account_id")


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    settings = settings_for(tmp_path_factory.mktemp("sample"))
    land(settings, random_events(random.Random(5), 200), "import-1")
    refresh(settings)
    with opened(settings.warehouse_path, settings) as con:
        yield con


@pytest.mark.parametrize("name", [table.name for table in tables() if table.schema in {"staging", "core", "marts"}])
def test_no_identifier_of_a_table_is_in_its_sample(built, name):
    table = table_of(name)
    sample = sample_of(built, table)
    text = sample.markdown
    assert sample.rows or not built.execute(f"SELECT 1 FROM {name} LIMIT 1").fetchall()
    for column in IDS:
        if column in {each.name for each in table.columns}:
            whole = [row[0] for row in built.execute(f"SELECT DISTINCT {column} FROM {name}").fetchall() if row[0]]
            assert not [value for value in whole if len(value) > 4 and value in text], column
    assert all(len(row) == len(sample.columns) for row in sample.rows)


@pytest.mark.parametrize(
    ("kind", "value", "expected"),
    [
        pytest.param("VARCHAR", "Paid Search", "Paid Search", id="a name"),
        pytest.param("VARCHAR", "x" * 200, "x" * (CHARACTERS - 1) + "…", id="cut"),
        pytest.param("VARCHAR", "<img src=x>|[a](b)`", r"\<img src=x\>\|\[a\](b)\`", id="markup is text"),
        pytest.param("VARCHAR", "two\nlines", "two lines", id="one line"),
        pytest.param("TIMESTAMP", "2026-11-29 12:03:44.5", "2026-11-29 12:03", id="a moment to the minute"),
        pytest.param("DATE", "2026-11-29", "2026-11-29", id="a day"),
        pytest.param("DOUBLE", "1234.5678", "1,234.57", id="a number"),
        pytest.param("DOUBLE", "0.0312345", "0.03123", id="a share"),
        pytest.param("BOOLEAN", "true", "yes", id="yes"),
        pytest.param("VARCHAR", None, "", id="nothing"),
    ],
)
def test_a_value_as_it_is_shown(kind, value, expected):
    table = Table("main.t", "A table.", (Column("shown", kind, "What is shown"),))
    with duckdb.connect() as con:
        con.execute("SET TimeZone = 'UTC'")
        con.execute(f"CREATE TABLE t AS SELECT CAST(? AS {kind}) AS shown", [value])
        assert sample_of(con, table).rows == ((expected,),)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("marts.daily", 'gtm query "FROM marts.daily LIMIT 10"'),
        ("staging.events", 'gtm query --work "FROM staging.events LIMIT 10"'),
    ],
)
def test_the_command_that_shows_a_table(name, expected):
    assert query_line(table_of(name)) == expected
