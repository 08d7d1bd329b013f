"""What the tracker promises about queueing, batching and every kind of answer."""

from __future__ import annotations

import socket

import msgspec
import pytest

from gtm_dagster.tracking import GtmTracker, TrackerStats
from gtm_dagster.tracking.collector_client import MAX_RETRY_AFTER, Transport, Verdict, base_url, read_answer


def send(tracker: GtmTracker, count: int) -> list[str]:
    return [tracker.track("page_viewed", anonymous_id="a1", properties={"n": n}) for n in range(count)]


def test_a_full_batch_leaves_at_once_and_the_rest_on_flush(recorder, make):
    tracker = make()
    ids = send(tracker, 120)
    recorder.wait(lambda: len(recorder.batches()) == 2)
    assert tracker.flush(30)
    assert [len(batch.ids) for batch in recorder.batches()] == [50, 50, 20]
    assert [event_id for batch in recorder.batches() for event_id in batch.ids] == ids
    assert recorder.batches()[0].headers["X-Write-Key"] == "key-1"
    assert tracker.stats() == TrackerStats(sent=120, accepted=120)


def test_a_lone_event_leaves_after_the_flush_interval(recorder, make):
    tracker = make(flush_interval=0.05)
    ids = send(tracker, 1)
    recorder.wait(lambda: len(recorder.batches()) == 1)
    assert list(recorder.batches()[0].ids) == list(ids)


def test_the_log_says_why_events_were_not_kept(recorder, make, caplog):
    suppressed = {
        "status": "suppressed",
        "errors": [{"path": "context.consent", "code": "no_consent", "message": "say so"}],
    }
    unknown = {
        "status": "quarantined",
        "errors": [{"path": "event_name", "code": "unknown_event", "message": "bought is new"}],
    }
    tracker = make()
    for _ in range(2):
        recorder.answer(
            200,
            body={"accepted": 0, "duplicates": 0, "quarantined": 1, "suppressed": 1, "results": [suppressed, unknown]},
        )
        send(tracker, 2)
        assert tracker.flush(30)
    tracker.close()  # the thread that logs has ended
    assert [record.message for record in caplog.records] == [
        "the collector quarantined 1 of 2 events; the first: event_name: bought is new (unknown_event)",
        "the collector suppressed 1 of 2 events; the first: context.consent: say so (no_consent)",
        "the collector quarantined 1 of 2 events; the first: event_name: bought is new (unknown_event)",
    ], "suppression is said once"


@pytest.mark.parametrize("results", [None, {}, [None], [{"status": "quarantined", "errors": None}]])
def test_an_answer_without_reasons_is_an_answer(results):
    body = {"accepted": 0, "duplicates": 0, "quarantined": 1, "suppressed": 0, "results": results}
    answer = read_answer(200, None, msgspec.json.encode(body))
    assert (answer.verdict, answer.quarantined, answer.quarantined_for) == (Verdict.DONE, 1, "")


def test_the_counts_are_the_collectors(recorder, make):
    tracker = make()
    recorder.answer(200, body={"accepted": 1, "duplicates": 2, "quarantined": 3, "suppressed": 4})
    send(tracker, 10)
    assert tracker.flush(30)
    assert tracker.stats() == TrackerStats(
        sent=10, accepted=1, duplicates=2, quarantined=3, dropped=0, waiting=0, suppressed=4
    )


def test_retry_after_is_waited_for(recorder, make):
    tracker = make()
    recorder.answer(429, {"Retry-After": "1"})
    ids = send(tracker, 2)
    assert tracker.flush(30)
    first, second = recorder.batches()
    assert first.ids == second.ids == ids
    assert second.at - first.at >= 1.0


@pytest.mark.parametrize("status", [500, 502, 503, 404, 302])
def test_a_passing_fault_is_tried_again(recorder, make, status):
    tracker = make()
    recorder.answer(status, {"Location": "/elsewhere"})
    recorder.answer(200, body=b"<html>sign in to the network</html>")
    send(tracker, 2)
    assert tracker.flush(30)
    assert [request.path for request in recorder.batches()] == ["/ingest"] * 3
    assert tracker.stats() == TrackerStats(sent=2, accepted=2)


def test_a_batch_that_failed_goes_back_to_the_front(recorder, make):
    tracker = make(batch_size=3, retries=1)
    for _ in range(2):
        recorder.answer(503)
    ids = send(tracker, 3)
    recorder.wait(lambda: len(recorder.batches()) == 2)
    ids += send(tracker, 3)
    tracker.flush(5)
    assert tracker.flush(30)
    assert [batch.ids for batch in recorder.batches()] == [ids[:3], ids[:3], ids[:3], ids[3:]]


def test_flush_says_when_a_batch_failed_and_keeps_it(recorder, make):
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    tracker = make(endpoint=f"http://127.0.0.1:{port}", retries=2)
    send(tracker, 4)
    assert not tracker.flush()
    assert tracker.stats() == TrackerStats(waiting=4)


def test_a_full_queue_drops_the_oldest(recorder, make, caplog):
    dropped = []
    tracker = make(max_queue=5, retries=0, on_drop=lambda reason, ids: dropped.append((reason, ids)))
    recorder.answer(503)
    ids = send(tracker, 5)
    assert not tracker.flush(5)
    ids += send(tracker, 3)
    assert caplog.text.count("events waited") == 1, "one line, not one for each event"
    assert (tracker.stats().dropped, tracker.stats().waiting) == (3, 5)
    assert [event_id for _, lost in dropped for event_id in lost] == ids[:3]
    assert tracker.flush(30)
    assert recorder.batches()[-1].ids == ids[3:]


@pytest.mark.parametrize("status", [400, 401])
def test_a_refused_batch_is_dropped_counted_and_reported(recorder, make, caplog, status):
    dropped = []
    tracker = make(on_drop=lambda reason, ids: dropped.append((reason, ids)))
    recorder.answer(status, body={"code": "bad_key", "message": "no such key"})
    ids = send(tracker, 3)
    assert not tracker.flush(5)
    recorder.wait(lambda: len(recorder.batches()) == 1)
    tracker.close(5)
    assert dropped == [(f"the collector refused them: {status} bad_key: no such key", tuple(ids))]
    assert tracker.stats() == TrackerStats(dropped=3)
    assert f"dropped 3 events: the collector refused them: {status}" in caplog.text


def test_a_failing_callback_stops_nothing(recorder, make):
    def fail(reason, ids):
        raise RuntimeError("callback")

    tracker = make(on_drop=fail)
    recorder.answer(401)
    send(tracker, 1)
    assert not tracker.flush(5)
    send(tracker, 1)
    assert tracker.flush(30)


def test_a_batch_too_large_is_split_down_to_the_event(recorder, make):
    tracker = make(batch_size=8)
    recorder.largest = 3
    ids = send(tracker, 8)
    assert tracker.flush(30)
    taken = [batch.ids for batch in recorder.batches() if len(batch.ids) <= 3]
    assert [event_id for batch in taken for event_id in batch] == ids
    recorder.largest = 0
    send(tracker, 2)
    assert not tracker.flush(5)
    assert tracker.stats() == TrackerStats(sent=8, accepted=8, dropped=2)


def test_the_unsent_half_of_a_split_batch_keeps_its_order(recorder, make):
    tracker = make(batch_size=4, retries=0)
    recorder.largest = 2
    recorder.answer(200, body={"accepted": 2, "duplicates": 0, "quarantined": 0})
    recorder.answer(503)
    ids = send(tracker, 4)
    recorder.wait(lambda: len(recorder.batches()) == 3)
    tracker.flush(5)
    assert tracker.flush(30)
    assert recorder.batches()[-1].ids == ids[2:]
    assert tracker.stats() == TrackerStats(sent=4, accepted=4)


def test_closing_sends_what_waits_and_ends_the_thread(recorder, make):
    with make() as tracker:
        send(tracker, 3)
    assert tracker.stats() == TrackerStats(sent=3, accepted=3)
    assert not tracker.sender._thread.is_alive()
    tracker.close()
    with pytest.raises(RuntimeError, match="closed"):
        send(tracker, 1)


def test_closing_is_bounded_when_the_collector_asks_to_wait(recorder, make, caplog):
    tracker = make()
    recorder.answer(503, {"Retry-After": "120"})
    send(tracker, 2)
    tracker.close(0.2)
    assert tracker.stats().waiting == 2
    assert "2 events not delivered" in caplog.text


@pytest.mark.parametrize(
    "endpoint", ["", "collector:8377", "ftp://x", "http://", "http://h:99999", "http://[::1", "http://h/?a=1"]
)
def test_an_endpoint_that_is_no_url_is_refused(endpoint):
    with pytest.raises(ValueError, match="not a collector URL"):
        base_url(endpoint)
    with pytest.raises(ValueError, match="not a collector URL"):
        GtmTracker(endpoint, "k")


@pytest.mark.parametrize("write_key", [None, "", "secret\n", " secret", "sécret", 5])
def test_a_write_key_that_no_header_can_have_is_refused_and_not_shown(write_key):
    """The thread that delivers ended at its first heartbeat, and everything waited for ever."""
    with pytest.raises(ValueError, match="write_key") as refused:
        GtmTracker("http://127.0.0.1:1", write_key)
    assert "cret" not in str(refused.value)


def test_a_heartbeat_that_fails_in_an_odd_way_does_not_end_the_thread(recorder, make, monkeypatch):
    monkeypatch.setattr(Transport, "beat", lambda *_: 1 // 0)
    tracker = make()
    send(tracker, 1)
    assert tracker.flush(30)


@pytest.mark.parametrize("option", ["batch_size", "retries", "max_queue", "flush_interval"])
def test_a_number_that_makes_no_sense_is_refused(option):
    with pytest.raises(ValueError, match=option):
        GtmTracker("http://127.0.0.1:1", "k", **{option: -1})


@pytest.mark.parametrize(
    ("header", "seconds"),
    [("7", 7), (" 7 ", 7), ("0", 0), ("99999999999999", MAX_RETRY_AFTER), ("-1", None), ("1.5", None), ("²", None),
     ("Wed, 21 Oct 2026 07:28:00 GMT", None), ("", None), (None, None)],
)  # fmt: skip
def test_only_an_integer_retry_after_counts(header, seconds):
    answer = read_answer(503, header, b"\xff")
    assert (answer.verdict, answer.retry_after) == (Verdict.LATER, seconds)
