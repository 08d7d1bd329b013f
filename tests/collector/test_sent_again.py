"""An event that is sent again is a duplicate however its sender's clock is off, and a conflict where it says something else."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from collector_harness import Edge

from gtm_dagster.eventlog.kafka_spool import SPOOL_MIGRATIONS, Spool
from gtm_dagster.eventlog.sqlite import SqliteEventLog

HOUR = timedelta(hours=1)
HAPPENED = datetime.now(UTC).replace(microsecond=123_000) - 3 * HOUR
KEY = {"X-Write-Key": "dev"}
V1 = {"Authorization": "Bearer dev"}


class Sending(NamedTuple):
    """A request, and how its answer says that an event had other content: not at all in some protocols."""

    path: str
    body: Any
    headers: dict[str, str]


class Times(NamedTuple):
    """By the sender's clock: when it happened, and when it is sent, which may be unsaid."""

    happened: datetime
    sent: datetime | None

    @property
    def said(self) -> dict[str, str]:
        return {} if self.sent is None else {"sentAt": self.sent.isoformat()}


def ms(moment: datetime) -> str:
    return str(round(moment.timestamp() * 1000))


def native(times: Times, title: str) -> Sending:
    event = {"event_id": "e", "event_name": "page_viewed", "anonymous_id": "v", "properties": {"title": title}}
    return Sending("/ingest", {**event, "timestamp": times.happened.isoformat()}, KEY | times.said)


def segment(times: Times, title: str) -> Sending:
    page = {"type": "page", "messageId": "e", "anonymousId": "v", "timestamp": times.happened.isoformat()}
    return Sending("/v1/batch", {"batch": [{**page, "properties": {"title": title}}], **times.said}, KEY)


def rudderstack(times: Times, title: str) -> Sending:
    page = {"messageId": "e", "anonymousId": "v", "originalTimestamp": times.happened.isoformat(), **times.said}
    return Sending("/v1/page", {**page, "properties": {"title": title}}, KEY)


def posthog(times: Times, title: str) -> Sending:
    view = {"event": "$pageview", "uuid": "e", "distinct_id": "u", "timestamp": times.happened.isoformat()}
    sent = {} if times.sent is None else {"sent_at": times.sent.isoformat()}
    return Sending("/batch", {"api_key": "dev", "batch": [{**view, "properties": {"title": title}}], **sent}, {})


def posthog_v1(times: Times, title: str) -> Sending:
    body = posthog(times, title).body
    sent = {} if times.sent is None else {"PostHog-Request-Timestamp": times.sent.isoformat()}
    return Sending("/i/v1/analytics/events", {"batch": body["batch"]}, V1 | sent)


def posthog_offset(times: Times, title: str) -> Sending:
    """Says how long before the receipt it was, and no time."""
    view = {"event": "$pageview", "uuid": "e", "distinct_id": "u", "offset": 5_000, "properties": {"title": title}}
    return Sending("/e", {"api_key": "dev", **view}, {})


def snowplow(times: Times, title: str) -> Sending:
    view = {"e": "pv", "eid": "e", "duid": "v", "dtm": ms(times.happened), "page": title, "url": "https://a.example/"}
    sent = {} if times.sent is None else {"stm": ms(times.sent)}
    return Sending("/com.snowplowanalytics.snowplow/tp2", {"schema": "payload_data", "data": [view | sent]}, KEY)


def amplitude(times: Times, title: str) -> Sending:
    view = {"event_type": "page_viewed", "insert_id": "e", "device_id": "v", "event_properties": {"title": title}}
    return Sending("/2/httpapi", {"api_key": "dev", "events": [{**view, "time": int(ms(times.happened))}]}, {})


def mixpanel(times: Times, title: str) -> Sending:
    properties = {
        "token": "dev",
        "$insert_id": "e",
        "distinct_id": "u",
        "time": int(ms(times.happened)),
        "title": title,
    }
    return Sending("/track", [{"event": "page_viewed", "properties": properties}], {})


Protocol = Callable[[Times, str], Sending]
SAYING_WHEN = (native, segment, rudderstack, posthog, posthog_v1, snowplow)
AHEAD = Times(HAPPENED + 2 * HOUR, datetime.now(UTC) + 2 * HOUR)
BEHIND = Times(HAPPENED - 50 * HOUR, datetime.now(UTC) - 50 * HOUR)
RIGHT = Times(HAPPENED, datetime.now(UTC))
UNSAID = Times(HAPPENED, None)


def later(times: Times, **by: float) -> Times:
    """The same event, sent again: by another time than its clock should say by now, so that it is moved by another span."""
    return times._replace(sent=None if times.sent is None else times.sent + timedelta(**by))


CASES = [
    *((protocol, AHEAD, later(AHEAD, seconds=7), "duplicate", "two hours ahead") for protocol in SAYING_WHEN),
    *((protocol, BEHIND, later(BEHIND, seconds=-3), "duplicate", "two days behind") for protocol in SAYING_WHEN),
    *((protocol, RIGHT, later(RIGHT, seconds=2), "duplicate", "a clock that is right") for protocol in SAYING_WHEN),
    *((protocol, AHEAD, AHEAD._replace(happened=AHEAD.happened + HOUR / 60), "conflict", "another time of it") for protocol in SAYING_WHEN),
    *((protocol, UNSAID, UNSAID, "duplicate", "not said when it was sent") for protocol in (*SAYING_WHEN, amplitude, mixpanel)),
    (native, AHEAD, later(AHEAD, hours=-2), "duplicate", "the clock was put right between, the time of the event was not"),
    (posthog_offset, UNSAID, UNSAID, "duplicate", "a span before the receipt"),
    (mixpanel, UNSAID, UNSAID._replace(happened=HAPPENED + HOUR), "conflict", "another time of it"),
]  # fmt: skip


class Delivering:
    """A producer whose broker takes everything."""

    fault = None

    def deliver(self, messages: Any, seconds: float) -> bool:
        return True


@pytest.fixture(params=["file", "topic"])
def edge(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Edge]:
    edge = Edge(tmp_path)
    if request.param == "topic":
        edge.log.close()
        spool = Spool(Delivering(), 0.1, 100)  # type: ignore[arg-type]
        edge.log = SqliteEventLog(tmp_path / "spool.db", 32, spool, SPOOL_MIGRATIONS)
        edge.app = edge.app_on(edge.log)
    yield edge
    edge.log.close()


def statuses(edge: Edge, *sendings: Sending) -> list[str]:
    found: list[str] = []
    log_append = edge.log.submit

    def submit(records: Any) -> Any:
        future = log_append(records)
        found.extend(future.result().statuses)
        return future

    edge.log.submit = submit  # type: ignore[method-assign]
    for path, body, headers in sendings:
        answer = edge.post(body, path, headers)
        assert answer.status == 200, answer.body
    edge.log.submit = log_append  # type: ignore[method-assign]
    return found


def test_what_is_sent_again_is_a_duplicate_and_what_says_something_else_a_conflict(edge: Edge) -> None:
    expected, found = {}, {}
    for number, (protocol, first, second, status, why) in enumerate(CASES):
        name = f"{protocol.__name__}: {why} ({number})"
        one, two, other = protocol(first, "a"), protocol(second, "a"), protocol(second, "b")
        own = [_with_id(sending, f"e{number}") for sending in (one, two, other)]
        expected[name] = ["accepted", status, "conflict"]
        found[name] = statuses(edge, *own)
    assert found == expected


def _with_id(sending: Sending, event_id: str) -> Sending:
    """The sending under an id of its own."""
    return sending._replace(body=_replaced(sending.body, event_id))


def _replaced(value: Any, event_id: str) -> Any:
    if isinstance(value, dict):
        ids = ("event_id", "messageId", "uuid", "eid", "insert_id", "$insert_id")
        return {name: event_id if name in ids else _replaced(each, event_id) for name, each in value.items()}
    return [_replaced(each, event_id) for each in value] if isinstance(value, list) else value


def test_the_time_as_it_was_sent_is_kept_beside_the_one_that_was_put_right(tmp_path: Path) -> None:
    edge = Edge(tmp_path)
    now = datetime.now(UTC)
    ahead = Times(HAPPENED + 2 * HOUR, now + 2 * HOUR)
    for number, times in enumerate((ahead, Times(HAPPENED, now))):
        path, body, headers = _with_id(native(times, "a"), f"e{number}")
        edge.post(body, path, headers)
    odd = {"event_id": "odd", "event_name": "page_viewed", "anonymous_id": "v", "original_timestamp": ["x"]}
    assert edge.post(odd, "/ingest", KEY).json()["accepted"] == 1, "a sender may say nonsense there"
    moved, right, strange = edge.records()
    assert moved.original_us == round(ahead.happened.timestamp() * 1e6)
    assert abs((moved.event_us or 0) - round(HAPPENED.timestamp() * 1e6)) < 60_000_000
    assert (right.original_us, strange.original_us) == (None, None)
    edge.log.close()
