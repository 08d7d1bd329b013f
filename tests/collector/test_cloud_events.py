"""CloudEvents: how their attributes and data become events, in each of their three forms, and what becomes of odd ones."""

from __future__ import annotations

import base64
import json
import time
from datetime import UTC, datetime
from typing import Any

import pytest
from collector.collector_harness import Edge

from gtm_dagster.collector.protocols.cloud_events import event_of, name_of
from gtm_dagster.taxonomy import load_plan

PLAN = load_plan()
JSON = "application/cloudevents+json"
BATCH = "application/cloudevents-batch+json"


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("trial_started", "trial_started"),
        ("Trial Started", "Trial Started"),  # an alias of the plan
        ("com.acme.trial_started", "trial_started"),
        ("com.acme.paymentCompleted", "payment_completed"),
        ("com.acme.trial_started.v2", "trial_started"),
        ("com.acme.song_played", "com.acme.song_played"),
        ("com.acme.", "com.acme."),
        ("v1", "v1"),
        (7, 7),
        (None, None),
    ],
)
def test_a_type_names_an_event_of_the_plan(kind: Any, name: Any) -> None:
    assert name_of(kind, PLAN) == name


CASES = [
    ("subject is the user", {"subject": "u1", "data": {"plan": "pro"}}, {"user_id": "u1", "properties": {"plan": "pro"}}),
    ("data names the person", {"subject": "orders/7", "data": {"user_id": 9, "anonymous_id": "a", "session_id": "s", "plan": "pro"}},
     {"user_id": "9", "anonymous_id": "a", "session_id": "s", "properties": {"plan": "pro"}}),
    ("data in the form of this collector", {"data": {"anonymous_id": "a", "properties": {"plan": "pro"}, "context": {"source": "x"}}},
     {"anonymous_id": "a", "properties": {"plan": "pro"}, "context": {"source": "x"}}),
    ("nested values stay behind", {"data": {"plan": "pro", "tags": ["a"], "more": {"k": 1}}}, {"properties": {"plan": "pro"}}),
    ("no data", {}, {"properties": {}}),
    ("data in base64", {"data_base64": base64.b64encode(b'{"plan":"pro"}').decode()}, {"properties": {"plan": "pro"}}),
    ("base64 of no JSON goes on, to be refused", {"data_base64": "AAEC"}, {"properties": "AAEC"}),
    ("data that is no object goes on, to be refused", {"data": [1]}, {"properties": [1]}),
    ("id and time", {"id": "e1", "time": "2026-11-29T00:00:00Z"}, {"event_id": "e1", "timestamp": "2026-11-29T00:00:00Z", "properties": {}}),
]  # fmt: skip


@pytest.mark.parametrize(("case", "given", "expected"), CASES, ids=[case for case, _, _ in CASES])
def test_attributes_and_data_become_an_event(case: str, given: dict[str, Any], expected: dict[str, Any]) -> None:
    event = event_of({"type": "com.acme.trial_started", "source": "/app", "specversion": "1.0", **given}, PLAN)
    assert event == {"event_name": "trial_started", **expected}


def _one(n: int, **more: Any) -> dict[str, Any]:
    moment = datetime.fromtimestamp(time.time() - 60, UTC).isoformat()
    attributes = {
        "specversion": "1.0",
        "id": f"c-{n}",
        "source": "/app",
        "type": "com.acme.trial_started",
        "time": moment,
    }
    return {**attributes, "subject": f"u{n}", "data": {"plan": "pro"}, **more}


def _headers(**more: str) -> dict[str, str]:
    return {"x-write-key": "dev"} | {name.replace("_", "-"): value for name, value in more.items()}


def _binary(n: int) -> dict[str, str]:
    return _headers(**{f"ce_{name}": value for name, value in _one(n).items() if isinstance(value, str)})


@pytest.mark.parametrize("path", ["/ingest", "/cloudevents"])
def test_each_form_is_stored_once_at_both_paths(edge: Edge, path: str) -> None:
    forms = [
        (_one(1), _headers(content_type=f"{JSON}; charset=utf-8")),
        ([_one(2), _one(3, type="com.acme.song_played"), _one(2)], _headers(content_type=BATCH.upper())),
        ({"plan": "pro"}, _binary(4)),
    ]
    for body, headers in forms:
        assert edge.post(body, path, headers).status == 200
    assert sorted(each.event_id for each in edge.records() if each.verdict == "accepted") == ["c-1", "c-2", "c-4"]
    assert [each.event_id for each in edge.records() if each.verdict == "quarantined"] == ["c-3"]
    for body, headers in forms:
        assert edge.post(body, path, headers).json()["accepted"] == 0


def test_a_path_of_its_own_needs_no_content_type(edge: Edge) -> None:
    assert edge.post(_one(1), "/cloudevents").json()["accepted"] == 1
    assert edge.post([], "/cloudevents").json()["accepted"] == 0


def test_the_body_of_attributes_in_headers_is_data_whatever_it_looks_like(edge: Edge) -> None:
    assert edge.post(b"", "/ingest", _binary(1)).json()["accepted"] == 1
    assert (
        edge.post({"plan": "\u017elu"}, "/ingest", _binary(2) | {"ce-subject": "k%C5%AF%C5%88"}).json()["accepted"] == 1
    )
    assert edge.records()[1].user_id == edge.pseudonymize("kůň")
    answer = edge.post([_one(3)], "/ingest", _binary(4)).json()
    assert answer["results"][0]["event_id"] == "c-4"
    assert answer["results"][0]["status"] == "quarantined"


@pytest.mark.parametrize(
    ("body", "headers", "status", "code"),
    [
        (b"not JSON", _headers(content_type=JSON), 400, "unparseable"),
        (b"not JSON", _binary(1), 400, "unparseable"),
        (b"{}", _headers(content_type="application/cloudevents+avro"), 415, "unsupported_format"),
        (b"{}", {"content-type": JSON}, 401, "no_key"),
    ],
)
def test_what_cannot_be_taken_is_refused_with_code_and_message(
    edge: Edge, body: bytes, headers: dict[str, str], status: int, code: str
) -> None:
    answer = edge.post([body], "/ingest", headers)
    assert (answer.status, answer.json()["code"]) == (status, code)
    assert answer.json()["message"]


@pytest.mark.parametrize(
    "data", [b"[" * 5_000 + b"]" * 5_000, json.dumps({"plan": "x" * 70_000}).encode()], ids=["deep", "large"]
)
def test_data_that_is_not_looked_into_is_quarantined_under_its_id(edge: Edge, data: bytes) -> None:
    envelope = json.dumps(_one(1, data=0)).encode().replace(b'"data": 0', b'"data": ' + data)
    for body, headers, event_id in ((data, _binary(2), "c-2"), (envelope, _headers(content_type=JSON), None)):
        result = edge.post([body], "/ingest", headers).json()["results"][0]
        assert result["status"] == "quarantined"
        assert result["event_id"] in (event_id, None)


def test_native_events_are_native_whatever_json_type_they_are_sent_with(edge: Edge) -> None:
    event = {"event_name": "page_viewed", "anonymous_id": "v", "event_id": "n1", "properties": {}}
    for n, headers in enumerate(({"content-type": "application/json"}, {"content-type": "text/plain"}, {"ce-id": "x"})):
        assert edge.post(event | {"event_id": f"n{n}"}, "/ingest", _headers() | headers).json()["accepted"] == 1
