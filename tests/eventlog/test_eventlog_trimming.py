"""Housekeeping keeps no append waiting, goes on where it stopped, and costs what it removes."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest
from eventlog_cases import DAY_US, MARCH_1, quarantined, record
from hypothesis import given
from hypothesis import strategies as st
from lateness import Lateness
from profiles import examples

from gtm_dagster.eventlog import slices, trimming
from gtm_dagster.eventlog.frames import pack
from gtm_dagster.eventlog.log_file import day_of, reading
from gtm_dagster.eventlog.log_tables import prepare
from gtm_dagster.eventlog.sqlite import SqliteEventLog

DAY = MARCH_1 // DAY_US
FRAME = pack([record("a")])
NUMBERS = "WITH RECURSIVE n(n) AS (VALUES (0) UNION ALL SELECT n + 1 FROM n WHERE n < ? - 1) "
RANDOM = "SELECT randomblob(18) AS k, randomblob(8), {day} FROM n ORDER BY k"
TRIM = """
import sys, time
from pathlib import Path
from gtm_dagster.eventlog.sqlite import SqliteEventLog
log = SqliteEventLog(Path(sys.argv[1]), dedup_days=2)
print("trims", flush=True)
log.trim(sys.argv[2])
print("ended", flush=True)
"""


def remember(log: SqliteEventLog, ids: int, first_day: int, days: int = 1, table: str = "known_ids") -> None:
    """Let the log know `ids` ids of random keys, received on `days` days in turn."""
    day = f"{first_day} + n % {days}" if table == "known_ids" else f"date({first_day} * 86400 + n % {days} * 86400, 'unixepoch')"  # fmt: skip
    with closing(sqlite3.connect(log.path)) as con:
        con.execute(f"INSERT INTO {table} (id_key, content, day) {NUMBERS} {RANDOM.format(day=day)}", (ids,))
        con.commit()
        con.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def known(log: SqliteEventLog, table: str = "known_ids") -> int:
    with reading(log.path) as con:
        return int(con.execute(f"SELECT count(*) FROM {table}").fetchone()[0])


def trimming_elsewhere(log: SqliteEventLog, before: str) -> subprocess.Popen[str]:
    """Another process that trims now."""
    child = subprocess.Popen(
        [sys.executable, "-c", TRIM, str(log.path), before], stdout=subprocess.PIPE, text=True, bufsize=1
    )
    assert child.stdout is not None
    assert child.stdout.readline() == "trims\n"
    return child


def appends_while(log: SqliteEventLog, child: subprocess.Popen[str]) -> tuple[list[float], int]:
    """Seconds of each append while `child` runs, and the bytes of the longest write-ahead log."""
    took, longest, n = [], 0, 0
    wal = Path(f"{log.path}-wal")
    while child.poll() is None:
        start = time.monotonic()
        log.append([record(f"during {n}", received_us=MARCH_1 + 9 * DAY_US)])
        took.append(time.monotonic() - start)
        longest, n = max(longest, wal.stat().st_size), n + 1
        time.sleep(0.01)
    return took, longest


def trimmed_under_load(log: SqliteEventLog) -> tuple[list[float], int, float]:
    """As `appends_while`, and the longest lateness of this machine meanwhile."""
    child = trimming_elsewhere(log, "2026-03-05")
    with Lateness() as late:
        took, longest = appends_while(log, child)
    assert child.stdout is not None
    with child.stdout:
        assert child.stdout.read() == "ended\n"
    return took, longest, late.longest


@pytest.fixture
def log(tmp_path):
    with SqliteEventLog(tmp_path / "events.db", dedup_days=2) as opened:
        yield opened


@pytest.mark.parametrize("table", ["known_ids", "dedup"])
def test_appends_go_on_while_another_process_trims(log, table):
    remember(log, 100_000, DAY, table=table)
    took, wal, _ = trimmed_under_load(log)
    assert known(log, table) == (len(took) if table == "known_ids" else 0)
    assert len(took) > 15
    assert wal < 16_000_000


@pytest.mark.slow
@pytest.mark.parametrize(
    ("ids", "days", "removed"),
    [
        pytest.param(1_000_000, 1, 1_000_000, id="a million ids of one day"),
        pytest.param(990_000, 33, 60_000, id="33 days mixed as in life, two of them end"),
    ],
)
def test_no_append_waits_for_housekeeping(log, ids, days, removed):
    remember(log, ids, DAY, days)
    took, wal, late = trimmed_under_load(log)
    assert known(log) == ids - removed + len(took)
    assert max(took) < 0.25 + late
    assert wal < 32_000_000


def seconds_of_appends(log: SqliteEventLog) -> float:
    """CPU seconds of the process for 30 groups of 500 events of senders that number them by UUIDv7."""
    groups = []
    for group in range(30):
        ids = [f"019ca66c-{group:04x}-7{n:03x}-8000-{os.urandom(6).hex()}" for n in range(500)]
        groups.append([record(each, received_us=MARCH_1 + 9 * DAY_US) for each in ids])
    start = time.process_time()
    for each in groups:
        log.append(each)
    return time.process_time() - start


@pytest.mark.slow
def test_ten_million_ids_cost_an_append_nothing_and_a_trim_what_it_removes(log, tmp_path):
    with SqliteEventLog(tmp_path / "empty.db") as empty:
        seconds_of_appends(empty)
        without = min(seconds_of_appends(empty) for _ in range(3))
    remember(log, 10_000_000, DAY, 33)
    assert min(seconds_of_appends(log) for _ in range(3)) < 2 * without
    before = known(log)
    took, wal, late = trimmed_under_load(log)
    assert known(log) == before - 606_062 + len(took)
    assert max(took) < 0.25 + late
    assert wal < 32_000_000


def test_a_call_is_bounded_and_the_next_one_goes_on(log):
    """A year's backlog of ids and frames, of which a call removes what its time allows."""
    for n in range(30):
        log.append([record(f"{n}-{m}", received_us=MARCH_1 + n * DAY_US // 10) for m in range(50)])
    log.commit("warehouse", 1_500)
    remember(log, 60_000, DAY - 365, 365)
    total = calls = 0
    while known(log) > 500 or calls == 0:
        total += log.trim("2026-03-05", seconds=0.1)
        calls += 1
        assert calls < 500
    total += log.trim("2026-03-05")
    assert calls > 1
    assert total == 1_500
    assert log.append([record("29-0", received_us=MARCH_1 + 4 * DAY_US)]).statuses == ["duplicate"]


def test_a_writer_that_does_not_let_it_in_ends_the_call_not_the_refresh(log, monkeypatch):
    remember(log, 10, DAY)
    original = slices.connect
    monkeypatch.setattr(slices, "connect", lambda path: original(path, busy_seconds=0.05))
    with closing(sqlite3.connect(log.path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        assert log.trim("2026-03-05") == 0
    assert known(log) == 10
    log.trim("2026-03-05")
    assert known(log) == 0


def test_kill_9_while_it_trims_loses_nothing_and_nothing_comes_twice(log):
    """Ids that are still in their days stay known, what is not read stays, and the next call ends the rest."""
    kept = [record(f"kept {n}", received_us=MARCH_1 + 3 * DAY_US) for n in range(500)]
    for n in range(200):
        log.append([quarantined(f"old {n}-{m}", sealed=os.urandom(3_000)) for m in range(20)])
    log.append(kept)
    log.commit("warehouse", 4_000)
    remember(log, 100_000, DAY)
    for wait in (0.01, 0.05, 0.2, 0.4):
        child = trimming_elsewhere(log, "2026-03-05")
        time.sleep(wait)
        os.kill(child.pid, signal.SIGKILL)
        child.communicate()
        with reading(log.path) as con:
            assert con.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        first = log.first_seq()
        assert log.count(0, 4_500) == 4_501 - first, "what is left has no gap"
        assert log.read_arrow(first - 1, 1)[0]["row_no"][0].as_py() == first <= 4_001
        assert set(log.append(kept).statuses) == {"duplicate"}
    log.trim("2026-03-05")
    assert (log.first_seq(), log.last_seq(), known(log)) == (4_001, 4_500, 500)
    assert [each.event_id for each in log.read_records(4_000)[0]] == [each.event_id for each in kept]


DAYS = st.lists(st.tuples(st.integers(0, 5), st.integers(1, 4)), max_size=12)


@given(DAYS, st.integers(0, 6), st.integers(0, 50))
@examples(100)
def test_frames_end_by_day_in_the_order_of_their_offsets(frames, before, upto):
    """With days in order exactly the older ones end; where a clock went back, never more than up to an older frame."""
    con = sqlite3.connect(":memory:", isolation_level=None)
    prepare(con, Path("events.db"))
    rows, seq = [], 0
    for day, size in frames:
        rows.append((seq + 1, seq + size, day_of(MARCH_1 + day * DAY_US)))
        seq += size
    con.executemany("INSERT INTO frames VALUES (?, ?, ?, '')", rows)
    before_day = day_of(MARCH_1 + before * DAY_US)
    due = [last for _, last, day in rows if last <= upto and day < before_day]
    end = trimming.end_before(con, before_day, min(upto, seq))
    assert end == 0 or end in due
    if [day for _, _, day in rows] == sorted(day for _, _, day in rows):
        assert end == max(due, default=0)
    con.close()


def test_a_clock_that_was_wrong_for_a_while_does_not_keep_the_log_for_ever(log):
    for n in range(40):
        ahead = 3_000 if 4 <= n < 12 else 0
        log.append([record(str(n), received_us=MARCH_1 + (n // 4 + ahead) * DAY_US)])
    log.commit("warehouse", 40)
    log.trim("2026-03-09")
    assert log.first_seq() == 33


def steps(call) -> int:
    """How many times SQLite works for a while in what `call` does with a connection."""
    n = 0

    def count() -> int:
        nonlocal n
        n += 1
        return 0

    original = sqlite3.connect

    def connect(*args, **more):
        con = original(*args, **more)
        con.set_progress_handler(count, 20)
        return con

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sqlite3, "connect", connect)
        call()
    return n


@pytest.mark.parametrize(
    "call",
    [
        pytest.param(lambda log: log.trim("2026-03-01"), id="a trim with nothing to remove"),
        pytest.param(lambda log: log.read_arrow(log.last_seq() - 1), id="the newest record"),
        pytest.param(lambda log: log.count(log.last_seq() - 1, log.last_seq()), id="counting the newest record"),
        pytest.param(lambda log: log.first_seq(), id="the oldest offset"),
        pytest.param(lambda log: log.resume(None), id="resuming"),
    ],
)
def test_what_is_kept_costs_nothing(log, call):
    log.commit("warehouse", 1)

    def filled(frames: int) -> int:
        rows = [(seq, seq, "2026-03-01", FRAME) for seq in range(log.last_seq() + 1, log.last_seq() + frames + 1)]
        with closing(sqlite3.connect(log.path)) as con:
            con.executemany("INSERT INTO frames VALUES (?, ?, ?, ?)", rows)
            con.execute("UPDATE log SET seq = ?", (rows[-1][0],))
            con.commit()
        remember(log, frames, DAY, 1)
        return steps(lambda: call(log))

    few = filled(20)
    assert filled(5_000) <= few + 10
