"""The writer outlives whatever happens to it, answers everybody who waits, and says what is wrong."""

from __future__ import annotations

import shutil
import sqlite3
import threading
import time
from contextlib import contextmanager

import pytest
from eventlog_cases import MARCH_1, record

from gtm_dagster.eventlog import EventLogError, log_writer
from gtm_dagster.eventlog.log_file import reading
from gtm_dagster.eventlog.sqlite import SqliteEventLog

TOO_LARGE = record("too large", event_us=2**70)


@pytest.fixture
def log(tmp_path):
    opened = SqliteEventLog(tmp_path / "events.db")
    yield opened
    opened.close(5)


@contextmanager
def locked(log: SqliteEventLog):
    """Another program that writes to the log and does not end."""
    other = sqlite3.connect(log.path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    try:
        yield
    finally:
        other.close()


def test_a_batch_that_cannot_be_packed_fails_alone(log):
    batches = [[TOO_LARGE if n == 3 else record(f"e{n}"), record(f"f{n}")] for n in range(6)]
    with locked(log):
        futures = [log.submit(batch) for batch in batches]
    for n, future in enumerate(futures):
        if n == 3:
            with pytest.raises(EventLogError, match="cannot be written"):
                future.result(10)
        else:
            assert future.result(10).accepted == 2
    assert log.writer_fault() is None, "a batch is no fault of the writer"
    assert log.append([record("later")]).accepted == 1
    assert log.last_seq() == 11


def test_an_append_that_is_cancelled_is_not_stored_and_ends_nothing(log):
    with locked(log):
        log.submit([record("first")])
        futures = [log.submit([record(str(n))]) for n in range(10)]
        cancelled = {n for n, future in enumerate(futures) if n % 3 == 0 and future.cancel()}
    assert all(future.result(10).accepted == 1 for n, future in enumerate(futures) if n not in cancelled)
    assert log.append([record("later")]).accepted == 1
    stored = {each.event_id for each in log.read_records(0)[0]}
    assert stored == {"first", "later", *(str(n) for n in range(10) if n not in cancelled)}
    assert log.waiting() == 0


@pytest.mark.parametrize(
    ("before", "frames"),
    [
        pytest.param(1, 2, id="one sender: each append is committed at once"),
        pytest.param(2, 1, id="several senders: what comes soon after shares the commit"),
    ],
)
def test_appends_are_gathered_where_they_come_together(log, monkeypatch, before, frames):
    with locked(log):
        log.submit([record("taken")])
        while log._writer._committing_since is None:  # what comes from here on is of the next group
            pass
        earlier = [log.submit([record(f"e{n}")]) for n in range(before)]
    assert [each.result(10).accepted for each in earlier] == [1] * before
    following = []

    class Clock:
        monotonic = staticmethod(time.monotonic)

        def sleep(self, seconds: float) -> None:
            following.append(log.submit([record("meanwhile")]))

    monkeypatch.setattr(log_writer, "time", Clock())
    first = log.append([record("a")])
    following = following or [log.submit([record("meanwhile")])]
    assert following[0].result(10).accepted == 1
    with reading(log.path) as con:
        assert con.execute("SELECT count(*) FROM frames WHERE first_seq >= ?", (first.first_seq,)).fetchone() == (
            frames,
        )


def test_a_future_that_somebody_else_completes_ends_nothing(log):
    with locked(log):
        log.submit([record("first")])
        log.submit([record("a")]).set_result(None)
    assert log.append([record("b")]).accepted == 1


def broken_commit(log, monkeypatch):
    """A connection whose transaction can neither be committed nor rolled back."""

    def closing(con, path, items):
        con.close()
        raise sqlite3.OperationalError("disk I/O error")

    monkeypatch.setattr(log_writer, "stored", closing)


def ended(log, monkeypatch):
    """Something that no program expects, in the writer's thread."""

    def ending(con, path, items):
        raise SystemExit("stop")

    monkeypatch.setattr(log_writer, "stored", ending)


@pytest.mark.parametrize(
    ("breaks", "reason"), [(broken_commit, "disk I/O error"), (ended, r"its writer ended \(SystemExit")]
)
def test_a_writer_that_breaks_answers_says_why_and_goes_on(log, monkeypatch, breaks, reason):
    assert log.append([record("a")]).accepted == 1
    assert log.writer_fault() is None
    with monkeypatch.context() as patch:
        breaks(log, patch)
        futures = [log.submit([record(str(n))]) for n in range(5)]
        for future in futures:
            with pytest.raises(EventLogError, match=reason):
                future.result(10)
        assert reason.replace("\\", "") in (log.writer_fault() or "")
    assert log.append([record("0")]).accepted == 1
    assert (log.writer_fault(), log.waiting(), log.last_seq()) == (None, 0, 2)


def test_a_connection_that_broke_between_two_appends_is_opened_again(log):
    log.append([record("a")])
    assert log._writer._con is not None
    log._writer._con.close()
    assert log.append([record("b")]).accepted == 1


def test_a_writer_that_cannot_be_started_says_so_at_once(log, monkeypatch):
    def refused(thread):
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refused)
        with pytest.raises(EventLogError, match=r"events\.db: its writer cannot be started \(can't start new thread\)"):
            log.submit([record("a")])
        assert "cannot be started" in (log.writer_fault() or "")
    assert log.append([record("a")]).accepted == 1
    assert (log.writer_fault(), log.waiting()) == (None, 0)


def test_what_waits_is_counted_in_records_until_it_is_durable(log):
    with locked(log):
        futures = [log.submit([record(f"{n}-{m}") for m in range(500)]) for n in range(20)]
        futures.append(log.submit_beat("shop", MARCH_1, MARCH_1))
        assert log.waiting() == 10_001
    assert all(future.result(10) for future in futures)
    log.append([])
    assert log.waiting() <= 1, "that of the probe, until its thread goes on"


def test_a_log_that_stays_locked_is_a_fault_until_a_commit_succeeds(log, monkeypatch):
    monkeypatch.setattr(log_writer, "LOCK_SECONDS", 0.05)
    with locked(log), pytest.raises(EventLogError, match="database is locked"):
        log.append([record("a")])
    assert "database is locked" in (log.writer_fault() or "")
    log.append([record("a")])
    assert log.writer_fault() is None


def test_a_commit_that_does_not_end_is_a_fault(log, monkeypatch):
    monkeypatch.setattr(log_writer, "STALLED_SECONDS", 0)
    with locked(log):
        future = log.submit([record("a")])
        while log.writer_fault() is None:
            pass
        assert "a commit has been going on for" in log.writer_fault()
    future.result(10)


def test_closing_a_log_that_does_not_commit_ends_and_answers(tmp_path):
    log = SqliteEventLog(tmp_path / "events.db")
    with locked(log):
        futures = [log.submit([record(f"{n}-{m}") for m in range(5_000)]) for n in range(3)]
        log.close(0.2)
        for future in futures:
            with pytest.raises(EventLogError, match=r"closed, and not committed within 0\.2 s|database is locked"):
                future.result(10)
    with pytest.raises(EventLogError, match="closed"):
        log.submit([record("late")])
    log.close()


@pytest.mark.parametrize("appended", [True, False], ids=["while it is written", "before the first append"])
@pytest.mark.parametrize("how", ["gone", "replaced"])
def test_a_file_that_is_taken_away_gets_nothing_more(tmp_path, log, how, appended):
    if appended:
        log.append([record("a")])
    away = tmp_path / "away.db"
    log.path.rename(away)
    if how == "replaced":
        SqliteEventLog(tmp_path / "other.db").close()
        shutil.move(tmp_path / "other.db", log.path)
    what = "the event log is gone from its place" if how == "gone" else "another file took the event log's place"
    assert what in (log.writer_fault() or "")
    with pytest.raises(EventLogError, match=f"{what}, nothing is stored; put it back, or restart"):
        log.append([record("b")])
    assert log.path.exists() == (how == "replaced")
    away.rename(log.path)
    assert log.append([record("b")]).accepted == 1
    assert log.writer_fault() is None
    assert log.last_seq() == 1 + appended


READS = {
    "read_arrow": lambda log: log.read_arrow(0),
    "first_seq": lambda log: log.first_seq(),
    "last_seq": lambda log: log.last_seq(),
    "heartbeats": lambda log: log.heartbeats(),
    "edge_counts": lambda log: log.edge_counts(),
    "offset_before": lambda log: log.offset_before(0),
    "committed": lambda log: log.committed("warehouse"),
    "commit": lambda log: log.commit("warehouse", 1),
    "trim": lambda log: log.trim("2026-03-01"),
    "log_id": lambda log: log.log_id,
}


@pytest.mark.parametrize("call", READS.values(), ids=list(READS))
def test_reading_a_log_that_is_missing_makes_none(log, call):
    log.path.unlink()
    with pytest.raises(EventLogError, match=r"events\.db: cannot open the event log"):
        call(log)
    assert not log.path.exists()
