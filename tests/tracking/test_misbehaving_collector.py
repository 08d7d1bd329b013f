"""A collector that answers as it likes, or not at all: what the tracker sends, how often, and what it keeps meanwhile."""

from __future__ import annotations

import random
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from lateness import Lateness

from gtm_dagster.tracking import GtmTracker, TrackerStats, buffer
from gtm_dagster.tracking.buffer import MAX_QUEUE_BYTES, MAX_REST, Buffer
from gtm_dagster.tracking.collector_client import Answer, Transport, Verdict


def send(tracker: GtmTracker, count: int, **properties: object) -> list[str]:
    return [tracker.track("page_viewed", anonymous_id="a1", properties={"n": n, **properties}) for n in range(count)]


@pytest.mark.parametrize("status", [429, 503])
def test_scenario_15_a_storm_is_met_with_four_tries_a_batch_and_then_one(recorder, make, status: int) -> None:
    """Three retries, then the batch goes back to the front, and the collector counts as away until it answers."""
    tracker = make(batch_size=4)
    for _ in range(6):
        recorder.answer(status)
    ids = send(tracker, 4)
    recorder.wait(lambda: len(recorder.batches()) == 4)
    assert not tracker.flush(5)
    assert not tracker.flush(5)
    assert len(recorder.batches()) in (5, 6), "one try for each flush, or the end of the first batch's tries and one"
    while tracker.stats().waiting:
        tracker.flush(5)
    assert all(batch.ids == ids for batch in recorder.batches())
    assert tracker.stats() == TrackerStats(sent=4, accepted=4)
    recorder.answer(status)
    send(tracker, 4)
    assert tracker.flush(30), "it answered again, so there are retries again"


def test_the_pause_between_tries_doubles_up_to_a_minute_and_is_never_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(buffer.random, "uniform", lambda least, most: most)
    waiting = Buffer(batch_size=1, flush_interval=5.0, max_queue=10, spool=None, on_drop=None)
    waiting.put("e", b"{}", 0)
    pauses = []
    for _ in range(7):
        with waiting.changed:
            waiting.take()
        began = time.monotonic()
        waiting.put_back()
        with waiting.changed:
            pauses.append(round(waiting.due() - began))
    assert pauses == [5, 10, 20, 40, 60, 60, 60]
    with waiting.changed:
        batch = waiting.take()
    waiting.settle(batch, Answer(verdict=Verdict.DONE, accepted=1))
    assert not waiting.is_collector_away
    monkeypatch.undo()
    drawn = set()
    for _ in range(5):
        waiting.put("e", b"{}", 0)
        with waiting.changed:
            waiting.take()
        waiting.put_back()
        with waiting.changed:
            drawn.add(round(waiting.due() - time.monotonic(), 3))
    assert len(drawn) == 5 and max(drawn) <= MAX_REST


def test_scenario_14_ten_minutes_without_a_collector_cost_few_requests() -> None:
    """An outage as the pauses have it, without waiting for it: at most a try every half minute once it is long."""
    away = Buffer(batch_size=50, flush_interval=5.0, max_queue=10_000, spool=None, on_drop=None)
    for n in range(200):
        away.put(f"e{n}", b"{}", 0)
    elapsed, tries = 0.0, 0
    while elapsed < 600:
        with away.changed:
            batch = away.take()
        away.put_back()
        tries += 1
        with away.changed:
            elapsed += max(0.0, away.due() - time.monotonic())
        assert [event.event_id for event in batch] == [f"e{n}" for n in range(50)], "the oldest first, in their order"
    assert 10 <= tries <= 28
    assert away.stats() == TrackerStats(waiting=200)


def test_scenario_15_the_jitter_of_retries_is_full(recorder, make, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[tuple[float, float]] = []

    def uniform(least: float, most: float) -> float:
        drawn.append((least, most))
        return 0.0

    tracker = make()
    tracker.sender.backoff = 0.5
    monkeypatch.setattr("gtm_dagster.tracking.sender.random.uniform", uniform)
    for _ in range(3):
        recorder.answer(500)
    send(tracker, 1)
    assert tracker.flush(30)
    assert drawn == [(0, 0.5), (0, 1.0), (0, 2.0)]


@pytest.mark.parametrize("status", [400, 401, 403, 422])
def test_scenario_15_a_refusal_is_not_tried_again(recorder, make, status: int) -> None:
    tracker = make()
    recorder.answer(status, {"Retry-After": "1"})
    send(tracker, 3)
    assert not tracker.flush(5)
    send(tracker, 1)
    assert tracker.flush(30)
    assert [len(batch.ids) for batch in recorder.batches()] == [3, 1]


def test_scenario_15_a_storm_of_everything_loses_nothing_and_keeps_the_order(recorder, make) -> None:
    dice = random.Random(7)
    for _ in range(60):
        recorder.answer(
            dice.choice([429, 500, 502, 503, 504, 200, 302, 404]),
            dice.choice([None, {"Retry-After": "0"}]),
            dice.choice([b"", b"<html>", b'{"accepted":', {"code": "x", "message": "y"}]),
        )
    tracker = make(batch_size=10, flush_interval=0.01)
    ids = send(tracker, 100)
    deadline = time.monotonic() + 20
    while tracker.stats().waiting and time.monotonic() < deadline:
        tracker.flush(5)
    assert tracker.stats() == TrackerStats(sent=100, accepted=100)
    first_seen = list(dict.fromkeys(event_id for batch in recorder.batches() for event_id in batch.ids))
    assert first_seen == ids


def test_what_waits_is_bounded_in_bytes_too(monkeypatch: pytest.MonkeyPatch) -> None:
    dropped: list[str] = []
    waiting = Buffer(
        batch_size=50, flush_interval=5.0, max_queue=1000, spool=None, on_drop=lambda _, ids: dropped.extend(ids)
    )
    line = b"x" * (MAX_QUEUE_BYTES // 10)
    for n in range(14):
        waiting.put(f"e{n}", line, 0)
    assert dropped == ["e0", "e1", "e2", "e3"]
    assert waiting.stats() == TrackerStats(dropped=4, waiting=10)
    with waiting.changed:
        batch = waiting.take()
    waiting.settle(batch, Answer(verdict=Verdict.DONE, accepted=10))
    waiting.put("one that is larger than all", line * 11, 0)
    assert waiting.stats().waiting == 1, "the newest stays, whatever its size"


@contextmanager
def listening(answer: bytes | None) -> Iterator[str]:
    """A server that reads something and sends `answer` without an end, a byte at a time; None: it never says anything."""
    server = socket.create_server(("127.0.0.1", 0))
    over = threading.Event()
    opened: list[socket.socket] = []

    def serve() -> None:
        while not over.is_set():
            try:
                client, _ = server.accept()
            except OSError:
                return
            opened.append(client)
            threading.Thread(target=trickle, args=(client,), daemon=True).start()

    def trickle(client: socket.socket) -> None:
        try:
            client.recv(65_536)
            client.sendall(answer or b"")
            while answer and not over.wait(0.02):
                client.sendall(b" ")
        except OSError:
            pass

    threading.Thread(target=serve, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"
    finally:
        over.set()
        server.close()
        for client in opened:
            client.close()


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(None, id="silence"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n{", id="an answer that never ends"),
    ],
)
def test_scenario_14_flush_and_close_never_wait_longer_than_they_were_given(answer: bytes | None) -> None:
    with listening(answer) as url:
        tracker = GtmTracker(url, "key", flush_interval=60)
        send(tracker, 3)
        for wait in (0.0, 0.3):
            began = time.monotonic()
            with Lateness() as late:
                assert not tracker.flush(wait)
            assert time.monotonic() - began < wait + 1 + late.lost
        began = time.monotonic()
        with Lateness() as late:
            send(tracker, 1)
            tracker.close(0.3)
        assert time.monotonic() - began < 1.5 + late.lost
        assert tracker.stats().waiting == 4


def test_an_answer_that_trickles_is_given_up_in_time() -> None:
    with listening(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n{") as url:
        transport = Transport(url, "key", timeout=0.3)
        began = time.monotonic()
        assert transport.send([b"{}"]).verdict is Verdict.LATER
        assert time.monotonic() - began < 20, "at its pace the answer takes half an hour"
        transport.close()
