"""`triggers.db` as a file that several connections of one process use while other processes look at it."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

from gtm_dagster.delivery.message_outbox import SCHEMA, Message, add_messages
from gtm_dagster.triggers.trigger_db import open_trigger_db

BEFORE_0006 = """
DROP TABLE outbox;
CREATE TABLE outbox (
    action_id TEXT PRIMARY KEY, rule TEXT NOT NULL, person TEXT NOT NULL, purpose TEXT NOT NULL, channel TEXT NOT NULL,
    target TEXT NOT NULL, payload TEXT NOT NULL, collapse_key TEXT, status TEXT NOT NULL, attempts INTEGER NOT NULL,
    next_us INTEGER NOT NULL, lease_until_us INTEGER NOT NULL, expires_us INTEGER NOT NULL, received_us INTEGER NOT NULL,
    decided_us INTEGER NOT NULL, ended_us INTEGER, last_error TEXT, first_attempt INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID;
DROP INDEX occurrences_decided;
CREATE INDEX occurrences_decided ON occurrences (decided_us);
DELETE FROM migrations WHERE name = '0006_fewer_pages';
"""
"""What a file of the version before had, whose other tables are the same."""
LOOK = """
import sys
from pathlib import Path
from gtm_dagster.triggers.trigger_db import reading_trigger_db
with reading_trigger_db(Path(sys.argv[1])) as con:
    print(con.execute("SELECT count(*) FROM links").fetchone()[0])
"""


def look(path: Path) -> int:
    done = subprocess.run([sys.executable, "-c", LOOK, str(path)], capture_output=True, text=True, check=True)
    return int(done.stdout)


def test_a_second_connection_that_ends_costs_the_first_none_of_its_rows(tmp_path: Path) -> None:
    """As `gtm stream` does: the deliverer opens the file beside the rules, and `gtm trigger status` looks at it meanwhile."""
    path = tmp_path / "triggers.db"
    with closing(open_trigger_db(path)) as first:
        first.execute("INSERT INTO links VALUES ('a', 'u')")
        open_trigger_db(path).close()
        assert look(path) == 1
        first.execute("INSERT INTO links VALUES ('b', 'u')")
        assert look(path) == 2, "the WAL that the first connection writes to was deleted"


def test_a_file_of_the_version_before_keeps_its_messages_and_gets_the_new_tables(tmp_path: Path) -> None:
    path = tmp_path / "triggers.db"
    columns = "*, typeof(ended_us)"
    with closing(open_trigger_db(path)) as con:
        new = schema(con)
        con.executescript(BEFORE_0006 + SCHEMA)
        add_messages(con, [
            Message(action_id=id, rule="r", person="p", purpose="service", channel="webhook", target="w", payload={"key": id},
                    expires_us=9, received_us=1, decided_us=at_us)
            for id, at_us in (("b", 1), ("a", 2), ("c", 2))
        ])  # fmt: skip
        con.execute(
            "UPDATE outbox SET status = 'dead', ended_us = 5, last_error = 'x', first_attempt = 2 WHERE action_id = 'a'"
        )
        before = con.execute(f"SELECT {columns} FROM outbox ORDER BY action_id").fetchall()
        assert schema(con) != new
    with closing(open_trigger_db(path)) as con:
        assert con.execute(f"SELECT {columns} FROM outbox ORDER BY action_id").fetchall() == before
        assert schema(con) == new
        assert [row[0] for row in con.execute("SELECT action_id FROM outbox ORDER BY rowid")] == ["b", "a", "c"]


def schema(con: sqlite3.Connection) -> dict[str, str]:
    return dict(con.execute("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL").fetchall())
