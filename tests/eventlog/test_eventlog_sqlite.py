"""The embedded log: once, in order, counted, and readable by others while it writes."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
from eventlog_cases import DAY_US, MARCH_1, quarantined, record

from gtm_dagster.eventlog import AppendResult, EventLogError
from gtm_dagster.eventlog.log_file import reading
from gtm_dagster.eventlog.sqlite import SqliteEventLog


@pytest.fixture
def log(tmp_path):
    opened = SqliteEventLog(tmp_path / "events.db")
    yield opened
    opened.close()


def ids(log: SqliteEventLog) -> list[str | None]:
    return [each.event_id for each in log.read_records(0, 1_000_000)[0]]


def test_an_append_tells_offsets_and_counts_and_the_days_books_agree(log):
    assert log.append([record("a"), record("b"), record("a"), quarantined("c")]) == AppendResult(
        first_seq=1,
        last_seq=3,
        accepted=2,
        duplicates=1,
        statuses=["accepted", "accepted", "duplicate", "quarantined"],
        offsets=[1, 2, 1, 3],
    )
    nothing = log.append([record("b"), record("b", campaign="x")])
    assert (nothing.first_seq, nothing.last_seq, nothing.statuses) == (4, 3, ["duplicate", "conflict"])
    assert nothing.offsets == [2, 2]
    log.append([record("d", received_us=MARCH_1 + DAY_US)])
    assert log.edge_counts() == {
        "2026-03-01": {"accepted": 2, "conflict": 1, "duplicate": 2, "quarantined": 1},
        "2026-03-02": {"accepted": 1},
    }
    assert log.last_seq() == 4


def test_offsets_have_no_gaps_whatever_threads_append(log):
    with ThreadPoolExecutor(8) as pool:
        batches = [[record(f"{n}-{m}"), record("same")] for n in range(60) for m in range(3)]
        results = list(pool.map(log.append, batches))
    assert sum(result.accepted for result in results) == log.last_seq() == 181
    table, last = log.read_arrow(0, 1_000)
    assert table["row_no"].to_pylist() == list(range(1, last + 1))
    for batch, result in zip(batches, results, strict=True):
        ids_of_batch = table["event_id"].to_pylist()[result.first_seq - 1 : result.last_seq]
        assert ids_of_batch == [r.event_id for r, s in zip(batch, result.statuses, strict=True) if s == "accepted"]


@pytest.mark.parametrize(
    ("after", "limit", "expected"),
    [
        pytest.param(0, 100, range(1, 10), id="all"),
        pytest.param(3, 100, range(4, 10), id="behind a whole frame"),
        pytest.param(4, 100, range(5, 10), id="inside a frame"),
        pytest.param(0, 1, range(1, 4), id="whole frames past the limit"),
        pytest.param(1, 4, range(2, 7), id="inside a frame, whole frames past the limit"),
        pytest.param(9, 100, range(0), id="nothing new"),
        pytest.param(50, 100, range(0), id="past the end"),
    ],
)
def test_reading_after_an_offset(log, after, limit, expected):
    for n in range(3):
        log.append([record(f"{n}{m}") for m in range(3)])
    table, last = log.read_arrow(after, limit)
    assert table["row_no"].to_pylist() == list(expected)
    assert last == (expected[-1] if expected else after)
    assert log.count(after, last) == len(expected)


def test_another_process_reads_what_was_acknowledged(log):
    log.append([record(str(n)) for n in range(5)])
    script = (
        "import sys; from pathlib import Path; from gtm_dagster.eventlog.sqlite import SqliteEventLog\n"
        "table, last = SqliteEventLog(Path(sys.argv[1])).read_arrow(2, 100); print(table['event_id'].to_pylist(), last)"
    )
    done = subprocess.run([sys.executable, "-c", script, str(log.path)], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "['2', '3', '4'] 5"


def test_trimming_spares_what_a_consumer_still_needs(log):
    for day in range(3):
        log.append([record(str(day), received_us=MARCH_1 + day * DAY_US)])
    assert log.trim("2026-03-03") == 0, "nobody has read anything"
    log.commit("landing", 3)
    log.commit("stream", 1)
    assert log.trim("2026-03-03") == 1
    assert ids(log) == ["1", "2"]
    assert (log.count(0, 3), log.last_seq()) == (2, 3)
    assert log.append([record("0"), record("3")]).statuses == ["duplicate", "accepted"], "ids outlive their frames"


def test_every_commit_waits_for_the_disk(log):
    log.append([record("a")])
    with sqlite3.connect(log.path) as con:
        assert con.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    con.close()
    with reading(log.path) as own:
        assert own.execute("PRAGMA synchronous").fetchone() == (2,)


def fill_disk(monkeypatch) -> None:
    for module in ("group_commit", "log_writer"):
        monkeypatch.setattr(
            f"gtm_dagster.eventlog.{module}.full_disk", lambda *_: "; no space left on its disk (0 bytes free)"
        )


def test_an_empty_append_asks_whether_there_is_room_for_events(log, monkeypatch):
    """SQLite finds room for a probe in its own log when the disk has none left; /readyz has to say so."""
    log.append([])
    fill_disk(monkeypatch)
    with pytest.raises(EventLogError, match="no space left"):
        log.append([])
    monkeypatch.undo()
    log.append([])


def test_an_empty_append_among_events_asks_too_and_takes_none_of_them_along(log, monkeypatch):
    log.append([record("a")])
    fill_disk(monkeypatch)
    with sqlite3.connect(log.path, isolation_level=None) as other:
        other.execute("BEGIN IMMEDIATE")
        futures = [log.submit(records) for records in ([record("b")], [record("c")], [], [record("d")])]
        other.execute("ROLLBACK")
    other.close()
    with pytest.raises(EventLogError, match="no space left"):
        futures.pop(2).result(10)
    assert [future.result(10).accepted for future in futures] == [1, 1, 1]


@pytest.mark.parametrize("content", [b"no database, but longer than a header" * 20], ids=["not a database"])
def test_a_file_that_is_no_log_is_named(tmp_path, content):
    path = tmp_path / "events.db"
    path.write_bytes(content)
    with pytest.raises(EventLogError, match=r"events\.db"):
        SqliteEventLog(path)
