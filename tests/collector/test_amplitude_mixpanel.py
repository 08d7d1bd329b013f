"""Amplitude's API and Mixpanel's: what becomes of their events and records of persons, and how they are answered."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import urlencode

import pytest
from collector.collector_harness import Edge
from hypothesis import given
from hypothesis import strategies as st

from gtm_dagster.collector.protocols.amplitude import event_of
from gtm_dagster.collector.protocols.mixpanel import profile_event
from gtm_dagster.taxonomy import load_plan

PLAN = load_plan()
NOW_US = 1_790_000_000_000_000
AMPLITUDE = [
    ("an event", {"event_type": "Trial Started", "user_id": "u1", "time": 1_789_999_000_000, "event_properties": {"plan": "pro", "tags": []}},
     {"event_name": "Trial Started", "properties": {"plan": "pro"}, "user_id": "u1", "timestamp": "2026-09-21T13:56:40+00:00", "context": {}}),
    ("a visitor's session", {"event_type": "x", "device_id": "d1", "session_id": 17, "platform": "Web", "language": "de"},
     {"event_name": "x", "properties": {}, "anonymous_id": "d1", "session_id": "17", "context": {"device_type": "web", "locale": "de"}}),
    ("no session", {"event_type": "x", "user_id": 9, "session_id": -1, "library": "amplitude-python/1"},
     {"event_name": "x", "properties": {}, "user_id": "9", "context": {"device_type": "api"}}),
    ("traits", {"event_type": "$identify", "user_id": "u1", "user_properties": {"$set": {"plan": "pro"}, "$setOnce": {"plan": "no", "role": "r"}, "age": 4}},
     {"event_name": "user_identified", "properties": {"plan": "pro", "role": "r"}, "user_id": "u1", "context": {}}),
    ("a time that is none", {"event_type": "x", "time": "soon"}, {"event_name": "x", "properties": {}, "timestamp": "soon", "context": {}}),
    ("a time beyond the calendar", {"event_type": "x", "time": 1e300}, {"event_name": "x", "properties": {}, "timestamp": 1e300, "context": {}}),
]  # fmt: skip


@pytest.mark.parametrize(("message", "expected"), [each[1:] for each in AMPLITUDE], ids=[each[0] for each in AMPLITUDE])
def test_an_event_of_amplitude(message: dict[str, Any], expected: dict[str, Any]) -> None:
    assert event_of(message, NOW_US, PLAN) == expected


def test_a_batch_of_amplitude_is_answered_with_its_code(edge: Edge) -> None:
    batch = {"api_key": "dev", "events": [{"event_type": "Trial Started", "user_id": "u1", "insert_id": "i-1"}, {"event_type": "Song Played", "user_id": "u1"}]}  # fmt: skip
    first, again = (edge.post(batch, "/2/httpapi", {}).json() for _ in range(2))
    assert (first["code"], first["events_ingested"], first["accepted"], first["quarantined"]) == (200, 2, 1, 1)
    assert again["duplicates"] == 1
    assert edge.post({"api_key": "dev"}, "/2/httpapi", {}).json()["code"] == "no_batch"


RECORDS = [
    ("traits of the plan", {"$distinct_id": "u1", "$set": {"$email": "ann@example.com", "plan": "pro", "age": 4}}, {"email": "ann@example.com", "plan": "pro"}, "u1"),
    ("those set once", {"$distinct_id": "u1", "$set_once": {"$created": "2026-01-01"}}, {"created_at": "2026-01-01"}, "u1"),
    ("another change", {"$distinct_id": "u1", "$add": {"logins": 1}}, {}, "u1"),
    ("nobody", {"$set": {"plan": "pro"}}, {"plan": "pro"}, None),
]  # fmt: skip


@pytest.mark.parametrize(
    ("record", "properties", "user_id"), [each[1:] for each in RECORDS], ids=[each[0] for each in RECORDS]
)
def test_a_record_of_a_person(record: dict[str, Any], properties: dict[str, Any], user_id: str | None) -> None:
    event = profile_event(record, NOW_US, PLAN)
    assert (event["event_name"], event["properties"], event.get("user_id")) == ("user_identified", properties, user_id)


def form(*records: dict[str, Any]) -> bytes:
    return urlencode({"data": json.dumps(records), "verbose": 1}).encode()


def test_forms_of_mixpanel_are_taken_once(edge: Edge) -> None:
    properties = {"token": "dev", "distinct_id": "u1", "time": 1795446773.4939885, "$insert_id": "m-1", "mp_lib": "python", "plan": "pro+"}  # fmt: skip
    person = {"$token": "dev", "$distinct_id": "u1", "$time": 1795446773.49, "$set": {"plan": "pro"}}
    for expected in ("accepted", "duplicates"):
        for path, record in (("/track", {"event": "Trial Started", "properties": properties}), ("/engage", person)):
            answer = edge.post(form(record), path, {}).json()
            assert (answer["status"], answer[expected]) == (1, 1), (path, answer)
    event, identified = edge.records()
    assert (event.event_name, json.loads(event.properties or ""), event.event_us) == ("trial_started", {"plan": "pro+"}, 1795446773493988)  # fmt: skip
    assert identified.event_name == "user_identified"


def test_a_visitor_of_mixpanel(edge: Edge) -> None:
    properties = {"token": "dev", "distinct_id": "$device:d1", "$insert_id": "m-2"}
    edge.post(form({"event": "trial_started", "properties": properties}), "/track", {})
    (record,) = edge.records()
    assert (record.user_id, record.anonymous_id) == (None, edge.pseudonymize("d1"))


def test_records_of_several_tokens_are_refused(edge: Edge) -> None:
    answer = edge.post(form({"$token": "dev"}, {"$token": "other"}), "/engage", {})
    assert (answer.status, answer.json()["code"]) == (401, "several_keys")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["$set", "plan", "a"]), inner),
    max_leaves=6,
)
FIELDS = ["event_type", "user_id", "device_id", "time", "session_id", "event_properties", "user_properties", "platform",
          "$distinct_id", "$set", "$set_once", "$time"]  # fmt: skip


@given(st.dictionaries(st.sampled_from(FIELDS), JSON))
def test_no_message_breaks_them(message: dict[str, Any]) -> None:
    json.dumps([event_of(message, NOW_US, PLAN), profile_event(message, NOW_US, PLAN)])
