"""A real collector in a process of its own: killed, restarted, stopped. An answer is a promise."""

from __future__ import annotations

import signal
import threading
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import requests
from collector_server import Server

from gtm_dagster.eventlog.sqlite import SqliteEventLog


class Load:
    """Threads that send batches until the server is gone, and what was answered."""

    def __init__(self, url: str, batches: list[list[dict[str, Any]]], threads: int = 4) -> None:
        self.acked: list[str] = []
        self.left = list(batches)
        self.enough = threading.Event()
        self._lock = threading.Lock()
        self._url = url
        self._threads = [threading.Thread(target=self._send) for _ in range(threads)]
        for thread in self._threads:
            thread.start()

    def _send(self) -> None:
        with requests.Session() as session:
            while True:
                with self._lock:
                    if not self.left:
                        return
                    batch = self.left.pop()
                if not self._posted(session, batch):
                    with self._lock:
                        self.left.append(batch)
                    return

    def _posted(self, session: requests.Session, batch: list[dict[str, Any]]) -> bool:
        try:
            answer = session.post(f"{self._url}/ingest", json=batch, headers={"X-Write-Key": "dev"}, timeout=20)
        except requests.RequestException:
            return False
        if answer.status_code != 200:
            assert answer.status_code == 503 and answer.headers["Retry-After"].isdigit(), answer.text
            return False
        assert [r["status"] for r in answer.json()["results"]].count("quarantined") == 0
        with self._lock:
            self.acked += [event["event_id"] for event in batch]
            if len(self.acked) > 300:
                self.enough.set()
        return True

    def finish(self) -> None:
        for thread in self._threads:
            thread.join(timeout=30)
            assert not thread.is_alive()


def batches(name: str, amount: int) -> list[list[dict[str, Any]]]:
    return [
        [
            {
                "event_id": f"{name}-{batch}-{n}",
                "event_name": "page_viewed",
                "timestamp": "2026-03-01T10:00:00Z",
                "anonymous_id": f"v{batch}",
            }
            for n in range(5)
        ]
        for batch in range(amount)
    ]


def stored(state_dir: Path) -> Counter[str | None]:
    log = SqliteEventLog(state_dir / "events.db")
    records, last = log.read_records(0, 1_000_000)
    assert log.count(0, last) == len(records) == last
    log.close()
    return Counter(record.event_id for record in records)


def test_every_answered_event_survives_kill_9_exactly_once(tmp_path: Path) -> None:
    acked: set[str] = set()
    unacked: list[list[dict[str, Any]]] = []
    for round_no in range(3):
        server = Server(tmp_path)
        load = Load(server.url, [*batches(f"r{round_no}", 2000), *unacked])
        assert load.enough.wait(30)
        assert server.stop(signal.SIGKILL) == -signal.SIGKILL
        load.finish()
        acked |= set(load.acked)
        unacked = load.left[-40:]  # the last ones back are those cut off in flight
        found = stored(tmp_path)
        assert acked <= set(found), "an answered event is lost"
        assert set(found.values()) == {1}, "an event is stored twice"
    server = Server(tmp_path)
    load = Load(server.url, unacked)
    load.finish()
    assert not load.left
    assert server.stop(signal.SIGTERM) == 0
    found = stored(tmp_path)
    assert acked | set(load.acked) <= set(found) and set(found.values()) == {1}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_under_load_loses_nothing_and_exits_0(tmp_path: Path, number: signal.Signals) -> None:
    server = Server(tmp_path)
    load = Load(server.url, batches("s", 4000))
    assert load.enough.wait(30)
    assert server.stop(number) == 0
    load.finish()
    assert load.left, "the load ended before the stop"
    found = stored(tmp_path)
    assert set(load.acked) <= set(found) and set(found.values()) == {1}
    assert server.errors == ""


def test_real_requests_that_are_refused_early_get_their_answer(tmp_path: Path) -> None:
    server = Server(tmp_path)
    try:
        key = {"X-Write-Key": "dev"}
        big = requests.post(f"{server.url}/ingest", data=b" " * 6_000_000, headers=key, timeout=20)
        assert big.status_code == 413 and big.json()["code"] == "body_too_large"
        chunked = requests.post(f"{server.url}/ingest", data=iter([b"[", b"]"]), headers=key, timeout=20)
        assert chunked.status_code == 200
        no_key = requests.post(f"{server.url}/ingest", data=b"[]", timeout=20)
        assert no_key.status_code == 401 and set(no_key.json()) == {"code", "message"}
    finally:
        assert server.stop(signal.SIGTERM) == 0
