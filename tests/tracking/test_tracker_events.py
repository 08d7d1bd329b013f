"""What an event is when it leaves the tracker, and which one never does."""

from __future__ import annotations

import json
import uuid
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from gtm_dagster.taxonomy import load_plan
from gtm_dagster.tracking import InvalidEvent, TrackerStats
from gtm_dagster.tracking.event_builder import EventBuilder
from gtm_dagster.tracking.event_id import uuid7


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
    assert tracker.flush(30)
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
        {"event_name": "page_viewed", "user_id": "u", "properties": {"x": Decimal("NaN")}},
        {"event_name": "page_viewed", "user_id": "u", "properties": ["x"]},
        {"event_name": "page_viewed", "user_id": "u", "context": "web"},
    ):
        with pytest.raises(InvalidEvent):
            tracker.track(**wrong)
    with pytest.raises(InvalidEvent, match=r"properties\.x: holds a value that JSON does not have \(object\)"):
        tracker.track("page_viewed", user_id="u", properties={"path": "/", "x": object()})
    assert tracker.stats() == TrackerStats()


def test_values_of_libraries_are_what_they_stand_for() -> None:
    """A Decimal was refused as a text, a kind of text or number without its name; a UUID beside a key raised TypeError,
    and a personal value that is no `str` left in clear.
    """
    builder = EventBuilder(load_plan(), "api", None, b"k" * 32)
    markup = type("Markup", (str,), {})
    paid = {"amount": Decimal("1.10"), "currency": markup("EUR"), "account_id": uuid.UUID(int=5)}
    user, own_id = uuid.UUID(int=7), uuid.UUID(int=9)
    built = builder.build("payment_completed", user, None, None, paid, None, None, own_id)
    text = builder.build("payment_completed", str(user), None, None, {**paid, "account_id": str(paid["account_id"])}, None, None, str(own_id))  # fmt: skip
    sent, same = json.loads(built.line), json.loads(text.line)
    assert (built.event_id, sent["properties"]["amount"], sent["properties"]["currency"]) == (str(own_id), 1.1, "EUR")
    assert sent["properties"]["account_id"].startswith("pseudonym:") and sent["user_id"] == same["user_id"]
    assert sent["properties"] == same["properties"]


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
    assert tracker.flush(30)
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
    assert tracker.flush(30)
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


def test_ids_are_version_7_unique_and_in_order_of_time():
    ids = [uuid7() for _ in range(2000)]
    assert len(set(ids)) == 2000
    parsed = [uuid.UUID(text) for text in ids]
    assert {(each.version, each.variant) for each in parsed} == {(7, uuid.RFC_4122)}
    stamps = [each.int >> 80 for each in parsed]
    assert stamps == sorted(stamps)
    assert abs(stamps[-1] / 1000 - datetime.now(UTC).timestamp()) < 60


@pytest.mark.parametrize("nothing", ["", " ", "None", "undefined", None])
def test_an_id_that_is_nothing_is_absent(recorder, make, nothing):
    tracker = make()
    event_id = tracker.track("page_viewed", user_id=nothing, session_id=nothing, anonymous_id="a", event_id=nothing)
    assert uuid.UUID(event_id).version == 7
    with pytest.raises(InvalidEvent, match=r"placeholder_id|missing_identity"):
        tracker.track("page_viewed", user_id=nothing, anonymous_id=nothing)
    assert tracker.flush(30)
    assert recorder.batches()[0].ids == [event_id]
