"""PostHog's API: how its events become events of the plan, where its key stands, and how its clients are answered."""

from __future__ import annotations

import base64
import gzip
import json
import time
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

import pytest
from collector.collector_harness import Edge
from hypothesis import given
from hypothesis import strategies as st

from gtm_dagster.collector.protocols.posthog_event import event_of
from gtm_dagster.taxonomy import load_plan

PLAN = load_plan()
NOW_US = 1_790_000_000_000_000
NOW = datetime.fromtimestamp(NOW_US / 1e6, UTC)
V1 = "/i/v1/analytics/events"


def _event(message: dict[str, Any], sent_at: str | None = None) -> dict[str, Any]:
    return event_of(message, sent_at, NOW_US, PLAN)


EVENTS = [
    ({"event": "Trial Started", "properties": {"plan": "pro", "$lib": "web", "token": "phc", "distinct_id": "u", "tags": ["a"]}}, "Trial Started", {"plan": "pro"}),
    ({"event": "paymentCompleted", "properties": {"utm_source": "x", "gclid": "y", "irclid": None, "oppref": None}}, "payment_completed", {}),
    ({"event": "$pageview", "properties": {"$pathname": "/p", "title": "P", "plan": "pro"}}, "page_viewed", {"path": "/p", "title": "P"}),
    ({"event": "$screen", "properties": {"$screen_name": "Home"}}, "page_viewed", {"title": "Home"}),
    ({"event": "$identify", "$set": {"email": "ann@example.com", "age": 4}, "$set_once": {"plan": "free", "$initial_referrer": "x"}},
     "user_identified", {"email": "ann@example.com", "plan": "free"}),
    ({"event": "$set", "properties": {"$set": {"plan": "pro"}, "$set_once": {"plan": "free"}}}, "user_identified", {"plan": "pro"}),
    ({"event": "$groupidentify", "properties": {"$group_type": "company", "$group_key": 9}}, "user_identified", {"account_id": "9"}),
    ({"event": "$create_alias", "distinct_id": "a1", "properties": {"alias": "u1"}}, "user_identified", {"alias_of": "a1"}),
    ({"event": "$autocapture", "properties": {"$el_text": "Buy"}}, "$autocapture", {}),
    ({"event": None}, None, {}),
    ({"event": ["no", "text"]}, ["no", "text"], {}),
    ({"event": "trial_started", "properties": "no object"}, "trial_started", {}),
]  # fmt: skip


@pytest.mark.parametrize(("message", "name", "properties"), EVENTS, ids=lambda value: str(value)[:40])
def test_an_event_of_posthog_becomes_one_of_the_plan(
    message: dict[str, Any], name: Any, properties: dict[str, Any]
) -> None:
    event = _event(message)
    assert (event["event_name"], event["properties"]) == (name, properties)


PERSONS = [
    ("a server names its user", {}, "u1", None),
    ("a number", {"distinct_id": 7}, "7", None),
    ("a visitor: the id is the device's", {"properties": {"$device_id": "u1"}}, None, "u1"),
    ("a visitor after a reset", {"properties": {"$device_id": "d", "$is_identified": False}}, None, "u1"),
    ("a user in a browser", {"properties": {"$device_id": "d", "$is_identified": True}}, "u1", None),
    ("a user by $user_id", {"properties": {"$device_id": "d", "$user_id": "u1"}}, "u1", None),
    ("identified just now", {"event": "$identify", "properties": {"$anon_distinct_id": "a1"}}, "u1", "a1"),
    ("without a profile", {"properties": {"$process_person_profile": False}}, None, "u1"),
    ("without a profile, version 1", {"options": {"process_person_profile": False}}, None, "u1"),
    ("alias, version 1", {"event": "$create_alias", "distinct_id": "a1", "properties": {"alias": "u1"}}, "u1", "a1"),
    ("alias from Python", {"event": "$create_alias", "distinct_id": "a1", "properties": {"alias": "u1", "$lib": "posthog-python"}}, "u1", "a1"),
    ("alias from another server", {"event": "$create_alias", "properties": {"alias": "a1", "$lib": "posthog-node"}}, "u1", "a1"),
    ("alias of a visitor", {"event": "$create_alias", "distinct_id": "a1", "properties": {"alias": "u1", "$lib": "web", "$device_id": "a1"}}, "u1", "a1"),
    ("a group that nobody is named for", {"event": "$groupidentify", "distinct_id": "$company_acme", "properties": {"$group_type": "company", "$group_key": "acme"}}, None, None),
    ("one id for all visitors without cookies", {"distinct_id": "$posthog_cookieless", "properties": {"$is_identified": False}}, None, None),
    ("the id among the properties", {"distinct_id": None, "properties": {"distinct_id": "u2"}}, "u2", None),
]  # fmt: skip


@pytest.mark.parametrize(("case", "message", "user", "anonymous"), PERSONS, ids=[case for case, *_ in PERSONS])
def test_what_the_client_says_of_the_id_decides_whose_it_is(
    case: str, message: dict[str, Any], user: str | None, anonymous: str | None
) -> None:
    event = _event({"event": "trial_started", "distinct_id": "u1", **message})
    assert (event.get("user_id"), event.get("anonymous_id")) == (user, anonymous)


CONTEXTS = [
    ({"$current_url": "https://x.test/?a=1", "$referrer": "https://news.test/", "utm_source": "google", "utm_medium": None},
     {"page_url": "https://x.test/?a=1", "referrer": "https://news.test/", "utm_source": "google"}),
    ({"$referrer": "$direct", "$ip": "203.0.113.7"}, {}),
    ({"$lib": "web", "$timezone": "Europe/Berlin", "$browser_language": "de-DE", "$raw_user_agent": "Mozilla/5.0"},
     {"device_type": "web", "timezone": "Europe/Berlin", "locale": "de-DE", "user_agent": "Mozilla/5.0"}),
    ({"$lib": "posthog-ios", "$geoip_country_code": "DE"}, {"device_type": "mobile", "country": "DE"}),
    ({"$lib": "posthog-python", "$is_server": True}, {"device_type": "api"}),
    ({"$lib": ["odd"], "$timezone": "GMT+0000", "$current_url": {"no": "text"}}, {}),
]  # fmt: skip


@pytest.mark.parametrize(("properties", "expected"), CONTEXTS, ids=lambda value: str(value)[:40])
def test_the_properties_say_page_campaign_and_device(properties: dict[str, Any], expected: dict[str, Any]) -> None:
    assert _event({"event": "trial_started", "properties": properties})["context"] == expected


def test_id_and_session_of_both_versions() -> None:
    of_v0 = _event({"uuid": "e1", "properties": {"$session_id": "s1", "$insert_id": "i1"}})
    of_v1 = _event({"uuid": "e1", "session_id": "s1", "options": {}})
    for event in (of_v0, of_v1):
        assert (event["event_id"], event["session_id"]) == ("e1", "s1")
    assert _event({"properties": {"$insert_id": "i1"}})["event_id"] == "i1"


HOUR = timedelta(hours=1)
TIMES = [
    ("clocks agree", {"timestamp": (NOW - HOUR).isoformat()}, NOW, NOW - HOUR),
    ("an hour ahead", {"timestamp": (NOW + HOUR).isoformat()}, NOW + HOUR, NOW),
    ("an hour ahead, to be believed", {"timestamp": (NOW + HOUR).isoformat(), "properties": {"$ignore_sent_at": True}}, NOW + HOUR, NOW + HOUR),
    ("the same, version 1", {"timestamp": (NOW + HOUR).isoformat(), "options": {"disable_skew_correction": True}}, NOW + HOUR, NOW + HOUR),
    ("milliseconds before it was sent", {"offset": 5_000}, None, NOW - timedelta(seconds=5)),
]  # fmt: skip


@pytest.mark.parametrize(("case", "message", "sent_at", "expected"), TIMES, ids=[case for case, *_ in TIMES])
def test_a_wrong_clock_is_put_right(
    case: str, message: dict[str, Any], sent_at: datetime | None, expected: datetime
) -> None:
    event = _event({"event": "trial_started", **message}, sent_at.isoformat() if sent_at else None)
    assert datetime.fromisoformat(event["timestamp"]) == expected


_ANY = st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9), lambda each: st.lists(each, max_size=3) | st.dictionaries(st.text(max_size=9), each, max_size=3), max_leaves=8)  # fmt: skip
_FIELDS = ("event", "uuid", "distinct_id", "timestamp", "offset", "session_id", "options", "$set")
_PROPERTIES = ("$device_id", "$user_id", "$set", "$group_key", "$lib", "alias", "$session_id", "$current_url", "plan")
_NAMES = ("$identify", "$pageview", "$create_alias", "$groupidentify", "$set", "trial_started")


@given(
    st.dictionaries(st.sampled_from(_FIELDS), _ANY, max_size=8),
    st.sampled_from(_NAMES) | _ANY,
    st.dictionaries(st.sampled_from(_PROPERTIES), _ANY, max_size=8) | _ANY,
)
def test_whatever_a_message_holds_it_becomes_something_the_door_can_judge(
    message: dict[str, Any], name: Any, properties: Any
) -> None:
    event = _event(message | {"event": name, "properties": properties})
    known = {"event_id", "event_name", "timestamp", "user_id", "anonymous_id", "session_id", "properties", "context"}
    assert {"event_name", "properties", "context"} <= set(event) <= known


def _capture(n: int, **more: Any) -> dict[str, Any]:
    moment = datetime.fromtimestamp(time.time() - 60, UTC).isoformat()
    return {"event": "trial_started", "distinct_id": f"u{n}", "uuid": f"p-{n}", "timestamp": moment, **more}


def _form(text: bytes) -> bytes:
    return b"data=" + quote(base64.b64encode(text), safe="").encode()


@pytest.mark.parametrize("path", ["/batch/", "/e/", "/e", "/capture/", "/track/", "/i/v0/e/"])
def test_the_key_in_the_body_opens_every_path(edge: Edge, path: str) -> None:
    assert edge.post({"api_key": "dev", "batch": [_capture(1)]}, path, {}).json()["accepted"] == 1


@pytest.mark.parametrize("role", ["server", "client"])
def test_bodies_as_the_clients_send_them(edge: Edge, role: str) -> None:
    key = edge.keys.add("shop", role=role)
    text = json.dumps({"api_key": key, "batch": [_capture(1)], "sent_at": datetime.now(UTC).isoformat()}).encode()
    bodies = {
        "JSON": (text, "/batch/"),
        "gzip under another type": (gzip.compress(text), "/e/?compression=gzip-js&ver=1"),
        "form": (_form(text), "/e/?compression=base64"),
        "form with the compression in it": (b"ip=1&" + _form(text) + b"&compression=base64", "/e/"),
        "form in gzip": (gzip.compress(_form(text)), "/e/"),
        "one event": (json.dumps(_capture(1) | {"token": key}).encode(), "/capture/"),
        "one event with the key in its properties": (
            json.dumps(_capture(1, properties={"token": key})).encode(),
            "/e/",
        ),
        "a list": (json.dumps([_capture(1, properties={"token": key})]).encode(), "/e/"),
        "a batch with the key in its events": (json.dumps({"batch": [_capture(1, api_key=key)]}).encode(), "/batch/"),
        "a character that is none": (text.replace(b'"u1"', b'"u1\xff"'), "/batch/"),
        "a number that is none": (text.replace(b'"u1"', b"NaN"), "/batch/"),
    }
    for name, (body, path) in bodies.items():
        answer = edge.post([body], path, {"content-type": "text/plain"})
        assert answer.status == 200, (name, answer.body)
        assert sum(answer.json()[each] for each in ("accepted", "duplicates", "quarantined")) == 1, name
    assert len([record for record in edge.records() if record.verdict == "accepted"]) == 1


UNTAKEN = {
    "no key": (json.dumps({"batch": [_capture(1)]}).encode(), 401, "no_key"),
    "a key that is none here": (json.dumps({"api_key": "phc_other", "batch": [_capture(1)]}).encode(), 401, "bad_key"),
    "a key that is no text": (json.dumps({"api_key": {"no": "text"}, "batch": []}).encode(), 401, "no_key"),
    "several keys": (
        json.dumps([_capture(1, api_key="dev"), _capture(2, api_key="other")]).encode(),
        401,
        "several_keys",
    ),
    "another token beside api_key": (
        json.dumps({"api_key": "dev", "token": "other", "batch": [_capture(1)]}).encode(),
        401,
        "several_keys",
    ),
    "nothing": (b"", 400, "unparseable"),
    "an open brace": (b"{", 400, "unparseable"),
    "a number": (b"7", 400, "unparseable"),
    "bytes": (b"\x00\x01", 400, "unparseable"),
    "a form without base64": (b"data=!!!", 400, "unparseable"),
    "gzip in a form": (_form(gzip.compress(b"{}")), 400, "packed_twice"),
    "bytes after gzip": (gzip.compress(b"{}") + b"x", 400, "bad_gzip"),
    "many events without a key": (b"[" + b"{}," * 6_000 + b"{}]", 401, "no_key"),
    "too many events": (b'{"api_key":"dev","batch":[' + b"{}," * 6_000 + b"{}]}", 413, "too_many_events"),
    "a bomb": (gzip.compress(b" " * 6_000_000), 413, "body_too_large"),
    "deep": (b'{"batch":' + b"[" * 5_000 + b"]" * 5_000 + b"}", 400, "unparseable"),
}


@pytest.mark.parametrize("case", UNTAKEN)
def test_what_cannot_be_taken_is_refused_with_code_and_message(edge: Edge, case: str) -> None:
    body, status, code = UNTAKEN[case]
    answer = edge.post([body], "/e/", {})
    assert (answer.status, answer.json()["code"]) == (status, code)
    assert answer.json()["message"] and not edge.records()


def test_a_property_by_the_name_of_token_is_no_key_beside_one(edge: Edge) -> None:
    body = json.dumps([_capture(1, api_key="dev", properties={"token": "a coupon's"}), _capture(2, api_key="dev")])
    assert edge.post([body.encode()], "/e/", {}).status == 200
    assert len(edge.records()) == 2


def test_a_key_in_a_header_goes_before_one_in_the_body(edge: Edge) -> None:
    shop = edge.keys.add("shop")
    body = {"api_key": "phc_other", "batch": [_capture(1)]}
    assert edge.post(body, "/batch/", {"x-write-key": shop}).json()["accepted"] == 1
    assert edge.post(body | {"api_key": shop}, "/batch/", {"x-write-key": "wrong"}).status == 401
    refused = edge.post(body | {"api_key": edge.keys.add("alerts", role="alerting")}, "/batch/", {})
    assert (refused.status, refused.json()["code"]) == (403, "alerting_key")


def test_other_protocols_take_no_key_from_a_body(edge: Edge) -> None:
    for path in ("/ingest", "/v1/batch", V1):
        assert edge.post({"api_key": "dev", "writeKey": "dev", "batch": [_capture(1)]}, path, {}).status == 401


def test_a_batch_is_stored_once_and_each_odd_event_costs_itself_alone(edge: Edge) -> None:
    body = {"api_key": "dev", "batch": [_capture(1), _capture(2, event="$autocapture"), "no event", _capture(3)]}
    answer = edge.post(body, "/batch/", {}).json()
    assert (answer["status"], answer["accepted"], answer["quarantined"]) == (1, 2, 2)
    assert [each["event_id"] for each in answer["refused"]] == ["p-2", None]
    again = edge.post(body, "/batch/", {}).json()
    assert (again["accepted"], again["duplicates"]) == (0, 2)


def test_version_1_is_answered_with_a_result_an_event(edge: Edge) -> None:
    batch = [_capture(1), _capture(2, event="song_played"), _capture(1), {"event": "trial_started"}]
    headers = {"authorization": "Bearer dev", "posthog-request-timestamp": datetime.now(UTC).isoformat()}
    answer = edge.post({"created_at": datetime.now(UTC).isoformat(), "batch": batch}, V1, headers)
    assert answer.status == 200
    assert answer.json()["results"] == {"p-1": {"result": "ok"}, "p-2": {"result": "drop", "details": "unknown_event"}}
    assert (answer.json()["accepted"], answer.json()["duplicates"], answer.json()["quarantined"]) == (1, 1, 2)
    assert edge.post({"batch": {}}, V1, headers).json()["code"] == "no_batch"


def test_the_header_of_version_1_says_when_it_was_sent(edge: Edge) -> None:
    ahead = timedelta(days=2)
    made, sent = datetime.now(UTC) + ahead - HOUR, datetime.now(UTC) + ahead
    headers = {"authorization": "Bearer dev", "posthog-request-timestamp": sent.isoformat()}
    edge.post({"created_at": made.isoformat(), "batch": [_capture(1, timestamp=made.isoformat())]}, V1, headers)
    assert abs(edge.records()[0].event_us / 1e6 - (datetime.now(UTC) - HOUR).timestamp()) < 30
