"""Requests of the kinds that clients send, one of each: what is odd about them is the reason they are here.

Written by hand, by what the clients' documentation and their requests say of form, headers and place of the key.
"""

from __future__ import annotations

import base64
import gzip
import json
from datetime import UTC, datetime
from typing import Any, NamedTuple
from urllib.parse import quote, urlencode

from captured_requests import Request

PROJECTS = ("WK_test", "phc_test", "WK:secret", "MPTOK", "AMPKEY", "app")
"""What the clients are given as their key; none is one of ours, each stands for the client key `web`."""
CLIENT_IDS = json.dumps(dict.fromkeys(PROJECTS, "web"))
NOW = datetime.now(UTC)
AT = NOW.isoformat().replace("+00:00", "Z")
MS = str(int(NOW.timestamp() * 1000))
PAGE = "https://shop.example/pricing?utm_source=google&gclid=1"
ORIGIN = {"Origin": "https://shop.example", "Referer": "https://shop.example/"}
BASIC = {"Authorization": "Basic " + base64.b64encode(b"WK_test:").decode()}
TEXT = {"Content-Type": "text/plain;charset=UTF-8"}
JSON = {"Content-Type": "application/json"}
TP2 = "/com.snowplowanalytics.snowplow/tp2"


class Case(NamedTuple):
    """What a client sends, and how many of its events are accepted; all others are quarantined for `reasons`."""

    name: str
    requests: list[Request]
    accepted: int
    reasons: tuple[str, ...] = ()


def post(path: str, body: Any, headers: dict[str, str] | None = None) -> Request:
    return Request("POST", path, headers or {}, body if isinstance(body, bytes) else json.dumps(body).encode())


def preflight(path: str, headers: str) -> Request:
    asked = {**ORIGIN, "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": headers}
    return Request("OPTIONS", path, asked, b"")


def track(event_id: str, name: str = "Trial Started", **more: Any) -> dict[str, Any]:
    return {"type": "track", "event": name, "messageId": event_id, "userId": "u1", "timestamp": AT, "properties": {"plan": "pro"}, **more}  # fmt: skip


def capture(event_id: str, name: str = "Trial Started", **more: Any) -> dict[str, Any]:
    return {"event": name, "uuid": f"0198c9a0-0000-7000-8000-{event_id:>012}", "distinct_id": "u1", "timestamp": AT, "properties": {"plan": "pro", "$lib": "web"}, **more}  # fmt: skip


def payload(event_id: str, **more: Any) -> dict[str, Any]:
    return {"e": "pv", "eid": event_id, "url": PAGE, "page": "Pricing", "aid": "app", "duid": "d1", "dtm": MS, "stm": MS, **more}  # fmt: skip


def snowplow(*payloads: dict[str, Any]) -> dict[str, Any]:
    return {
        "schema": "iglu:com.snowplowanalytics.snowplow/payload_data/jsonschema/1-0-4",
        "data": list(payloads),
    }


def cloud_event(event_id: str, kind: str = "com.acme.trial_started") -> dict[str, Any]:
    return {"specversion": "1.0", "id": event_id, "source": "/app", "type": kind, "subject": "u1", "time": AT, "data": {"plan": "pro"}}  # fmt: skip


CASES = [
    Case("a batch of a server", [post("/v1/batch", {"batch": [track("s-1"), {"type": "identify", "userId": "u1", "messageId": "s-2", "timestamp": AT, "traits": {"plan": "pro"}}], "sentAt": AT}, BASIC | JSON)], 2),
    Case("the same packed", [post("/v1/batch", gzip.compress(json.dumps({"batch": [track("s-3"), track("s-4", "Song Played")]}).encode()), BASIC | JSON | {"Content-Encoding": "gzip"})], 1, ("unknown_event",)),
    Case("packed, and called a form", [post("/v1/batch", gzip.compress(json.dumps({"batch": [track("s-5")]}).encode()), BASIC | {"Content-Type": "application/x-www-form-urlencoded", "Content-Encoding": "gzip"})], 1),
    Case("a page's single messages, called text", [preflight("/v1/t", "authorization"), post("/v1/t", track("s-6"), BASIC | {"Content-Type": "text/plain"} | ORIGIN),
         post("/v1/p", {"type": "page", "messageId": "s-7", "anonymousId": "a1", "timestamp": AT, "properties": {"url": PAGE, "path": "/pricing"}}, BASIC | {"Content-Type": "text/plain"} | ORIGIN)], 2),
    Case("a visitor's id and the time of sending in headers", [preflight("/v1/track", "anonymousid,authorization,content-type,sentat"),
         post("/v1/track", {"event": "Trial Started", "messageId": "s-8", "originalTimestamp": AT}, BASIC | JSON | ORIGIN | {"AnonymousId": base64.b64encode(b"a1").decode(), "SentAt": AT})], 1),
    Case("a beacon with its key in the address", [post("/beacon/v1/batch?writeKey=WK_test", {"batch": [track("s-9", anonymousId="a1")]}, TEXT | ORIGIN)], 1),
    Case("an id and a secret in one header", [post("/api/s/track", track("6q15rrmce3146gtjw81lc"), JSON | {"X-Write-Key": "WK:secret"}), post("/api/s/s2s/page", {"type": "page", "messageId": "s-11", "userId": "u1", "timestamp": AT}, JSON | {"X-Write-Key": "WK:secret"})], 2),
    Case("the key in the body", [post("/batch/", {"api_key": "phc_test", "batch": [capture("1"), capture("2", "$autocapture")], "sent_at": AT}, JSON)], 1, ("unknown_event",)),
    Case("gzip without a word of it", [post("/e/?compression=gzip-js", gzip.compress(json.dumps({"api_key": "phc_test", "batch": [capture("3")]}).encode()), {"Content-Type": "text/plain"} | ORIGIN)], 1),
    Case("a form in base64", [post("/e/", f"data={quote(base64.b64encode(json.dumps(capture('4', token='phc_test')).encode()))}".encode(), {"Content-Type": "application/x-www-form-urlencoded"} | ORIGIN)], 1),
    Case("the key as a bearer's token", [post("/i/v1/analytics/events", {"created_at": AT, "batch": [capture("5", options={})]}, JSON | {"Authorization": "Bearer phc_test", "PostHog-Request-Timestamp": AT})], 1),
    Case("a tracker's batch", [post(TP2, snowplow(payload("p-1"), payload("p-2", e="se", se_ca="shop", se_ac="add")), JSON)], 1, ("unknown_event",)),
    Case("a tracker's pixel", [Request("GET", f"/i?{urlencode(payload('p-3'))}", ORIGIN, b"")], 1),
    Case("a page that tracks nobody", [preflight(TP2, "content-type,sp-anonymous"), post(TP2, snowplow(payload("p-4")), JSON | ORIGIN | {"SP-Anonymous": "*"})], 0, ("missing_identity",)),
    Case("an envelope with a charset", [post("/ingest", cloud_event("c-1"), {"Content-Type": "application/cloudevents+json; charset=utf-8"})], 1),
    Case("attributes as headers, without a type of content", [post("/ingest", {"plan": "pro"}, {"ce-specversion": "1.0", "ce-id": "c-2", "ce-source": "/app", "ce-type": "com.acme.trial_started", "ce-subject": "u1", "ce-time": AT})], 1),
    Case("a list of envelopes", [post("/ingest", [cloud_event("c-3"), cloud_event("c-4", "com.acme.song_played")], {"Content-Type": "application/cloudevents-batch+json"})], 1, ("unknown_event",)),
    Case("events with their key beside them", [post("/2/httpapi", {"api_key": "AMPKEY", "events": [{"event_type": "Trial Started", "user_id": "u1", "insert_id": "m-1", "time": int(MS), "event_properties": {"plan": "pro"}}]}, JSON)], 1),
    Case("forms of events and of persons", [post("/track", urlencode({"data": json.dumps([{"event": "Trial Started", "properties": {"token": "MPTOK", "distinct_id": "u1", "time": NOW.timestamp(), "$insert_id": "m-2"}}])}).encode()),
         post("/engage", urlencode({"data": json.dumps([{"$token": "MPTOK", "$distinct_id": "u1", "$time": NOW.timestamp(), "$set": {"plan": "pro"}}])}).encode())], 2),
    Case("a beacon of the page's own", [post("/ingest?writeKey=WK_test", {"event_name": "page_viewed", "event_id": "n-1", "anonymous_id": "a1", "timestamp": AT, "context": {"page_url": PAGE}}, TEXT | ORIGIN)], 1),
    Case("a beacon in a form of nobody's", [post("/ingest?writeKey=WK_test", {"batch": [{"event": "trial_started"}], "sentAt": AT}, TEXT | ORIGIN)], 0, ("missing_field", "missing_identity", "unknown_field")),
]  # fmt: skip
