"""`traceparent`: taken as the standard says, kept with the event, no part of what it says, passed on by webhooks."""

from __future__ import annotations

import re

import pytest
from collector_harness import Edge

from gtm_dagster.admission.trace_context import trace_id_of, traceparent
from gtm_dagster.privacy.consent import REQUIRED

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
GOOD = f"00-{TRACE}-00f067aa0ba902b7-01"


@pytest.mark.parametrize(
    ("header", "trace_id"),
    [
        pytest.param(GOOD, TRACE, id="the standard's own example"),
        pytest.param(f" {GOOD} ", TRACE, id="blanks around it"),
        pytest.param(f"cc-{TRACE}-00f067aa0ba902b7-01-what-comes", TRACE, id="a later version may say more"),
        pytest.param(f"{GOOD}-more", None, id="version 00 says no more"),
        pytest.param(f"ff-{TRACE}-00f067aa0ba902b7-01", None, id="no version"),
        pytest.param(f"00-{'0' * 32}-00f067aa0ba902b7-01", None, id="no trace"),
        pytest.param(f"00-{TRACE}-{'0' * 16}-01", None, id="no span"),
        pytest.param(GOOD.upper(), None, id="capitals"),
        pytest.param(GOOD[:-1], None, id="cut off"),
        pytest.param("ada@example.com", None, id="anything else"),
        pytest.param("", None, id="empty"),
        pytest.param(None, None, id="none"),
    ],
)
def test_what_a_header_names(header: str | None, trace_id: str | None) -> None:
    assert trace_id_of(None if header is None else header.encode()) == trace_id


def test_the_trace_is_kept_with_every_event_of_a_request(edge: Edge) -> None:
    event = {"event_name": "page_viewed", "anonymous_id": "v", "event_id": "3f0c9a52-9a31-4d7c-8f5e-6b0f3f4f5a11"}
    slow = {**event, "event_id": "b", "properties": {"path": "/x"}, "context": {"page_url": "https://a.example/\u00e9"}}
    headers = {"X-Write-Key": "dev", "Traceparent": GOOD}
    assert edge.post([event, slow, {"event_name": "none"}], headers=headers).json()["accepted"] == 2
    edge.post([{**event, "event_id": "c"}], headers={"X-Write-Key": "dev", "Traceparent": "ada@example.com"})
    assert [record.trace_id for record in edge.records()] == [TRACE, TRACE, TRACE, None]
    again = {**headers, "Traceparent": GOOD.replace(TRACE, "a" * 32)}
    answer = edge.post([event], headers=again).json()
    assert (answer["duplicates"], answer["results"][0].get("errors")) == (1, []), "the trace is no content"


def test_without_consent_no_trace_is_kept(edge: Edge) -> None:
    app = edge.app_on(edge.log, REQUIRED)
    event = {"event_name": "page_viewed", "anonymous_id": "v"}
    answer = edge.post([event], headers={"X-Write-Key": "dev", "Traceparent": GOOD}, app=app).json()
    assert answer["suppressed"] == 1
    assert [record.trace_id for record in edge.records()] == [None]


def test_what_is_passed_on() -> None:
    known = traceparent(TRACE, "m1", "episode")
    assert known.startswith(f"00-{TRACE}-") and trace_id_of(known.encode()) == TRACE
    own = [traceparent(trace_id, message, "episode") for trace_id, message in ((None, "m1"), ("ada@example.com", "m2"))]
    assert len({trace_id_of(header.encode()) for header in own}) == 1, "messages of an episode share a trace"
    assert len(set(own)) == 2 and own[0] == traceparent(None, "m1", "episode"), (
        "each message is a span, at every attempt"
    )
    assert all(re.fullmatch(r"00-[0-9a-f]{32}-[0-9a-f]{16}-01", header) for header in (known, *own))
