"""The tracker of asyncio applications: same promises, and the loop goes on whatever the disk and the network do."""

from __future__ import annotations

import asyncio
import inspect
import json
import os
import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from lateness import Lateness

from gtm_dagster.tracking import AsyncGtmTracker, GtmTracker, InvalidEvent, TrackerStats
from gtm_dagster.tracking.async_tracker import TrackerOptions


@asynccontextmanager
async def longest_pause() -> AsyncIterator[list[float]]:
    """The longest time, in seconds, that the loop did not come round; one entry, valid at the end."""
    found = [0.0]

    async def watch() -> None:
        while True:
            began = time.monotonic()
            await asyncio.sleep(0)
            found[0] = max(found[0], time.monotonic() - began)
            await asyncio.sleep(0.001)

    watching = asyncio.create_task(watch())
    yield found
    watching.cancel()


def run(work) -> None:
    asyncio.run(asyncio.wait_for(work, 90))


def test_it_has_the_options_of_the_other() -> None:
    given = list(inspect.signature(GtmTracker.__init__).parameters)[3:]
    assert list(TrackerOptions.__annotations__) == given
    for name in ("track", "identify", "flush", "close", "stats"):
        one, other = (inspect.signature(getattr(each, name)) for each in (GtmTracker, AsyncGtmTracker))
        assert one == other, name


@pytest.mark.parametrize("spooled", [False, True], ids=["in memory", "with a spool"])
def test_what_was_tracked_is_delivered(recorder, tmp_path, spooled: bool) -> None:
    async def work() -> None:
        spool = tmp_path / "spool" if spooled else None
        async with AsyncGtmTracker(recorder.url, "key-1", flush_interval=60, spool=spool) as tracker:
            first = await tracker.track("page_viewed", anonymous_id="a")
            assert await tracker.flush(30)
            assert recorder.batches()[0].ids == [first]
            await asyncio.gather(
                *(tracker.track("page_viewed", anonymous_id="a", properties={"n": n}) for n in range(49))
            )
            await tracker.identify("u", "a")
            with pytest.raises(InvalidEvent):
                await tracker.track("payment_completed", user_id="u")
        assert tracker.stats() == TrackerStats(sent=51, accepted=51)
        with pytest.raises(RuntimeError, match="closed"):
            await tracker.track("page_viewed", anonymous_id="a")
        await tracker.close()

    run(work())


def test_a_collector_that_asks_to_wait_does_not_stop_the_loop(recorder) -> None:
    async def work() -> None:
        recorder.answer(503, {"Retry-After": "3"})
        async with AsyncGtmTracker(recorder.url, "key-1", flush_interval=60) as tracker:
            await tracker.track("page_viewed", anonymous_id="a")
            async with longest_pause() as pause:
                began = time.monotonic()
                with Lateness() as late:
                    assert not await tracker.flush(0.2)
                    assert time.monotonic() - began < 1 + late.lost
                    assert await tracker.flush(30)
            assert pause[0] < 0.5 + late.lost, "the loop would stand still for the three seconds"
            assert tracker.stats().accepted == 1

    run(work())


def test_a_disk_that_hangs_does_not_stop_the_loop(recorder, tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    write, entered, goes_on = os.write, threading.Event(), threading.Event()

    def hanging(file: int, data: bytes) -> int:
        entered.set()
        goes_on.wait(60)
        return write(file, data)

    async def work() -> None:
        async with AsyncGtmTracker(recorder.url, "key-1", flush_interval=60, spool=tmp_path / "s") as tracker:
            with monkeypatch.context() as patched:
                patched.setattr("gtm_dagster.tracking.spool.os.write", hanging)
                tracking = asyncio.create_task(tracker.track("page_viewed", anonymous_id="a"))
                while not entered.is_set():
                    await asyncio.sleep(0.001)
                assert not tracking.done(), "the loop comes round while the disk hangs"
                goes_on.set()
                await tracking
            assert len((tmp_path / "s").read_bytes().splitlines()) == 1
            assert await tracker.flush(30)

    run(work())


def test_a_flush_that_is_cancelled_ends_at_once_and_the_delivery_goes_on(recorder) -> None:
    async def work() -> None:
        recorder.answer(503, {"Retry-After": "1"})
        tracker = AsyncGtmTracker(recorder.url, "key-1", flush_interval=60)
        await tracker.track("page_viewed", anonymous_id="a")
        flushing = asyncio.create_task(tracker.flush())
        await asyncio.sleep(0.05)
        flushing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await flushing
        assert not tracker._tracker.buffer.listeners
        assert await tracker.flush(30)
        await tracker.close()

    run(work())


def test_a_close_that_is_cancelled_leaves_what_waits_in_the_spool(recorder, tmp_path) -> None:
    async def work() -> None:
        recorder.answer(503, {"Retry-After": "60"})
        async with asyncio.timeout(None) as limit:
            with pytest.raises(asyncio.CancelledError):
                async with AsyncGtmTracker(recorder.url, "key-1", flush_interval=60, spool=tmp_path / "s") as tracker:
                    event_id = await tracker.track("page_viewed", anonymous_id="a")
                    limit.reschedule(asyncio.get_running_loop().time() + 0.3)
            raise TimeoutError
        raise AssertionError(event_id)

    with pytest.raises(TimeoutError):
        run(work())
    deadline = time.monotonic() + 30
    while True:
        try:
            again = GtmTracker(recorder.url, "key-1", spool=tmp_path / "s")
            break
        except ValueError:
            assert time.monotonic() < deadline, "the spool is let go of"
            time.sleep(0.02)
    assert len(json.loads((tmp_path / "s").read_bytes())["event_id"]) == 36
    assert again.flush(30)
    again.close()


def test_one_tracker_serves_loops_one_after_another(recorder) -> None:
    tracker = AsyncGtmTracker(recorder.url, "key-1", flush_interval=60)

    async def work() -> None:
        await tracker.track("page_viewed", anonymous_id="a")
        assert await tracker.flush(30)

    run(work())
    run(work())
    run(tracker.close())
    assert tracker.stats().accepted == 2
