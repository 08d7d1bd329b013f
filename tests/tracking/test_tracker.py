"""What the tracker promises about queueing, batching and every kind of answer."""

from __future__ import annotations

import socket
import uuid
from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from gtm_dagster.tracking import GtmTracker, InvalidEvent, TrackerStats
from gtm_dagster.tracking.collector_client import MAX_RETRY_AFTER, Verdict, base_url, read_answer
from gtm_dagster.tracking.event_id import uuid7
from gtm_dagster.tracking.sender import Sender


def send(tracker: GtmTracker, count: int) -> list[str]:
    return [tracker.track("page_viewed", anonymous_id="a1", properties={"n": n}) for n in range(count)]


def test_a_full_batch_leaves_at_once_and_the_rest_on_flush(recorder, make):
    tracker = make()
    ids = send(tracker, 120)
    recorder.wait(lambda: len(recorder.batches()) == 2)
    assert tracker.flush(5)
    assert [len(batch.ids) for batch in recorder.batches()] == [50, 50, 20]
    assert [event_id for batch in recorder.batches() for event_id in batch.ids] == ids
    assert recorder.batches()[0].headers["X-Write-Key"] == "key-1"
    assert tracker.stats() == TrackerStats(sent=120, accepted=120)


def test_a_lone_event_leaves_after_the_flush_interval(recorder, make):
    tracker = make(flush_interval=0.05)
    ids = send(tracker, 1)
    recorder.wait(lambda: len(recorder.batches()) == 1)
    assert list(recorder.batches()[0].ids) == list(ids)


def test_the_event_as_sent(recorder, make):
    tracker = make(endpoint=recorder.url + "/ingest/")
    at = datetime(2026, 3, 1, 12, tzinfo=UTC)
    properties = {"amount": 10.5, "currency": "EUR"}
    event_id = tracker.track(
        "payment_completed", user_id="u1", session_id="s1", properties=properties, context={"source": "x"}, timestamp=at
    )
    properties["amount"] = 99
    own = tracker.track("page_viewed", anonymous_id="a", event_id="mine", timestamp="2026-03-01T00:00:00+02:00")
    tracker.identify("u1", "a1")
    assert tracker.flush(5)
    first, second, third = recorder.batches()[0].body
    assert first == {
        "event_id": event_id, "event_name": "payment_completed", "timestamp": "2026-03-01T12:00:00Z", "user_id": "u1",
        "session_id": "s1", "properties": {"amount": 10.5, "currency": "EUR"}, "context": {"source": "x"},
    }  # fmt: skip
    assert second["context"] == third["context"] == {"device_type": "api"}
    assert own == second["event_id"] == "mine"
    assert (third["event_name"], third["user_id"], third["anonymous_id"]) == ("user_identified", "u1", "a1")
    assert third["timestamp"].endswith("Z")


def test_an_invalid_event_raises_with_every_reason_and_is_not_queued(make):
    tracker = make()
    with pytest.raises(InvalidEvent, match="payment_completed") as caught:
        tracker.track("payment_completed", user_id="u1", properties={"amount": -1})
    assert isinstance(caught.value, ValueError)
    assert {error.path for error in caught.value.errors} == {"properties.amount", "properties.currency"}
    assert all(error.path in str(caught.value) for error in caught.value.errors)
    for wrong in (
        {"event_name": "no_such_event", "user_id": "u"},
        {"event_name": "page_viewed"},
        {"event_name": "page_viewed", "user_id": "u", "timestamp": datetime(2026, 1, 1)},  # noqa: DTZ001
        {"event_name": "page_viewed", "user_id": "u", "timestamp": datetime.now(UTC) + timedelta(hours=2)},
        {"event_name": "page_viewed", "user_id": "u", "properties": {"x": float("nan")}},
        {"event_name": "page_viewed", "user_id": "u", "properties": {"x": object()}},
    ):
        with pytest.raises(InvalidEvent):
            tracker.track(**wrong)
    assert tracker.stats() == TrackerStats()


@pytest.mark.parametrize(
    ("device_type", "context", "expected"),
    [
        pytest.param("api", {}, "api", id="a backend says nothing"),
        pytest.param("api", {"locale": "de", "page_url": ""}, "api", id="nothing of a visit"),
        pytest.param("api", {"device_type": "web"}, "web", id="the call wins"),
        pytest.param("api", {"device_type": None}, "api", id="the call names none"),
        pytest.param("api", {"page_url": "https://a.example/"}, None, id="a page: the collector decides"),
        pytest.param("api", {"source": "google"}, None, id="a source: the collector decides"),
        pytest.param("api", {"device_type": "api", "source": "google"}, "api", id="a source and a device type"),
        pytest.param("mobile", {"page_url": "https://a.example/"}, "mobile", id="an app's backend"),
        pytest.param("web", {}, "web", id="a web application"),
        pytest.param(None, {}, None, id="none wanted"),
    ],
)
def test_the_device_type_of_a_tracker(recorder, make, device_type, context, expected):
    tracker = make(device_type=device_type)
    before = dict(context)
    tracker.track("page_viewed", anonymous_id="a", context=context)
    assert tracker.flush(5)
    assert recorder.batches()[0].body[0].get("context", {}).get("device_type") == expected
    assert context == before


@pytest.mark.parametrize(
    ("default", "own", "expected"),
    [
        pytest.param({"analytics": True}, None, {"analytics": True}, id="the tracker's"),
        pytest.param(None, {"analytics": True}, {"analytics": True}, id="the call's"),
        pytest.param({"analytics": True}, {"analytics": False}, {"analytics": False}, id="a refusal wins"),
        pytest.param(
            {"analytics": True, "marketing": True}, {"marketing": False}, {"analytics": True, "marketing": False},
            id="purpose by purpose",
        ),
        pytest.param(None, None, None, id="nothing"),
    ],
)  # fmt: skip
def test_the_consent_of_a_tracker(recorder, make, default, own, expected):
    tracker = make(consent=default)
    tracker.track("page_viewed", anonymous_id="a", context=None if own is None else {"consent": own})
    assert tracker.flush(5)
    assert recorder.batches()[0].body[0]["context"].get("consent") == expected


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"device_type": "server"}, "device_type='server' is none of web, mobile, api"),
        ({"consent": {"analytic": True}}, "'analytic': True"),
        ({"consent": {"analytics": "yes"}}, "'analytics': 'yes'"),
    ],
)
def test_a_device_type_or_purpose_that_there_is_not_is_refused(make, options, message):
    with pytest.raises(ValueError, match=message):
        make(**options)


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
        assert tracker.flush(5)
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


def test_ids_are_version_7_unique_and_in_order_of_time():
    ids = [uuid7() for _ in range(2000)]
    assert len(set(ids)) == 2000
    parsed = [uuid.UUID(text) for text in ids]
    assert {(each.version, each.variant) for each in parsed} == {(7, uuid.RFC_4122)}
    stamps = [each.int >> 80 for each in parsed]
    assert stamps == sorted(stamps)
    assert abs(stamps[-1] / 1000 - datetime.now(UTC).timestamp()) < 60


def test_the_counts_are_the_collectors(recorder, make):
    tracker = make()
    recorder.answer(200, body={"accepted": 1, "duplicates": 2, "quarantined": 3, "suppressed": 4})
    send(tracker, 10)
    assert tracker.flush(5)
    assert tracker.stats() == TrackerStats(
        sent=10, accepted=1, duplicates=2, quarantined=3, dropped=0, waiting=0, suppressed=4
    )


def test_retry_after_is_waited_for(recorder, make):
    tracker = make()
    recorder.answer(429, {"Retry-After": "1"})
    ids = send(tracker, 2)
    assert tracker.flush(8)
    first, second = recorder.batches()
    assert first.ids == second.ids == ids
    assert second.at - first.at >= 1.0


@pytest.mark.parametrize("status", [500, 502, 503, 404, 302])
def test_a_passing_fault_is_tried_again(recorder, make, status):
    tracker = make()
    recorder.answer(status, {"Location": "/elsewhere"})
    recorder.answer(200, body=b"<html>sign in to the network</html>")
    send(tracker, 2)
    assert tracker.flush(5)
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
    assert tracker.flush(5)
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
    assert tracker.flush(5)
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
    assert tracker.flush(5)


def test_a_batch_too_large_is_split_down_to_the_event(recorder, make):
    tracker = make(batch_size=8)
    recorder.largest = 3
    ids = send(tracker, 8)
    assert tracker.flush(5)
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
    assert tracker.flush(5)
    assert recorder.batches()[-1].ids == ids[2:]
    assert tracker.stats() == TrackerStats(sent=4, accepted=4)


def test_heartbeats_go_on_when_idle_and_between_retries(recorder, make, monkeypatch):
    monkeypatch.setattr(Sender, "beat_interval", 0.02)
    tracker = make(producer="shop", retries=1)
    tracker.track("page_viewed", anonymous_id="a")
    recorder.wait(lambda: len(recorder.beats()) >= 3)
    assert recorder.beats()[0].headers["X-Write-Key"] == "key-1"
    assert recorder.beats()[0].body["producer"] == "shop"
    assert datetime.fromisoformat(recorder.beats()[0].body["ts"]).tzinfo is not None
    recorder.answer(503, {"Retry-After": "1"})
    assert tracker.flush(5)
    refused, taken = recorder.batches()
    assert sum(refused.at < beat.at < taken.at for beat in recorder.beats()) >= 2


@pytest.mark.parametrize(("service", "name"), [("shop", "shop"), ("", None), ("my shop", None)])
def test_gd_10_the_default_name_of_a_producer_outlives_its_container(recorder, make, monkeypatch, service, name):
    monkeypatch.setenv("OTEL_SERVICE_NAME", service)
    monkeypatch.setattr(Sender, "beat_interval", 0.02)
    make()
    recorder.wait(recorder.beats)
    assert recorder.beats()[0].body["producer"] == (name or socket.gethostname())


def moment(beat, field="ts") -> datetime:
    return datetime.fromisoformat(beat.body[field])


def test_a_heartbeat_says_up_to_when_all_was_delivered(recorder, make, monkeypatch):
    monkeypatch.setattr(Sender, "beat_interval", 0.02)
    tracker = make(producer="shop")
    recorder.wait(lambda: recorder.beats())
    began = datetime.now(UTC)
    assert timedelta() < moment(recorder.beats()[-1], "sent_at") - moment(recorder.beats()[-1]) < timedelta(seconds=1)
    happened = began - timedelta(minutes=7)
    tracker.track("page_viewed", anonymous_id="a", timestamp=began)
    tracker.track("page_viewed", anonymous_id="a", timestamp=happened)
    seen = len(recorder.beats())
    recorder.wait(lambda: len(recorder.beats()) > seen + 2)
    assert moment(recorder.beats()[-1]) == happened - timedelta(microseconds=1), "just before the oldest that waits"
    recorder.answer(503, {"Retry-After": "1"})
    assert tracker.flush(8)
    refused, taken = recorder.batches()
    between = [moment(beat) for beat in recorder.beats() if refused.at < beat.at < taken.at]
    assert between and all(ts < happened for ts in between), "under way is not delivered"
    seen = len(recorder.beats())
    recorder.wait(lambda: len(recorder.beats()) > seen + 1)
    assert moment(recorder.beats()[-1]) > began


@pytest.mark.parametrize(("last_beat_ago", "beats"), [(60.0, 2), (0.0, 1)], ids=["long ago", "just now"])
def test_a_delivered_batch_is_followed_by_a_heartbeat_when_the_last_is_old(recorder, make, last_beat_ago, beats):
    tracker = make()
    recorder.wait(lambda: len(recorder.beats()) == 1)
    tracker.sender._last_beat -= last_beat_ago
    send(tracker, 1)
    assert tracker.flush(5)
    send(tracker, 1)
    assert tracker.flush(5)
    assert len(recorder.beats()) == beats
    assert len({beat.body["instance"] for beat in recorder.beats()}) == 1


def test_a_clean_close_is_told_and_one_with_events_left_is_not(recorder, make):
    with make(producer="clean") as tracker:
        send(tracker, 1)
    assert [beat.body["closing"] for beat in recorder.beats() if "closing" in beat.body] == [True]
    assert recorder.beats()[-1].at >= recorder.batches()[-1].at, "after the last event"
    left = make(producer="left", retries=0)
    recorder.answer(503, {"Retry-After": "60"})
    send(left, 1)
    left.close(0.3)
    assert not [beat for beat in recorder.beats() if beat.body["producer"] == "left" and "closing" in beat.body]


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


@pytest.mark.parametrize("endpoint", ["", "collector:8377", "ftp://x", "http://"])
def test_an_endpoint_that_is_no_url_is_refused(endpoint):
    with pytest.raises(ValueError, match="not a collector URL"):
        base_url(endpoint)
    with pytest.raises(ValueError, match="not a collector URL"):
        GtmTracker(endpoint, "k")


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


@pytest.mark.parametrize("nothing", ["", " ", "None", "undefined", None])
def test_an_id_that_is_nothing_is_absent(recorder, make, nothing):
    tracker = make()
    event_id = tracker.track("page_viewed", user_id=nothing, session_id=nothing, anonymous_id="a", event_id=nothing)
    assert uuid.UUID(event_id).version == 7
    with pytest.raises(InvalidEvent, match=r"placeholder_id|missing_identity"):
        tracker.track("page_viewed", user_id=nothing, anonymous_id=nothing)
    assert tracker.flush(5)
    assert recorder.batches()[0].ids == [event_id]
