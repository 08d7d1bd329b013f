"""events.db of an older version is brought up once, in one step; one of a newer version is refused."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import sys
import time

import pytest
from eventlog_cases import OLD_STATEMENTS, old_log, record

from gtm_dagster.eventlog import EventLogError
from gtm_dagster.eventlog.log_tables import MIGRATIONS, prepare
from gtm_dagster.eventlog.sqlite import SqliteEventLog
from gtm_dagster.storage.migrations import NewerFormatError

NAMES = [migration.name for migration in MIGRATIONS]
RECORDS = [record(str(n)) for n in range(7)]

KILLED = """
import os, signal, sqlite3, sys
from pathlib import Path
from gtm_dagster.eventlog import log_file, log_tables
path, last = Path(sys.argv[1]), int(sys.argv[2])
con = log_file.connect(path, new=True)
n = 0
def count(statement):
    global n
    n += 1
    if n == last:
        os.kill(os.getpid(), signal.SIGKILL)
con.set_trace_callback(count)
log_tables.prepare(con, path)
print(n)
"""

OPEN = """
import sys
from pathlib import Path
from gtm_dagster.eventlog.sqlite import SqliteEventLog
print(sys.stdin.readline() and SqliteEventLog(Path(sys.argv[1])).log_id)
"""


def applied(path) -> list[str]:
    con = sqlite3.connect(path)
    rows = con.execute("SELECT name FROM migrations ORDER BY name").fetchall()
    con.close()
    return [name for (name,) in rows]


@pytest.fixture
def old(tmp_path):
    old_log(tmp_path / "events.db", RECORDS)
    return tmp_path / "events.db"


def test_an_old_file_opens_keeps_everything_and_gets_an_id(old):
    with SqliteEventLog(old) as log:
        assert [each.event_id for each in log.read_records(0)[0]] == [each.event_id for each in RECORDS]
        assert (log.first_seq(), log.last_seq(), len(log.log_id)) == (1, 7, 16)
        assert log.append([record("new")]).first_seq == 8
    assert applied(old) == NAMES
    with SqliteEventLog(old) as log:
        assert [each.event_id for each in log.read_records(5)[0]] == ["5", "6", "new"], "both formats in one read"


def test_a_program_of_before_is_refused_before_it_writes(old):
    SqliteEventLog(old)
    con = sqlite3.connect(old, isolation_level=None)
    before = con.execute("SELECT count(*), max(last_seq) FROM frames").fetchall()
    with pytest.raises(sqlite3.Error, match=r"^written by a newer gtm-dagster; install that version$"):
        for statement in OLD_STATEMENTS:
            con.execute(statement)
    with pytest.raises(sqlite3.Error, match="cannot modify tail because it is a view"):
        con.execute("UPDATE tail SET seq = 9")  # a collector of before that had the file open
    assert con.execute("SELECT count(*), max(last_seq) FROM frames").fetchall() == before
    con.close()


def test_a_file_of_the_future_is_refused_in_one_line_and_untouched(old):
    SqliteEventLog(old)
    con = sqlite3.connect(old)
    con.execute("INSERT INTO migrations VALUES ('0099_later', '2030-01-01')")
    con.commit()
    con.close()
    content = old.read_bytes()
    with pytest.raises(NewerFormatError, match=r"events\.db: written by a newer gtm-dagster \(migration 0099_later\)"):
        SqliteEventLog(old)
    assert old.read_bytes() == content


def test_opening_takes_no_write_lock_when_nothing_is_pending(tmp_path):
    path = tmp_path / "events.db"
    SqliteEventLog(path)
    writer = sqlite3.connect(path, isolation_level=None)
    writer.execute("BEGIN IMMEDIATE")
    start = time.monotonic()
    assert SqliteEventLog(path).last_seq() == 0
    assert time.monotonic() - start < 20, "it would have waited 30 s for the lock"
    writer.close()


def statements_of(path) -> int:
    done = subprocess.run([sys.executable, "-c", KILLED, str(path), "0"], capture_output=True, text=True, check=True)
    return int(done.stdout)


@pytest.mark.parametrize("which", ["old", "new"])
def test_kill_9_while_it_migrates_leaves_the_old_file_or_the_new_one(tmp_path, which):
    def fresh(name: str):
        if which == "old":
            old_log(tmp_path / name, RECORDS)
        return tmp_path / name

    steps = statements_of(fresh("count.db"))
    assert steps > 10
    for last in {2, 4, steps // 2, steps - 1, steps}:
        path = fresh(f"{last}.db")
        done = subprocess.run([sys.executable, "-c", KILLED, str(path), str(last)], check=False)
        assert done.returncode == -signal.SIGKILL
        con = sqlite3.connect(path)
        tables = {name for (name,) in con.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        con.close()
        assert ("log" in tables) == ("migrations" in tables)
        assert "log" not in tables or applied(path) == NAMES
        with SqliteEventLog(path) as log:
            assert log.last_seq() == (len(RECORDS) if which == "old" else 0)
        assert applied(path) == NAMES


@pytest.mark.parametrize("which", ["old", "new"])
def test_processes_that_open_a_file_at_once_migrate_it_once(tmp_path, which):
    path = tmp_path / "events.db"
    if which == "old":
        old_log(path, RECORDS)
    children = [
        subprocess.Popen(
            [sys.executable, "-c", OPEN, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        for _ in range(4)
    ]  # fmt: skip
    for child in children:
        child.stdin.write("go\n")
        child.stdin.flush()
    answers = [child.communicate(timeout=60) for child in children]
    assert [error for _, error in answers] == [""] * 4
    assert {out.strip() for out, _ in answers} == {SqliteEventLog(path).log_id}


def test_a_migration_that_fails_leaves_nothing(tmp_path, monkeypatch):
    path = tmp_path / "events.db"
    old_log(path, RECORDS)
    monkeypatch.setattr("gtm_dagster.eventlog.log_tables.new_log_id", lambda: None)
    with pytest.raises(EventLogError, match=r"events\.db: cannot prepare the event log"):
        SqliteEventLog(path)
    monkeypatch.undo()
    con = sqlite3.connect(path)
    assert con.execute("SELECT seq FROM tail").fetchone() == (7,)
    assert not con.execute("SELECT 1 FROM sqlite_master WHERE name IN ('log', 'migrations')").fetchall()
    con.isolation_level = None
    assert prepare(con, path) == NAMES
    con.close()
