"""What was received and is not committed: readers see it while its process lives, and 5 s longer when it was killed."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import Future
from pathlib import Path

import pytest
from eventlog_cases import record

from gtm_dagster.eventlog import EventLogError
from gtm_dagster.eventlog.receipts import KILLED_US, Receipts, Settled, receipts_folder
from gtm_dagster.eventlog.sqlite import SqliteEventLog

NOW = 1_000_000_000
KILLED = """
import os, sys
from pathlib import Path
from gtm_dagster.eventlog.receipts import Receipts
Receipts(Path(sys.argv[1]), clock=lambda: int(sys.argv[2])).receiving()
os.kill(os.getpid(), 9)
"""


def test_the_earliest_receipt_of_any_process_counts_until_all_its_parts_arrived(tmp_path: Path) -> None:
    path, at = tmp_path / "events.db", [NOW]
    settled = Settled(path, lambda: NOW + 100)
    assert settled.us() == NOW + 100, "nobody ever took anything"
    one, other = Receipts(path, lambda: at[0]), Receipts(path, lambda: at[0] + 50)
    first, elsewhere = one.receiving(), other.receiving()
    at[0] += 10
    second = one.receiving()
    assert settled.us() == NOW
    first.parts = 2
    first.arrived()
    assert settled.us() == NOW
    first.arrived()
    assert settled.us() == NOW + 10
    second.arrived()
    assert settled.us() == NOW + 50
    elsewhere.arrived()
    assert settled.us() == NOW + 100
    one.receiving()
    one.close()
    assert settled.us() == NOW + 100, "who ended takes its file along"
    other.close()
    assert list(receipts_folder(path).iterdir()) == []


def test_what_a_killed_process_had_received_is_waited_for_as_long_as_its_log_may_take(tmp_path: Path) -> None:
    path = tmp_path / "events.db"
    subprocess.run([sys.executable, "-c", KILLED, str(path), str(NOW)], check=False)
    assert Settled(path, lambda: NOW + KILLED_US).us() == NOW
    assert Settled(path, lambda: NOW + KILLED_US + 1).us() == NOW + KILLED_US + 1
    living = Receipts(path, lambda: NOW)
    living.receiving()
    assert Settled(path, lambda: NOW + 100 * KILLED_US).us() == NOW, "a process that lives is waited for"
    living.close()


def test_a_log_announces_what_it_is_given_until_it_is_durable_or_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with SqliteEventLog(tmp_path / "events.db") as log:
        settled = Settled(log.path, lambda: 2**62)
        waiting: Future[object] = Future()
        monkeypatch.setattr(log._writer, "submit", lambda records: waiting)
        log.submit([record("a")])
        assert settled.us() < 2**62
        waiting.set_exception(EventLogError("no room"))
        assert settled.us() == 2**62
        monkeypatch.undo()
        log.append([record("b")])
        assert settled.us() == 2**62
    assert list(receipts_folder(log.path).iterdir()) == []
