"""Senders that never stop by themselves, and what a log has stored of what they sent."""

from __future__ import annotations

import threading
from collections import Counter
from pathlib import Path
from typing import Any

import requests

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
