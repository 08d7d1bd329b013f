"""The tables of the ops store outlive versions: one way to the newest ones, taken once, whole, by whoever is first."""

from __future__ import annotations

import re
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from profiles import slow_but
from sqlalchemy import create_engine, inspect, text

from gtm_dagster.opsstore import GuardProgress, OpsStore, OpsStoreError, ops_tables
from gtm_dagster.opsstore.ops_migrations import MIGRATIONS

NAMES = [migration.name for migration in MIGRATIONS]
NEWEST = str(int(NAMES[-1][:4]))
KEY = "checkout:payment_completed:production"


def run(url: str, *statements: str) -> None:
    engine = create_engine(url)
    with engine.begin() as con:
        for statement in statements:
            con.execute(text(statement))
    engine.dispose()


def empty(url: str) -> str:
    """A database without tables."""
    if url.startswith("sqlite"):
        Path(url.removeprefix("sqlite:///")).parent.mkdir(parents=True, exist_ok=True)
    return url


def of_before(url: str) -> str:
    """A store as version 0.1.0 left it: the first tables, and no record of migrations."""
    engine = create_engine(empty(url))
    with engine.begin() as con:
        MIGRATIONS[0].apply(con)
    engine.dispose()
    run(
        url,
        "INSERT INTO stream_offsets VALUES ('stream', 9)",
        f"INSERT INTO stream_offsets VALUES ('guard:{KEY}', 7)",
        f"INSERT INTO stream_offsets VALUES ('epoch:{KEY}', 2)",
        f"INSERT INTO stream_offsets VALUES ('rule:{KEY}', 4003531794)",
        f"INSERT INTO guard_counts VALUES ('{KEY}', 1, 5, 'control', -1, 3)",
    )
    return url


def schema(url: str) -> dict[str, Any]:
    """Tables, columns, keys and indexes as the database reports them."""
    engine = create_engine(url)
    found: dict[str, Any] = {}
    with engine.connect() as con:
        look = inspect(con)
        for table in look.get_table_names():
            columns = [
                (column["name"], str(column["type"]), column["nullable"], column["default"])
                for column in look.get_columns(table)
            ]
            unique = sorted(tuple(each["column_names"]) for each in look.get_unique_constraints(table))
            indexes = sorted((each["name"], tuple(each["column_names"])) for each in look.get_indexes(table))
            found[table] = (columns, look.get_pk_constraint(table)["constrained_columns"], unique, indexes)
        if engine.dialect.name == "sqlite":
            statements = con.execute(text("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL"))
            found["statements"] = {name: re.sub(r"\s+", "", sql) for name, sql in statements}
    engine.dispose()
    return found


def version(url: str) -> tuple[str | None, list[str]]:
    """meta.version, and the migrations recorded."""
    engine = create_engine(url)
    with engine.connect() as con:
        have = inspect(con).get_table_names()
        stored = con.execute(text("SELECT value FROM meta WHERE key = 'version'")).scalar() if "meta" in have else None
        recorded = list(con.execute(text("SELECT name FROM migrations ORDER BY name")).scalars()) if "migrations" in have else []  # fmt: skip
    engine.dispose()
    return stored, recorded


def test_a_new_store_has_seen_every_migration_and_the_old_program_refuses_it(url):
    OpsStore(url).close()
    stored, recorded = version(url)
    assert recorded == NAMES
    assert stored == NEWEST != "1", "the program of before opens a store of version 1 alone"


def test_a_store_of_before_is_recognised_and_keeps_what_is_in_it(url):
    with OpsStore(of_before(url)) as store:
        positions = store.positions()
        assert {name: (position.log_id, position.seq) for name, position in positions.items()} == {
            "stream": ("", 9),
            f"guard:{KEY}": ("", 7),
        }
        assert store.guard_progress() == {KEY: GuardProgress(2, 4003531794)}
        assert store.counts(KEY, 1) == [(5, "control", -1, 3)]
    assert version(url) == (NEWEST, NAMES)


def test_migrated_and_new_tables_are_the_same(url, tmp_path, request):
    OpsStore(url).close()
    fresh = schema(url)
    again = of_before(f"sqlite:///{tmp_path / 'before.db'}" if url.startswith("sqlite") else another_database(url))
    OpsStore(again).close()
    assert schema(again) == fresh


def test_the_tables_queries_use_are_the_tables_migrations_make(url, tmp_path):
    OpsStore(url).close()
    declared = f"sqlite:///{tmp_path / 'declared.db'}" if url.startswith("sqlite") else another_database(url)
    engine = create_engine(declared)
    ops_tables.metadata.create_all(engine)
    engine.dispose()
    by_migrations, by_declaration = schema(url), schema(declared)
    for found in (by_migrations, by_declaration):
        found.pop("statements", None)  # written by hand and by SQLAlchemy
    for table, (columns, *rest) in by_migrations.items():
        other, *other_rest = by_declaration[table]
        assert (sorted(columns), rest) == (sorted(other), other_rest), f"{table}: a column that is added stands last"
    assert by_migrations.keys() == by_declaration.keys()


def another_database(url: str) -> str:
    server, _, name = url.rpartition("/")
    engine = create_engine(f"{server}/postgres", isolation_level="AUTOCOMMIT")
    with engine.connect() as con:
        con.execute(text(f"CREATE DATABASE {name}_another"))
    engine.dispose()
    return f"{url}_another"


@pytest.mark.parametrize(
    ("statements", "message", "reason"),
    [
        (["INSERT INTO migrations VALUES ('0099_later', 'now')"], "newer gtm-dagster \\(migration 0099_later\\)", "newer"),
        (["DROP TABLE migrations", "UPDATE meta SET value = '7'"], "of version 7 without a record", "no program's"),
        (["DROP TABLE migrations", "DELETE FROM meta"], "of version None without a record", "somebody else's meta"),
    ],
)  # fmt: skip
def test_tables_of_no_version_known_here_are_refused_and_left_alone(url, statements, message, reason):
    OpsStore(url).close()
    run(url, *statements)
    before = version(url)
    with pytest.raises(OpsStoreError, match=message) as caught:
        OpsStore(url)
    assert "\n" not in str(caught.value), "one line"
    assert version(url) == before, reason


def test_opening_waits_for_no_writer_when_nothing_is_pending(tmp_path):
    url = f"sqlite:///{tmp_path / 'ops.db'}"
    OpsStore(url).close()
    writer = sqlite3.connect(tmp_path / "ops.db", isolation_level=None)
    writer.execute("BEGIN IMMEDIATE")
    OpsStore(url).close()  # would wait for 30 s, then raise
    writer.execute("ROLLBACK")
    writer.close()


OPEN = """
import sys
from gtm_dagster.opsstore import OpsStore
sys.stdin.readline()
with OpsStore(sys.argv[1]) as store:
    store.ensure(f"f:c:{sys.argv[2]}", "f", "c", sys.argv[2])
"""


BEGINNINGS = [pytest.param(empty, id="a new store"), pytest.param(of_before, id="a store of before")]


@pytest.mark.parametrize("begin", slow_but(0, *BEGINNINGS))
def test_processes_that_start_at_once_migrate_once(url, begin):
    begin(url)
    started = [
        subprocess.Popen([sys.executable, "-c", OPEN, url, str(n)], stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for n in range(6)
    ]  # fmt: skip
    for process in started:
        process.stdin.write("\n")
        process.stdin.flush()
    for process in started:
        _, errors = process.communicate(timeout=60)
        assert process.returncode == 0, errors
    with OpsStore(url) as store:
        assert len(store.guards()) == 6
    assert version(url) == (NEWEST, NAMES)


KILLED = """
import os, signal, sys
from sqlalchemy import Engine, event
from gtm_dagster.opsstore import OpsStore

left = 0
done, at_commit = os.pipe()
os.set_blocking(done, False)

@event.listens_for(Engine, "before_cursor_execute")
def count(con, cursor, statement, *_):
    global left
    if con.get_execution_options().get("writes") and not statement.startswith("BEGIN"):
        left -= 1
        if left < 0:
            os.kill(os.getpid(), signal.SIGKILL)

@event.listens_for(Engine, "commit")
def commit(con):
    if con.get_execution_options().get("writes"):
        os.write(at_commit, b"!")
        os.kill(os.getpid(), signal.SIGKILL)

for statements in range(1_000):
    child = os.fork()
    if not child:
        left = statements
        OpsStore(sys.argv[1])
        os._exit(0)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL, status
    try:
        os.read(done, 1)
        break
    except BlockingIOError:
        pass
print(statements)
"""


@pytest.mark.parametrize("begin", BEGINNINGS)
def test_a_process_killed_at_any_statement_of_the_migration_leaves_the_store_as_it_was(url, begin):
    """Killed before its first, second, ... statement and before the commit; then the next one opens the store."""
    before = version(begin(url)), schema(url)
    done = subprocess.run([sys.executable, "-c", KILLED, url], capture_output=True, text=True, timeout=300)
    assert int(done.stdout or 0) > 10, done.stderr
    assert (version(url), schema(url)) == before
    OpsStore(url).close()
    assert version(url) == (NEWEST, NAMES)
