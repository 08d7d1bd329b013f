"""Sealed originals are read with their records until they end; then their bytes are in no file."""

from __future__ import annotations

import random
import secrets
import sqlite3
import tarfile
from datetime import date
from pathlib import Path

import pytest
from eventlog_cases import DAY_US, MARCH_1, old_log, pack_format_1, quarantined, record
from hypothesis import given
from hypothesis import strategies as st
from profiles import examples, slow_but

from gtm_dagster.eventlog.sqlite import SqliteEventLog

MARCH = [date(2026, 3, 1 + n) for n in range(10)]


@pytest.fixture
def log(tmp_path):
    with SqliteEventLog(tmp_path / "events.db") as opened:
        yield opened


def sealed(log: SqliteEventLog, after: int = 0) -> list[bytes | None]:
    return log.read_arrow(after, 1_000_000)[0]["sealed"].to_pylist()


def found_in_files(folder: Path, markers: list[bytes]) -> list[bytes]:
    """Those of `markers` that occur in a file."""
    contents = [path.read_bytes() for path in folder.rglob("*") if path.is_file()]
    return [marker for marker in markers if any(marker in content for content in contents)]


ORIGINALS = st.lists(st.none() | st.binary(max_size=5), min_size=1, max_size=6)


@given(st.lists(ORIGINALS, min_size=1, max_size=4), st.integers(0, 24), st.integers(0, 3))
@examples(60)
def test_originals_come_back_with_their_records(tmp_path_factory, batches, after, inline):
    """Also those that an older version put into its frames, and from any offset on."""
    path = tmp_path_factory.mktemp("log") / "events.db"
    records = [
        [quarantined(f"{n}-{m}", sealed=each) for m, each in enumerate(batch)] for n, batch in enumerate(batches)
    ]
    old_log(path, [each for batch in records[:inline] for each in batch])
    with SqliteEventLog(path) as log:
        for batch in records[inline:]:
            log.append(batch)
        expected = [each for batch in batches for each in batch]
        assert sealed(log, min(after, len(expected))) == expected[after:]


def test_an_original_ends_with_its_day_and_the_record_stays(log):
    log.append([quarantined(str(n), sealed=b"%d" % n, received_us=MARCH_1 + n * DAY_US) for n in range(5)])
    log.append([record("a"), quarantined("late", sealed=b"late", received_us=MARCH_1)])
    assert log.end_sealed(MARCH[0]) == 0
    assert log.end_sealed(MARCH[2]) == 3
    assert sealed(log) == [None, None, b"2", b"3", b"4", None, None]
    assert log.end_sealed(MARCH[2]) == 0
    assert log.count(0, 7) == 7
    assert log.edge_counts()["2026-03-01"] == {"accepted": 1, "quarantined": 2}


def test_an_original_ends_with_its_frame_at_the_latest(log):
    log.append([quarantined("a", sealed=b"a")])
    log.append([quarantined("b", sealed=b"b", received_us=MARCH_1 + 5 * DAY_US)])
    log.commit("warehouse", 2)
    assert log.trim("2026-03-03") == 1
    with sqlite3.connect(log.path) as con:
        tables = con.execute("SELECT name FROM sqlite_master WHERE name GLOB 'sealed_[0-9]*'").fetchall()
        assert tables == [("sealed_20260306",)]
    con.close()


def marked(n: int, size: int) -> tuple[bytes, bytes]:
    """A marker, and an original of about `size` bytes that has it at its beginning and its end."""
    marker = secrets.token_bytes(12)
    return marker, marker + bytes(size) + marker


@pytest.mark.parametrize("seed", slow_but(1, 0, 1, 2))
def test_the_bytes_of_an_ended_original_are_in_no_file(tmp_path, log, seed):
    """Of all sizes, between others that stay, in any order of days; the log goes on being written."""
    draw = random.Random(seed)
    ended, kept = [], []
    for n in range(30):
        batch = []
        for m in range(draw.randrange(1, 20)):
            day = draw.randrange(10)
            marker, original = marked(n, draw.choice([0, 30, 400, 3_000, 20_000]))
            (ended if day < 6 else kept).append(marker)
            batch.append(quarantined(f"{n}-{m}", sealed=original, received_us=MARCH_1 + day * DAY_US))
        log.append(batch)
    assert found_in_files(tmp_path, ended) == ended
    assert log.end_sealed(MARCH[3]) + log.end_sealed(MARCH[6]) == len(ended)
    log.append([record("later")])
    assert found_in_files(tmp_path, ended) == []
    assert found_in_files(tmp_path, kept) == kept
    assert sum(each is not None for each in sealed(log)) == len(kept)


def test_a_reader_in_the_way_keeps_the_log_from_being_emptied_until_it_ends(tmp_path, log):
    marker, original = marked(0, 100)
    log.append([quarantined("a", sealed=original)])
    reader = sqlite3.connect(log.path, isolation_level=None)
    reader.execute("BEGIN")
    reader.execute("SELECT * FROM frames").fetchall()
    assert log.end_sealed(MARCH[1]) == 1
    assert sealed(log) == [None]
    assert found_in_files(tmp_path, [marker]) == [marker], "the reader may still ask for it"
    reader.close()
    assert log.trim("2026-03-01") == 0
    assert found_in_files(tmp_path, [marker]) == []


@pytest.mark.parametrize("which", ["ended", "trimmed"])
def test_originals_in_frames_of_an_older_version_end_too(tmp_path, which):
    path = tmp_path / "events.db"
    markers = [secrets.token_bytes(12) for _ in range(8)]
    old_log(path, [quarantined(str(n), sealed=marker) for n, marker in enumerate(markers)])
    with SqliteEventLog(path) as log:
        log.append([quarantined("new", sealed=b"new", received_us=MARCH_1 + DAY_US)])
        assert sealed(log) == [*markers, b"new"]
        frames = [pack_format_1([quarantined(str(n), sealed=marker)]) for n, marker in enumerate(markers)]
        assert len(found_in_files(tmp_path, frames)) == 8
        if which == "ended":
            assert log.end_sealed(MARCH[0]) == 0
            assert sealed(log) == [*markers, b"new"]
            log.end_sealed(MARCH[1])
            assert sealed(log) == [*[None] * 8, b"new"]
            assert [each.event_id for each in log.read_records(0)[0]] == [*map(str, range(8)), "new"]
        else:
            log.commit("warehouse", 8)
            assert log.trim("2026-03-02") == 8
        assert found_in_files(tmp_path, frames) == []


def test_the_state_of_version_0_1_0_ends_its_originals(tmp_path):
    archive = Path(__file__).parents[1] / "formats" / "unversioned" / "state.tar.xz"
    with tarfile.open(archive) as state:
        state.extractall(tmp_path, filter="data")
    with SqliteEventLog(tmp_path / "events.db") as log:
        before = log.read_arrow(0, 1_000_000)[0]
        assert before["sealed"].null_count < before.num_rows
        log.end_sealed(date(2100, 1, 1))
        after = log.read_arrow(0, 1_000_000)[0]
        assert after["sealed"].null_count == after.num_rows
        assert after.drop_columns("sealed").equals(before.drop_columns("sealed"))
