"""What every log promises, whatever it is made of: events.db, or a topic of a real Kafka (mark `real`)."""

from __future__ import annotations

import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from eventlog_cases import DAY_US, MARCH_1, quarantined, record

from gtm_dagster.eventlog import EventLogError, Heartbeat, LogChangedError, Position
from gtm_dagster.eventlog.group_commit import FORGOTTEN_US, MAX_PRODUCERS, REPLACED_US

SECOND = 1_000_000
NOW = MARCH_1


def ids(log) -> list[str | None]:
    return log.read_arrow(0, 1_000_000)[0]["event_id"].to_pylist()


@pytest.mark.parametrize(
    ("second", "status"),
    [
        pytest.param(record("a"), "duplicate", id="same event"),
        pytest.param(record("a", received_us=MARCH_1 + 5, plan_version="1-0-1"), "duplicate", id="resent later"),
        pytest.param(record("a", properties='{"n":1}'), "conflict", id="same id, other content"),
        pytest.param(record("a", write_key="app"), "accepted", id="same id, other write key"),
        pytest.param(quarantined("a"), "quarantined", id="refused resend is kept for its reasons"),
        pytest.param(record("a", verdict="suppressed"), "suppressed", id="suppressed resend is counted"),
    ],
)
def test_an_id_is_accepted_once_a_write_key(log, second, status):
    assert log.append([record("a")]).statuses == ["accepted"]
    assert log.append([second]).statuses == [status]
    assert ids(log) == ["a"] if status in ("duplicate", "conflict") else ["a", "a"]


@pytest.mark.parametrize(
    "first", [quarantined("a"), record("a", verdict="suppressed")], ids=["quarantined", "suppressed"]
)
def test_what_was_not_accepted_does_not_claim_its_id(log, first):
    assert log.append([first, record("a"), record("a")]).statuses == [first.verdict, "accepted", "duplicate"]


def test_records_come_back_as_they_were_stored(log):
    stored = [record("a", properties='{"ü":1}', consent="{}"), quarantined(None, raw="{}")]
    log.append(stored)
    stored_records, last = log.read_records(0)
    assert ([(r.event_id, r.event_us, r.properties, r.sealed) for r in stored_records], last) == (
        [(r.event_id, r.event_us, r.properties, r.sealed) for r in stored], 2,
    )  # fmt: skip


def test_a_consumers_offset_never_goes_back(log):
    assert log.committed("landing") == 0
    log.commit("landing", 7)
    log.commit("landing", 3)
    log.commit("stream", 2)
    assert (log.committed("landing"), log.committed("stream")) == (7, 2)


def test_the_days_books_agree_with_what_was_answered(log):
    first = log.append([record("a"), record("b"), record("a"), quarantined("c")])
    assert (first.accepted, first.duplicates) == (2, 1)
    assert first.statuses == ["accepted", "accepted", "duplicate", "quarantined"]
    nothing = log.append([record("b"), record("b", campaign="x")])
    assert (nothing.accepted, nothing.last_seq < nothing.first_seq, nothing.statuses) == (
        0,
        True,
        ["duplicate", "conflict"],
    )
    log.append([record("d", received_us=MARCH_1 + DAY_US)])
    assert log.edge_counts() == {
        "2026-03-01": {"accepted": 2, "conflict": 1, "duplicate": 2, "quarantined": 1},
        "2026-03-02": {"accepted": 1},
    }
    assert (log.first_seq(), log.last_seq(), log.count(0, 4), log.count(1, 3)) == (1, 4, 4, 2)


def test_a_persons_events_keep_their_order_and_offsets_have_no_gaps_whatever_threads_append(log):
    def append(person: int) -> None:
        for n in range(30):
            log.append([record(f"{person}-{n}-{m}", anonymous_id=str(person)) for m in range(3)] + [record("same")])

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(append, range(8)))
    table, last = log.read_arrow(0, 10_000)
    assert table["row_no"].to_pylist() == list(range(1, last + 1))
    assert last == log.last_seq() == 8 * 30 * 3 + 1
    for person in range(8):
        own = [each for each in table["event_id"].to_pylist() if each.startswith(f"{person}-")]
        assert own == [f"{person}-{n}-{m}" for n in range(30) for m in range(3)]


@pytest.mark.parametrize(("after", "limit"), [(0, 100), (3, 100), (4, 100), (0, 1), (1, 4), (9, 100), (50, 100)])
def test_reading_after_an_offset(log, after, limit):
    """Consecutive offsets, at least as many as asked for where there are so many, and the same ones each time."""
    for n in range(3):
        log.append([record(f"{n}{m}", anonymous_id=f"{n}{m}") for m in range(3)])
        assert log.last_seq() == 3 * n + 3
    whole = log.read_arrow(0, 100)[0]
    table, last = log.read_arrow(after, limit)
    rows = max(last - after, 0)
    assert rows >= min(limit, max(9 - after, 0))
    assert table.equals(whole.slice(after, rows))
    assert last == (after + rows if rows else after)
    assert log.count(after, last) == rows


def test_another_process_reads_what_was_acknowledged_in_the_same_order(log, tmp_path):
    log.append([record(str(n), anonymous_id=str(n)) for n in range(50)])
    script = (
        "import sys; from gtm_dagster.eventlog import open_log; from gtm_dagster.settings import load_settings\n"
        "with open_log(load_settings(None, {'GTM_STATE_DIR': sys.argv[1], **({'GTM_EVENT_LOG': sys.argv[2]} if sys.argv[2] else {})})) as log:\n"
        "    table, last = log.read_arrow(2, 100); print(last, *table['event_id'].to_pylist())"
    )
    address = getattr(getattr(log, "topic", None), "place", "")
    command = [sys.executable, "-c", script, str(tmp_path), address]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["50", *ids(log)[2:]]


def test_a_reopened_log_goes_on_where_it_stopped(open_a_log):
    with open_a_log() as first:
        first.append([record("a"), record("b")])
        first.commit("landing", 1)
        first.beat("a", NOW - 1, NOW)
        log_id = first.log_id
    again = open_a_log()
    assert again.append([record("a"), record("c")]).statuses == ["duplicate", "accepted"]
    assert (ids(again), again.committed("landing"), again.log_id) == (["a", "b", "c"], 1, log_id)
    assert again.heartbeats() == [Heartbeat("a", NOW - 1, NOW)]


def test_closing_commits_what_waits_and_refuses_more(open_a_log):
    log = open_a_log()
    futures = [log.submit([record(str(n))]) for n in range(50)]
    log.close()
    assert [future.result(0).accepted for future in futures] == [1] * 50
    assert log.last_seq() == 50
    with pytest.raises(EventLogError, match="closed"):
        log.append([record("late")])


def test_an_id_is_forgotten_after_dedup_days(open_a_log):
    log = open_a_log(dedup_days=2)
    log.append([record("old"), record("new", received_us=MARCH_1 + DAY_US)])
    log.trim("2026-03-04")
    again = log.append([record("old"), record("new", received_us=MARCH_1 + DAY_US)])
    assert again.statuses == ["accepted", "duplicate"]


def test_a_reader_goes_on_where_it_stood_and_is_told_when_the_log_is_another(log):
    log.append([record("a", received_us=MARCH_1), record("b", received_us=MARCH_1 + 7)])
    received = log.read_arrow(0)[0]["received_us"].to_pylist()
    for seq in (1, 2):
        assert log.resume(Position(log.log_id, seq, received[seq - 1])) == seq
        with pytest.raises(LogChangedError, match="has grown since"):
            log.resume(Position(log.log_id, seq, received[seq - 1] + 1))
    assert (log.resume(None, from_start=True), len(log.log_id)) == (0, 16)
    for position, message in ((Position(log.log_id, 3), "ends at offset 2"), (Position("b" * 16, 1), "another log")):
        with pytest.raises(LogChangedError, match=message):
            log.resume(position)


def test_acceptance_is_recorded_with_who_and_why_and_consumers_begin_again(log):
    log.append([record("a"), record("b")])
    log.commit("warehouse", 2)
    before = log.log_id
    lost = [(Position(before, 5), True), (Position("b" * 16, 1), False)]
    found = log.accept(lost, reason="the disk died", actor="ada")
    assert (found.renamed_from, found.log_id) == (before, log.log_id)
    assert log.log_id != before and log.committed("warehouse") == 0
    assert {(row["actor"], row["reason"], row["kind"], row["log_id"]) for row in log.accepted()} == {
        ("ada", "the disk died", "restored", before), ("ada", "the disk died", "restored", "b" * 16),
    }  # fmt: skip
    assert log.continues(before) and log.continues("b" * 16) and not log.continues("c" * 16)
    assert log.accept(lost, reason="again", actor="ada") is None


def test_an_offset_is_found_by_time_of_receipt(log):
    """Behind it lies all that was received then or later; some of what came before may, too."""
    now = time.time_ns() // 1000
    assert log.offset_before(now) == 0
    for n in range(3):
        log.append([record(f"{n}-{m}", anonymous_id=str(m), received_us=time.time_ns() // 1000) for m in range(5)])
        assert log.last_seq() == 5 * n + 5
        time.sleep(0.05)
    received = log.read_arrow(0)[0]["received_us"].to_pylist()
    for asked in sorted({now, *received}):
        assert log.offset_before(asked) <= sum(us < asked for us in received)
    assert log.offset_before(received[-1]) >= 10, "what lies two appends back is not read again"
    assert log.offset_before(time.time_ns() // 1000 + 60 * SECOND) == 15


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
