"""The limit on waiting events: whatever becomes of a request, its events stop counting when it is over."""

from __future__ import annotations

import asyncio
import json
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest
from collector_harness import Edge, call

from gtm_dagster.eventlog import EventLogError

KEY = {"X-Write-Key": "dev"}


def body(*ids: str) -> bytes:
    events = [
        {"event_id": id, "event_name": "page_viewed", "timestamp": "2026-03-01T10:00:00Z", "anonymous_id": "a"}
        for id in ids
    ]
    return json.dumps(events).encode()


def waiting(edge: Edge, app: Any) -> float:
    lines = edge.get("/metrics", app=app).body.decode().splitlines()
    return float(next(line.rpartition(" ")[2] for line in lines if line.startswith("gtm_collector_waiting_events ")))


def test_stored_events_no_longer_wait(tmp_path: Path) -> None:
    edge = Edge(tmp_path, max_waiting_events=2)
    statuses = [edge.post(body(f"a{n}", f"b{n}")).status for n in range(3)]
    assert statuses == [200, 200, 200]
    assert waiting(edge, edge.app) == 0
    edge.log.close()


class Log:
    """A log whose appends the test completes."""

    def __init__(self) -> None:
        self.futures: list[Future[Any]] = []

    def submit(self, records: list[Any]) -> Future[Any]:
        self.futures.append(Future())
        return self.futures[-1]


@pytest.mark.parametrize("ends", ["the log fails", "the client goes away", "the log is too slow"])
def test_events_of_a_request_that_failed_no_longer_wait(edge: Edge, monkeypatch: pytest.MonkeyPatch, ends: str) -> None:
    log = Log()
    app = edge.app_on(log, max_waiting_events=2)
    if ends == "the log is too slow":
        monkeypatch.setattr("gtm_dagster.collector.commits.COMMIT_SECONDS", 0.05)

    async def scenario() -> None:
        request = asyncio.create_task(call(app, "POST", "/ingest", [body("a", "b")], KEY))
        async with asyncio.timeout(20):
            while not log.futures:
                await asyncio.sleep(0)
        if ends == "the log fails":
            log.futures[0].set_exception(EventLogError("disk full"))
        elif ends == "the client goes away":
            request.cancel()
        await asyncio.gather(request, return_exceptions=True)
        following = asyncio.create_task(call(app, "POST", "/ingest", [body("c", "d")], KEY))
        async with asyncio.timeout(20):
            while len(log.futures) < 2:
                assert not following.done(), following.result().body
                await asyncio.sleep(0)
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)

    asyncio.run(scenario())
    assert waiting(edge, app) == 0
