"""Limits of keys: what is beyond is refused with the seconds to wait, in the words of the sender's protocol, and counted."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from collector_harness import Edge

from gtm_dagster.collector.rate_limits import RateLimits
from gtm_dagster.collector.response import Refused
from gtm_dagster.settings.collector_limits import RateLimit
from gtm_dagster.tracking.collector_client import Verdict, read_answer


class Clock:
    """A monotonic clock that a test moves."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr("gtm_dagster.collector.rate_limits.time", made)
    return made


def wait(limits: RateLimits, key: str, events: int) -> int | None:
    """Seconds that the refusal names; None where the events are taken."""
    try:
        limits.take(key, events)
    except Refused as refused:
        assert refused.status == 429
        return refused.retry_after
    return None


STEPS = [
    # (limit, [(seconds later, events, seconds to wait or None)])
    pytest.param(RateLimit(10, 20), [(0, 20, None), (0, 1, 1), (0.1, 1, None), (0, 1, 1)], id="burst, then the rate"),
    pytest.param(RateLimit(10, 20), [(0, 15, None), (0, 15, 1), (1, 15, None)], id="a refused request costs nothing"),
    pytest.param(RateLimit(1, 5), [(0, 5, None), (0, 3, 3), (3, 3, None)], id="the wait is that of the whole request"),
    pytest.param(RateLimit(2, 4), [(0, 10, None), (0, 1, 4), (3.4, 1, 1), (0.1, 1, None)], id="a request beyond the burst, alone"),
    pytest.param(RateLimit(0.5), [(0, 5, None), (0, 1, 2)], id="the burst is that of ten seconds"),
    pytest.param(RateLimit(10, 1), [(0, 1, None), (100, 1, None), (0, 1, 1)], id="a pause earns no more than the burst"),
    pytest.param(None, [(0, 1_000_000, None), (0, 1_000_000, None)], id="no limit"),
]  # fmt: skip


@pytest.mark.parametrize("shared", [False, True], ids=["one process", "several"])
@pytest.mark.parametrize(("limit", "steps"), STEPS)
def test_what_may_come_and_how_long_the_rest_waits(
    clock: Clock, tmp_path: Path, limit: RateLimit | None, steps: list[tuple[float, int, int | None]], shared: bool
) -> None:
    of_workers = [RateLimits(limit, shared=tmp_path if shared else None) for _ in range(2 if shared else 1)]
    found = []
    for number, (later, events, _) in enumerate(steps):
        clock.now += later
        found.append(wait(of_workers[number % len(of_workers)], "shop", events))
    assert found == [expected for _, _, expected in steps]


def test_keys_do_not_share_a_limit_and_one_may_have_its_own(clock: Clock) -> None:
    limits = RateLimits(RateLimit(1, 1), {"web": RateLimit(1, 3)})
    assert [wait(limits, "shop", 1), wait(limits, "shop", 1)] == [None, 1]
    assert [wait(limits, "web", 3), wait(limits, "crm", 1)] == [None, None]


EVENT = {"event_name": "page_viewed", "anonymous_id": "v", "timestamp": "2026-03-01T10:00:00Z"}
TRACK = {"type": "page", "anonymousId": "v", "properties": {}}
POSTHOG = {"api_key": "dev", "batch": [{"event": "$pageview", "distinct_id": "v"}]}
CASES = [
    # (path, body, headers, members of the refusal beside code and message)
    pytest.param("/ingest", EVENT, {"X-Write-Key": "dev"}, {}, id="native"),
    pytest.param("/v1/batch", {"batch": [TRACK]}, {"X-Write-Key": "dev"}, {"success": False}, id="segment"),
    pytest.param("/v1/page", TRACK, {"X-Write-Key": "dev"}, {"success": False}, id="segment, one message"),
    pytest.param("/api/s/page", TRACK, {"X-Write-Key": "dev"}, {"success": False}, id="jitsu"),
    pytest.param("/batch/", POSTHOG, {}, {"type": "throttled_error", "attr": None}, id="posthog, key in the body"),
    pytest.param("/i/v1/analytics/events", POSTHOG, {"Authorization": "Bearer dev"}, {"type": "throttled_error"}, id="posthog v1"),
    pytest.param("/cloudevents", {"specversion": "1.0", "id": "1", "source": "s", "type": "page_viewed", "data": {"anonymous_id": "v"}},
                 {"X-Write-Key": "dev", "Content-Type": "application/cloudevents+json"}, {}, id="cloudevents"),
]  # fmt: skip


@pytest.mark.parametrize(("path", "body", "headers", "members"), CASES)
def test_every_protocol_is_told_to_wait(
    edge: Edge, path: str, body: Any, headers: dict[str, str], members: dict[str, Any]
) -> None:
    app = edge.app_on(edge.log, rate_limit=RateLimit(0.25, 1))
    assert edge.post(body, path, headers, app).status == 200
    stored = edge.log.last_seq()
    refused = edge.post(body, path, headers, app)
    assert refused.status == 429 and refused.headers["content-type"] == "application/json"
    assert refused.headers["retry-after"] == "4"
    assert 0 <= int(refused.headers["x-ratelimit-reset"]) - time.time() <= 6
    document = refused.json()
    assert document["code"] == "rate_limited" and "'dev' may send 0.25 events a second" in document["message"]
    assert document.items() >= members.items()
    assert edge.log.last_seq() == stored, "nothing of a refused request is stored"
    page = edge.get("/metrics", app=app).body.decode()
    assert 'gtm_collector_rate_limited_total{write_key="dev"} 1.0' in page
    assert f'gtm_collector_requests_total{{path="{path.rstrip("/")}",status="429"}} 1.0' in page


def test_the_tracker_waits_as_long_as_it_is_told(edge: Edge) -> None:
    app = edge.app_on(edge.log, rate_limit=RateLimit(0.25, 1))
    edge.post(EVENT, app=app)
    refused = edge.post(EVENT, app=app)
    answer = read_answer(refused.status, refused.headers["retry-after"], refused.body)
    assert (answer.verdict, answer.retry_after) == (Verdict.LATER, 4)
