"""The files of a new run history are copies of empty ones that Dagster made: same tables, same revision, nobody's rows."""

import sqlite3

import dagster as dg
import pytest
from alembic.script import ScriptDirectory
from dagster._core.instance.ref import InstanceRef

from gtm_dagster.orchestration.instance import dagster_home, instance_of
from gtm_dagster.orchestration.run_records import copy_where_missing
from gtm_dagster.settings import load_settings

FILES = ("history/runs.db", "history/runs/index.db", "schedules/schedules.db")


def _content(path):
    """Statements that make the file, and its rows, moments left out; the file is closed."""
    assert path.stat().st_size and not path.with_name(f"{path.name}-wal").exists()
    con = sqlite3.connect(f"file:{path}?mode=ro&immutable=1", uri=True)
    try:
        tables = con.execute("SELECT type, name, sql FROM sqlite_schema ORDER BY 1, 2").fetchall()
        rows = {
            name: [row[0] if name == "alembic_version" else row[1] for row in con.execute(f"SELECT * FROM {name}")]
            for kind, name, _ in tables
            if kind == "table" and not name.startswith("sqlite_")
        }
        return tables, rows, con.execute("PRAGMA journal_mode").fetchall(), con.execute("PRAGMA page_size").fetchall()
    finally:
        con.close()


def test_they_hold_what_dagsters_own_storage_makes(tmp_path, monkeypatch):
    ours, plain = tmp_path / "ours", tmp_path / "plain"
    plain.mkdir()
    settings = load_settings(None, {"GTM_STATE_DIR": str(ours)})
    with instance_of(settings) as instance:
        assert instance.get_runs() == []
    monkeypatch.setenv("DAGSTER_HOME", str(plain))
    with dg.DagsterInstance.from_ref(InstanceRef.from_dir(str(plain))) as instance:
        assert instance.get_runs() == []
    for file in FILES:
        assert _content(dagster_home(settings) / file) == _content(plain / file), file


def test_what_another_process_made_meanwhile_stays(tmp_path):
    path = tmp_path / "history/runs.db"

    def another_is_first() -> bytes:
        path.write_bytes(b"its rows")
        return b"an empty file"

    copy_where_missing(path, another_is_first)
    assert path.read_bytes() == b"its rows"
    assert [each.name for each in path.parent.iterdir()] == ["runs.db"]


def test_the_migrations_are_loaded_for_the_first_history_of_a_process_alone(tmp_path, monkeypatch):
    with instance_of(load_settings(None, {"GTM_STATE_DIR": str(tmp_path / "first")})):
        pass
    monkeypatch.setattr(ScriptDirectory, "from_config", lambda *_: pytest.fail("loads all migrations"))
    settings = load_settings(None, {"GTM_STATE_DIR": str(tmp_path / "second")})
    with instance_of(settings) as instance:
        assert instance.get_runs() == []
    assert all((dagster_home(settings) / file).exists() for file in FILES)
