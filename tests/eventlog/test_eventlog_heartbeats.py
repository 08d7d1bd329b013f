"""Producers say up to when they have delivered; the log keeps their last word, and finds offsets by time of receipt."""

from __future__ import annotations

import pytest
from eventlog_cases import DAY_US, MARCH_1, record

from gtm_dagster.eventlog import Heartbeat
from gtm_dagster.eventlog.group_commit import FORGOTTEN_US, MAX_PRODUCERS, REPLACED_US
from gtm_dagster.eventlog.sqlite import SqliteEventLog

SECOND = 1_000_000
NOW = MARCH_1


@pytest.fixture
def log(tmp_path):
    opened = SqliteEventLog(tmp_path / "events.db")
    yield opened
    opened.close()


@pytest.mark.parametrize(
    ("beats", "expected", "reason"),
    [
        ([("a", NOW, NOW, False, "")], [("a", NOW, NOW)], "the last word"),
        ([("a", NOW, NOW, False, ""), ("a", NOW - 9, NOW + 5, False, "")], [("a", NOW - 9, NOW + 5)], "it may go back"),
        ([("a", NOW + 600 * SECOND, NOW, False, "")], [("a", NOW, NOW)], "nobody has delivered the future"),
        ([("b", 1, NOW, False, ""), ("a", 2, NOW, False, "")], [("a", 2, NOW), ("b", 1, NOW)], "each for itself"),
        ([("a", 5, NOW, False, "1"), ("a", 3, NOW + 1, False, "2")], [("a", 3, NOW + 1)], "the slowest instance"),
        (
            [("a", 5, NOW, False, "1"), ("a", 9, NOW + REPLACED_US + 1, False, "2")],
            [("a", 9, NOW + REPLACED_US + 1)],
            "an instance that another has replaced",
        ),
        ([("a", 5, NOW, False, "1"), ("a", 3, NOW, False, "2"), ("a", 0, NOW, True, "2")], [("a", 5, NOW)], "one closed"),
        ([("a", 5, NOW, False, "1"), ("a", 9, NOW, True, "1")], [], "all closed: forgotten"),
        ([("a", 5, NOW, False, ""), ("b", 9, NOW + FORGOTTEN_US, False, "")], [("a", 5, NOW), ("b", 9, NOW + FORGOTTEN_US)], "silent for a day"),
        ([("a", 5, NOW, False, ""), ("b", 9, NOW + FORGOTTEN_US + 1, False, "")], [("b", 9, NOW + FORGOTTEN_US + 1)], "silent for longer"),
    ],
)  # fmt: skip
def test_what_is_kept_of_heartbeats(log, beats, expected, reason):
    assert all(log.beat(*beat) for beat in beats)
    assert log.heartbeats() == [Heartbeat(*each) for each in expected], reason


def test_heartbeats_outlive_the_process(tmp_path, log):
    log.beat("a", NOW - 1, NOW)
    assert SqliteEventLog(tmp_path / "events.db").heartbeats() == [Heartbeat("a", NOW - 1, NOW)]


def test_producers_are_bounded(log):
    futures = [log.submit_beat(str(n), NOW, NOW) for n in range(MAX_PRODUCERS + 1)]
    assert [future.result() for future in futures] == [True] * MAX_PRODUCERS + [False]
    assert log.beat("0", NOW, NOW + 1), "a known one may go on"
    assert log.beat("1", NOW, NOW + 1, closing=True)
    assert log.beat("fresh", NOW, NOW + 1)


def test_gd_08_a_producer_is_its_keys(log):
    for n in range(MAX_PRODUCERS + 1):
        log.submit_beat(str(n), NOW, NOW, write_key="greedy")
    assert log.beat("shop", NOW, NOW, write_key="server", skew_us=5), "another key's names leave room"
    assert log.beat("shop", 0, NOW, write_key="other") and log.beat("shop", 0, NOW, closing=True, write_key="third")
    assert [each for each in log.heartbeats() if each.producer == "shop"] == [
        Heartbeat("shop", 0, NOW, "other"), Heartbeat("shop", NOW, NOW, "server", 5),
    ]  # fmt: skip


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
