"""The limit on waiting events: they count until the log is done with them, whatever became of their request."""

from __future__ import annotations

import asyncio
import gc
import json
import weakref
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest
from collector_harness import Edge, LiveWriter, call

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


class Log(LiveWriter):
    """A log whose appends the test completes."""

    def __init__(self) -> None:
        self.futures: list[Future[Any]] = []
        self.fault: str | None = None

    def submit(self, records: list[Any]) -> Future[Any]:
        self.futures.append(Future())
        return self.futures[-1]

    def writer_fault(self) -> str | None:
        return self.fault


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0)


@pytest.mark.parametrize("ends", ["the log fails", "the client goes away", "the log is too slow"])
def test_events_wait_until_the_log_is_done_with_them(edge: Edge, monkeypatch: pytest.MonkeyPatch, ends: str) -> None:
    log = Log()
    app = edge.app_on(log, max_waiting_events=2)
    if ends == "the log is too slow":
        monkeypatch.setattr("gtm_dagster.collector.commits.COMMIT_SECONDS", 0.05)

    async def scenario() -> None:
        request = asyncio.create_task(call(app, "POST", "/ingest", [body("a", "b")], KEY))
        await until(lambda: log.futures)
        if ends == "the client goes away":
            request.cancel()
        if ends != "the log fails":
            await asyncio.gather(request, return_exceptions=True)
            refused = await call(app, "POST", "/ingest", [body("c")], KEY)
            assert (refused.status, refused.json()["code"]) == (503, "queue_full"), "the log still keeps both events"
        log.futures[0].set_exception(EventLogError("disk full"))
        await asyncio.gather(request, return_exceptions=True)
        following = asyncio.create_task(call(app, "POST", "/ingest", [body("c", "d")], KEY))
        await until(lambda: len(log.futures) > 1 or following.done())
        assert not following.done(), following.result().body
        log.futures[1].set_exception(EventLogError("disk full"))
        await following

    asyncio.run(scenario())
    assert waiting(edge, app) == 0


def test_a_log_that_never_commits_keeps_no_more_events_than_may_wait(
    edge: Edge, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("gtm_dagster.collector.commits.COMMIT_SECONDS", 0.05)
    log, app = Log(), None
    app = edge.app_on(log, max_waiting_events=100)
    codes: Counter[str] = Counter()

    async def scenario() -> None:
        for number in range(12):
            sent = body(*(f"{number}-{n}" for n in range(50)))
            for answer in await asyncio.gather(*[call(app, "POST", "/ingest", [sent], KEY) for _ in range(3)]):
                assert answer.status == 503 and int(answer.headers["retry-after"]) >= 1
                codes[answer.json()["code"]] += 1
        assert len(log.futures) == 2, "the log keeps 100 events"
        live = await call(app, "GET", "/livez", [b""], {})
        assert live.status == 503 and "has not committed" in live.json()["message"]
        for future in log.futures:
            future.set_exception(EventLogError("database is locked"))
        await until(lambda: app._commits.waiting == 0)
        assert (await call(app, "GET", "/livez", [b""], {})).status == 200

    asyncio.run(scenario(), debug=True)
    gc.collect()
    assert codes == {"log_slow": 2, "queue_full": 34}
    assert not [record for record in caplog.records if record.name == "asyncio" and record.levelname == "ERROR"]


def test_what_the_log_refused_is_freed_with_its_answer(edge: Edge, caplog: pytest.LogCaptureFixture) -> None:
    """Cycles are seldom looked for, so one that holds the events of a request would fill the memory while the disk is full."""
    caplog.set_level("CRITICAL", "gtm_dagster.collector")  # a captured line keeps the error that it says
    log = Log()
    app = edge.app_on(log)

    async def scenario() -> None:
        request = asyncio.create_task(call(app, "POST", "/ingest", [body("a")], KEY))
        await until(lambda: log.futures)
        error = EventLogError("disk full")
        known = weakref.ref(error)
        log.futures.pop().set_exception(error)
        del error
        assert (await request).status == 503
        assert known() is None

    gc.disable()
    try:
        asyncio.run(scenario())
    finally:
        gc.enable()


def test_a_dead_writer_of_the_log_is_named(edge: Edge) -> None:
    log = Log()
    app = edge.app_on(log)
    assert edge.get("/livez", app=app).status == 200
    log.fault = "InvalidStateError"
    answer = edge.get("/livez", app=app)
    assert answer.status == 503 and "InvalidStateError" in answer.json()["message"]


def test_heartbeats_for_a_log_that_never_commits_are_few(edge: Edge, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gtm_dagster.collector.commits.COMMIT_SECONDS", 0.05)
    monkeypatch.setattr("gtm_dagster.collector.commits.MAX_WAITING_BEATS", 2)

    class BeatLog(Log):
        def submit_beat(self, *_: object) -> Future[Any]:
            return self.submit([])

    log = BeatLog()
    app = edge.app_on(log)

    async def scenario() -> list[str]:
        beats = [call(app, "POST", "/heartbeat", [b'{"producer":"shop"}'], KEY) for _ in range(4)]
        return [answer.json()["code"] for answer in await asyncio.gather(*beats)]

    assert sorted(asyncio.run(scenario())) == ["log_slow", "log_slow", "queue_full", "queue_full"]
    assert len(log.futures) == 2
