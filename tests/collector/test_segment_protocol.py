"""Segment's API and what speaks it: how calls become events, what becomes of odd ones, and how clients are answered."""

from __future__ import annotations

import base64
import gzip
import json
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from collector.collector_harness import Edge
from hypothesis import given
from hypothesis import strategies as st

from gtm_dagster.collector.protocols.analytics_message import Sent, event_of, known_name
from gtm_dagster.taxonomy import load_plan

PLAN = load_plan()
NOW_US = 1_790_000_000_000_000
NOW = datetime.fromtimestamp(NOW_US / 1e6, UTC)


def _said(message: dict[str, Any], kind: str | None = None, **sent: Any) -> dict[str, Any]:
    return event_of(message, kind, Sent(NOW_US, **sent), PLAN)


CALLS = [
    ({"type": "track", "event": "Trial Started", "properties": {"plan": "pro"}}, "Trial Started", {"plan": "pro"}),
    ({"type": "track", "event": "Payment Completed"}, "payment_completed", {}),
    ({"type": "track", "event": "paymentCompleted"}, "payment_completed", {}),
    ({"type": "track", "event": "Song Played"}, "Song Played", {}),
    ({"type": "track", "event": None}, None, {}),
    ({"type": "track", "event": "trial_started", "properties": {"plan": "pro", "tags": ["a"], "more": {"k": 1}, "seats": None}},
     "trial_started", {"plan": "pro", "seats": None}),
    ({"type": "page", "name": "Pricing", "properties": {"path": "/p", "url": "https://x.test/p?gclid=1", "search": "?x"}},
     "page_viewed", {"path": "/p", "title": "Pricing"}),
    ({"type": "screen", "name": "Home"}, "page_viewed", {"title": "Home"}),
    ({"type": "identify", "traits": {"plan": "pro", "email": "ann@example.com", "address": {"city": "X"}, "age": 4}},
     "user_identified", {"plan": "pro", "email": "ann@example.com"}),
    ({"type": "group", "groupId": 9, "traits": {"name": "Acme"}}, "user_identified", {"account_id": "9"}),
    ({"type": "alias", "userId": "u1", "previousId": "a1"}, "user_identified", {"alias_of": "a1"}),
    ({"type": "nonsense"}, "nonsense", {}),
    ({"type": "track", "event": "trial_started", "properties": ["not", "an", "object"]}, "trial_started", {}),
]  # fmt: skip


@pytest.mark.parametrize(("message", "name", "properties"), CALLS, ids=lambda value: str(value)[:40])
def test_a_call_becomes_an_event_of_the_plan(message: dict[str, Any], name: str, properties: dict[str, Any]) -> None:
    event = _said(message)
    assert (event["event_name"], event["properties"]) == (name, properties)


CONTEXTS = [
    ({"campaign": {"name": "spring", "source": "google", "medium": "cpc"}}, {"campaign": "spring", "source": "google", "medium": "cpc"}),
    ({"page": {"url": "https://x.test/?a=1", "referrer": "https://news.test/"}}, {"page_url": "https://x.test/?a=1", "referrer": "https://news.test/"}),
    ({"page": {"url": "https://x.test/", "referrer": "$direct"}}, {"page_url": "https://x.test/"}),
    ({"locale": "de-DE", "timezone": "Europe/Berlin", "location": {"country": "DE"}}, {"locale": "de-DE", "timezone": "Europe/Berlin", "country": "DE"}),
    ({"timezone": "GMT+0000"}, {}),
    ({"ip": "203.0.113.7", "traits": {"email": "ann@example.com"}, "device": {"id": "x"}}, {}),
    ({"consent": {"categoryPreferences": {"Analytics": True, "Advertising": False}}}, {"consent": {"analytics": True, "marketing": False}}),
    ({"consent": {"categoryPreferences": {"C0002": True, "Performance": False}}}, {"consent": {"analytics": False}}),
    ({"consent": {"categoryPreferences": {"Analytics": "yes"}}}, {}),
    ({"consentManagement": {"allowedConsentIds": ["Analytics"], "deniedConsentIds": ["Marketing"]}}, {"consent": {"analytics": True, "marketing": False}}),
    ({"gpp": "DBABBg~BAQAAABA.QA"}, {"consent": {"marketing": False}}),
    ({"consent": {"gpp": "DBABBg~BAQAAABA.QA", "categoryPreferences": {"Analytics": True, "Advertising": True}}}, {"consent": {"analytics": True, "marketing": False}}),
    ({"gpp": "DBABBg~BAQAAABA.QA", "gpp_sid": "7,2"}, {}),
    ({"gpp": "DBABBg~BAQAAABA.QA", "gpp_sid": [8]}, {"consent": {"marketing": False}}),
    ({"gdpr_consent": "CQuci4AQuci4AAfAAAENAAFgAMMAAAAAAAAAAAAAAAAA"}, {"consent": {"analytics": True, "marketing": True, "personalization": False}}),
    ({"campaign": "no object", "page": 7}, {}),
]  # fmt: skip


@pytest.mark.parametrize(("context", "expected"), CONTEXTS, ids=lambda value: str(value)[:40])
def test_the_context_says_campaign_page_place_and_consent(context: dict[str, Any], expected: dict[str, Any]) -> None:
    assert _said({"type": "track", "event": "trial_started", "context": context})["context"] == expected


@pytest.mark.parametrize(
    ("channel", "kind", "device"),
    [
        ("server", "track", "api"),
        ("web", "track", "web"),
        ("mobile", "track", "mobile"),
        (None, "screen", "mobile"),
        (None, "track", None),
    ],
)
def test_the_channel_is_the_device(channel: str | None, kind: str, device: str | None) -> None:
    assert _said({"type": kind, "channel": channel})["context"].get("device_type") == device


def _at(moment: datetime) -> str:
    return moment.isoformat().replace("+00:00", "Z")


TIMES = [
    # (said to be, sent at by the same clock, expected): the request comes at NOW
    ("clocks agree", NOW - timedelta(seconds=5), NOW - timedelta(seconds=1), NOW - timedelta(seconds=5)),
    ("an hour behind", NOW - timedelta(hours=1, seconds=5), NOW - timedelta(hours=1), NOW - timedelta(seconds=5)),
    ("a year ahead", NOW + timedelta(days=365), NOW + timedelta(days=365, seconds=9), NOW - timedelta(seconds=9)),
    ("kept offline for days, clocks agree", NOW - timedelta(days=3), NOW, NOW - timedelta(days=3)),
    ("after it was sent: never later than now", NOW + timedelta(hours=2), NOW + timedelta(hours=1), NOW),
]


@pytest.mark.parametrize(
    ("case", "said", "sent_at", "expected"), TIMES, ids=lambda value: value if isinstance(value, str) else ""
)
def test_a_wrong_clock_is_put_right_by_what_it_says_of_the_sending(
    case: str, said: datetime, sent_at: datetime, expected: datetime
) -> None:
    for message, sent in (({"sentAt": _at(sent_at)}, {}), ({}, {"sent_at": _at(sent_at)})):
        event = _said({"type": "track", "event": "trial_started", "timestamp": _at(said), **message}, **sent)
        assert datetime.fromisoformat(event["timestamp"]) == expected, case


@pytest.mark.parametrize("said", [None, "yesterday", 1_790_000_000, "2026-02-30T00:00:00Z"])
def test_a_time_that_is_none_goes_on_as_it_is(said: Any) -> None:
    assert _said({"type": "track", "timestamp": said}, sent_at=_at(NOW + timedelta(days=9)))["timestamp"] == said


def test_names_of_the_plan_stay_as_they_are() -> None:
    for name in (*PLAN.events, *PLAN.aliases):
        assert known_name(name, PLAN) == name


_ANY = st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9), lambda each: st.lists(each, max_size=3) | st.dictionaries(st.text(max_size=9), each, max_size=3), max_leaves=8)  # fmt: skip
_FIELDS = ("type", "event", "userId", "anonymousId", "messageId", "timestamp", "sentAt", "context", "properties", "traits", "channel", "groupId", "previousId")  # fmt: skip


@given(
    st.dictionaries(st.sampled_from(_FIELDS), _ANY, max_size=9),
    st.sampled_from(["track", "page", "alias", "group", None]),
)
def test_whatever_a_message_holds_it_becomes_something_the_door_can_judge(
    message: dict[str, Any], kind: str | None
) -> None:
    event = _said(message, kind)
    assert set(event) <= {
        "event_id",
        "event_name",
        "timestamp",
        "user_id",
        "anonymous_id",
        "session_id",
        "properties",
        "context",
    }


@pytest.fixture
def edge(tmp_path: Path) -> Edge:
    return Edge(tmp_path)


def _track(n: int, **more: Any) -> dict[str, Any]:
    moment = datetime.fromtimestamp(time.time() - 60, UTC).isoformat()
    return {
        "type": "track",
        "event": "Trial Started",
        "userId": f"u{n}",
        "messageId": f"m-{n}",
        "timestamp": moment,
        **more,
    }


def test_a_batch_is_stored_once_and_each_odd_message_costs_itself_alone(edge: Edge) -> None:
    batch = [_track(1), _track(2, event="Song Played"), "no message", _track(3), {"type": "track", "messageId": "m-4"}]
    answer = edge.post({"batch": batch, "sentAt": datetime.now(UTC).isoformat()}, "/v1/batch")
    assert answer.status == 200
    assert {name: answer.json()[name] for name in ("success", "accepted", "quarantined")} == {
        "success": True,
        "accepted": 2,
        "quarantined": 3,
    }
    assert [each["event_id"] for each in answer.json()["refused"]] == ["m-2", None, "m-4"]
    again = edge.post({"batch": batch}, "/v1/batch").json()
    assert (again["accepted"], again["duplicates"]) == (0, 2)
    assert sorted(record.event_id for record in edge.records() if record.verdict == "accepted") == ["m-1", "m-3"]


@pytest.mark.parametrize("path", ["/v1/track", "/v1/t", "/api/s/track", "/api/s/s2s/track", "/v1/track/"])
def test_a_single_call_by_its_path(edge: Edge, path: str) -> None:
    message = _track(1)
    del message["type"]
    assert edge.post(message, path).json()["accepted"] == 1


def test_gzip_a_form_type_basic_auth_and_headers_of_the_browser_client(edge: Edge) -> None:
    headers = {
        "authorization": "Basic " + base64.b64encode(b"dev:").decode(), "content-encoding": "gzip",
        "content-type": "application/x-www-form-urlencoded", "anonymousid": base64.b64encode(b"visitor-9").decode(),
    }  # fmt: skip
    message = _track(1, userId=None)
    assert (
        edge.post([gzip.compress(json.dumps({"batch": [message]}).encode())], "/v1/batch", headers).json()["accepted"]
        == 1
    )
    assert edge.records()[0].anonymous_id == edge.pseudonymize("visitor-9")


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"[]", "unparseable"),
        (b"{", "unparseable"),
        (b"{}", "no_batch"),
        (b'{"batch": {}}', "no_batch"),
        (b'{"batch": 7}', "no_batch"),
        (b"", "unparseable"),
    ],
)
def test_what_is_no_batch_is_a_400_with_code_and_message(edge: Edge, body: bytes, code: str) -> None:
    answer = edge.post([body], "/v1/batch")
    assert answer.status == 400
    assert answer.json()["code"] == code and answer.json()["message"]


def test_an_odd_character_costs_no_other_message(edge: Edge) -> None:
    text = json.dumps({"batch": [_track(1), _track(2)]}).encode().replace(b"u2", b"u\xff2")
    assert edge.post([text], "/v1/batch").json()["accepted"] >= 1


def test_a_client_key_may_stand_in_the_address_and_a_server_key_not(edge: Edge) -> None:
    client, server = edge.keys.add("page", role="client"), edge.keys.add("shop")
    body = {"batch": [_track(1)]}
    assert edge.post(body, f"/beacon/v1/batch?writeKey={client}", {"content-type": "text/plain"}).status == 200
    refused = edge.post(body, f"/beacon/v1/batch?writeKey={server}", {})
    assert (refused.status, refused.json()["code"]) == (403, "key_in_address")
    assert edge.post(body, "/beacon/v1/batch?writeKey=", {}).status == 401


ORIGIN = "https://shop.example"


@pytest.mark.parametrize(
    ("origins", "origin", "allowed"),
    [((ORIGIN,), ORIGIN, True), ((ORIGIN,), "https://SHOP.example", True), (("*",), "https://any.test", True), ((), ORIGIN, False), ((ORIGIN,), "https://shop.example.evil.test", False)],
)  # fmt: skip
def test_pages_of_named_origins_may_send(tmp_path: Path, origins: tuple[str, ...], origin: str, allowed: bool) -> None:
    edge = Edge(tmp_path, cors_origins=origins)
    asked = edge.ask("OPTIONS", "/v1/batch", [b""], {"origin": origin, "access-control-request-method": "POST"})
    assert asked.status == (204 if allowed else 403)
    key = edge.keys.add("page", role="client")
    sent = edge.post({"batch": [_track(1)]}, "/v1/batch", {"origin": origin, "x-write-key": key})
    assert sent.headers.get("access-control-allow-origin") == (origin if allowed else None)
    assert sent.status == 200  # the key decides; the browser keeps the answer from the page
