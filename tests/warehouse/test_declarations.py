"""The declared tables: what derives from a declaration agrees with it, and adding a table is adding a module."""

import json
import re
from pathlib import Path

import pytest
from warehouse_cases import START, event, land, refresh, rows_of, settings_for

from gtm_dagster.warehouse import statements
from gtm_dagster.warehouse.schema import built, readers_of, tables
from gtm_dagster.warehouse.schema.ddl import declared_differences
from gtm_dagster.warehouse.schema.documents import page

ROOT = Path(__file__).parents[2]


def test_duckdb_has_the_declared_columns():
    assert declared_differences() == []


def test_the_page_of_tables_is_the_one_the_declarations_make():
    assert (ROOT / "docs" / "tables.md").read_text() == page(), "run `make docs`"


def test_every_column_and_every_table_says_what_it_means():
    silent = [f"{table.name}.{column.name}" for table in tables() for column in table.columns if not column.meaning]
    assert silent == [] and all(table.meaning for table in tables())


def test_steps_run_after_those_they_read():
    done: set[str] = set()
    names = {table.name for table in built()}
    for table in built():
        assert set(table.reads) & names <= done, table.name
        done.add(table.name)


def test_no_two_checks_share_a_name():
    names = [check.name for table in tables() for check in table.checks]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize(
    ("changed", "reached"),
    [
        pytest.param(
            "core.sessions", {"marts.funnel", "core.touchpoints", "marts.attribution_credits"}, id="what reads it"
        ),
        pytest.param("marts.retention", set(), id="nobody reads it"),
    ],
)
def test_a_changed_table_reaches_its_readers(changed, reached):
    found = readers_of({changed}) - {changed}
    assert reached <= found
    assert "core.identities" not in found


def test_statements_stand_in_the_folder_of_their_layer_and_assets_hold_none():
    assert {"core", "marts"} <= {layer for layer, _ in statements._files().values()}
    for file in (ROOT / "assets").glob("*.py"):
        assert not re.search(r"\b(SELECT|INSERT|DELETE)\b", file.read_text()), file


def test_a_table_of_an_older_declaration_is_made_anew(tmp_path):
    """Its columns changed between two versions: the table alone is dropped and built, the rest stays."""
    from gtm_dagster.warehouse.engine import opened
    from gtm_dagster.warehouse.state import get_state, set_state

    settings = settings_for(tmp_path)
    land(settings, [event("a", START, anonymous_id="x")], "one")
    refresh(settings)
    expected = rows_of(settings, "SELECT * FROM marts.funnel")
    with opened(settings.warehouse_path, settings) as con:
        con.execute("ALTER TABLE marts.funnel DROP COLUMN stage_no")
        stored = json.loads(get_state(con, "fingerprints"))
        stored["marts.funnel"]["columns"] = "of an older version"
        set_state(con, "fingerprints", json.dumps(stored))
        followed = con.execute("SELECT * FROM meta.steps WHERE step = 'sessions'").fetchall()
    refresh(settings)
    assert rows_of(settings, "SELECT * FROM marts.funnel") == expected
    assert rows_of(settings, "SELECT * FROM meta.steps WHERE step = 'sessions'") == followed
