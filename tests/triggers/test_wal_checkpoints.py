"""The write-ahead log goes into the file beside whoever writes, and begins anew."""

from __future__ import annotations

import sqlite3
import threading
import time
from pathlib import Path

from gtm_dagster.triggers.trigger_db import open_trigger_db
from gtm_dagster.triggers.wal_checkpoints import WalCheckpoints


def test_the_log_begins_anew_while_somebody_writes_on(tmp_path: Path) -> None:
    """A writer that never pauses: by SQLite's own way beyond 64 MB, here it stays near what was asked for."""
    path, turn = tmp_path / "triggers.db", threading.Lock()
    con = open_trigger_db(path)
    con.execute("PRAGMA synchronous = OFF")
    with WalCheckpoints(path, turn, rows=200) as checkpoints:
        for number in range(20_000):
            with turn:
                con.execute("INSERT OR REPLACE INTO runner VALUES (?, ?)", (f"n{number % 300}", "x" * 1000))
            checkpoints.wrote(con.total_changes)
            if checkpoints.done >= 20:
                break
            if number % 200 == 0:
                time.sleep(0.01)
    assert checkpoints.done >= 20
    written = con.execute("SELECT count(*) FROM runner").fetchone()[0]
    assert (tmp_path / "triggers.db-wal").stat().st_size < 16_000_000 and con.total_changes > 3000
    con.close()
    with sqlite3.connect(path) as other:
        assert other.execute("SELECT count(*) FROM runner").fetchone()[0] == written
        assert other.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
    other.close()


def test_a_file_that_cannot_be_opened_ends_nothing(tmp_path: Path) -> None:
    with WalCheckpoints(tmp_path / "missing" / "triggers.db", threading.Lock(), rows=1) as checkpoints:
        checkpoints.wrote(5)
    assert checkpoints.done == 0
