"""A log by a pipe: what its writer says arrives, with the reasons of what fails, and nobody waits for a writer that is gone."""

from __future__ import annotations

from multiprocessing import Pipe
from pathlib import Path

import msgspec
import pytest
from eventlog_cases import MARCH_1, quarantined, record
from msgspec.structs import astuple

from gtm_dagster.collector.shared_log import SharedLog, serve_log
from gtm_dagster.eventlog import EventLogError
from gtm_dagster.eventlog.sqlite import SqliteEventLog


def test_records_and_heartbeats_go_through_as_they_are(tmp_path: Path) -> None:
    log = SqliteEventLog(tmp_path / "events.db")
    one, other = (Pipe() for _ in range(2))
    workers = [SharedLog(theirs) for _, theirs in (one, other)]
    for ours, _ in (one, other):
        serve_log(log, ours)
    sent = [record("a", trace_id="1" * 32, sent_with="segment"), quarantined("b"), record("a")]
    first = workers[0].submit(sent).result(30)
    assert (first.statuses, first.offsets) == (["accepted", "quarantined", "duplicate"], [1, 2, 1])
    second = workers[1].submit([record("a"), record("c")]).result(30)
    assert (second.statuses, second.offsets) == (["duplicate", "accepted"], [1, 3])
    assert workers[0].submit([]).result(30).statuses == []
    assert workers[1].submit_beat("shop", MARCH_1, MARCH_1 + 5, instance="2", write_key="k", skew_us=-3).result(30)
    (beat,) = log.heartbeats()
    assert (beat.producer, beat.ts_us, beat.write_key, beat.skew_us) == ("shop", MARCH_1, "k", -3)
    kept = log.read_records(0)[0]
    assert [(each.event_id, each.trace_id, each.sent_with, each.sealed) for each in kept] == [
        ("a", "1" * 32, "segment", None), ("b", None, None, b"\x01\x00"), ("c", None, None, None),
    ]  # fmt: skip
    assert [worker.writer_fault() for worker in workers] == [None, None]
    for worker in workers:
        worker.close()
    log.close()


def test_a_worker_that_stands_still_holds_up_no_other(tmp_path: Path) -> None:
    log = SqliteEventLog(tmp_path / "events.db")
    still_ours, still = Pipe()
    serve_log(log, still_ours)
    for number in range(8):  # answers of some 100 kB that nobody reads
        batch = [astuple(record(f"{number}-{n}")) for n in range(5_000)]
        still.send_bytes(msgspec.msgpack.encode(("_Batch", number, batch)))
    ours, theirs = Pipe()
    serve_log(log, ours)
    worker = SharedLog(theirs)
    assert worker.submit([record("other")]).result(60).accepted == 1
    worker.close()
    still.close()
    log.close()


def test_what_the_log_refuses_is_said_and_so_is_its_end(tmp_path: Path) -> None:
    log = SqliteEventLog(tmp_path / "events.db")
    ours, theirs = Pipe()
    worker = SharedLog(theirs)
    serve_log(log, ours)
    assert worker.submit([record("a")]).result(30).accepted == 1
    log.close()
    with pytest.raises(EventLogError, match="closed"):
        worker.submit([record("b")]).result(30)
    assert "closed" in str(worker.writer_fault())
    gone_ours, gone_theirs = Pipe()
    orphan = SharedLog(gone_theirs)
    waiting = orphan.submit([record("c")])
    gone_ours.close()
    with pytest.raises(EventLogError, match="is gone"):
        waiting.result(30)
    with pytest.raises(EventLogError, match="is gone"):
        orphan.submit([record("d")])
    worker.close()
