"""Producers say up to when they have delivered; the log keeps their last word, and finds offsets by time of receipt."""

from __future__ import annotations

import pytest
from eventlog_cases import DAY_US, MARCH_1, record

from gtm_dagster.eventlog import Heartbeat
from gtm_dagster.eventlog.sqlite import SqliteEventLog

SECOND = 1_000_000
NOW = MARCH_1


@pytest.fixture
def log(tmp_path):
    opened = SqliteEventLog(tmp_path / "events.db")
    yield opened
    opened.close()


def test_a_producer_of_a_version_without_keys_gets_its_key_with_its_next_heartbeat(log):
    log.beat("shop", 1, NOW, instance="7")
    log.beat("shop", 2, NOW + 1, write_key="server")
    assert log.heartbeats() == [Heartbeat("shop", 2, NOW + 1, "server")]


def test_an_offset_is_found_by_time_of_receipt(log):
    assert log.offset_before(NOW) == 0
    for n in range(40):
        log.append([record(f"{n}-{m}", received_us=NOW + n * SECOND) for m in range(1 + n % 3)])
    received = log.read_arrow(0, 10_000)[0]["received_us"].to_pylist()
    for asked in (NOW - 1, NOW, NOW + 1, NOW + 7 * SECOND, NOW + 39 * SECOND, NOW + 40 * SECOND):
        expected = sum(us < asked for us in received)
        assert log.offset_before(asked) == expected
    log.commit("landing", log.last_seq())
    log.append([record("new", received_us=NOW + 5 * DAY_US)])
    assert log.trim("2026-03-03") == len(received)
    assert (log.offset_before(NOW), log.offset_before(NOW + 6 * DAY_US)) == (len(received), len(received) + 1)


def test_a_stream_worker_that_stands_still_holds_the_log_three_days_longer(log, caplog):
    for day in range(12):
        log.append([record(str(day), received_us=NOW + day * DAY_US)])
    log.commit("warehouse", 12)
    log.commit("stream", 1)
    assert log.trim("2026-03-04") == 1, "read by both"
    assert log.trim("2026-03-05") == 0, "of the first day after what is not read: three days are not over"
    assert caplog.text == ""
    assert log.trim("2026-03-07") == 2
    assert "consumer stream stands still at offset 1; 2 events of days before 2026-03-04 leave the log" in caplog.text
    assert log.read_arrow(1, 1)[0]["event_id"].to_pylist() == ["3"]


def test_the_loader_holds_the_log_however_long_it_stands_still(log):
    log.append([record("a")])
    log.commit("warehouse", 0)
    log.commit("stream", 1)
    assert log.trim("2027-01-01") == 0
