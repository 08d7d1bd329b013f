"""Messages of triggers in a database, destinations on loopback, and a worker on a clock that a test moves."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from gtm_dagster.delivery.message_outbox import SCHEMA, Message, add_messages
from gtm_dagster.delivery.message_templates import MessageTemplates
from gtm_dagster.delivery.message_worker import MessageWorker
from gtm_dagster.delivery.worker_wiring import Wiring
from gtm_dagster.settings.destinations import Destination

SECOND = 1_000_000
HOUR = 3600 * SECOND
START = 1_796_083_200 * SECOND  # 2026-12-01T00:00:00Z
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
LOOPBACK = ("127.0.0.0/8",)


def message(action_id: str, **given: Any) -> Message:
    """A message to the webhook `crm`, decided at START, worth sending for 30 days."""
    values = {
        "rule": "nudge", "person": "p1", "purpose": "service", "channel": "webhook", "target": "crm",
        "payload": {
            "key": None, "due_at": "2026-12-01T00:00:00Z",
            "event": {"id": f"e-{action_id}", "name": "trial_started", "properties": {"plan": "pro"}},
        },
        "expires_us": START + 30 * 24 * HOUR, "received_us": START, "decided_us": START,
    }  # fmt: skip
    return Message(action_id=action_id, **{**values, **given})


def put(path: Path, *messages: Message) -> None:
    """Add messages, as a runner does."""
    with closing(sqlite3.connect(path)) as con:
        con.executescript(SCHEMA)
        with con:
            add_messages(con, messages)


def rows(path: Path, statement: str, *values: object) -> list[tuple[Any, ...]]:
    """What a statement finds."""
    with closing(sqlite3.connect(path)) as con:
        return con.execute(statement, values).fetchall()


def statuses(path: Path) -> dict[str, tuple[str, int, str | None]]:
    """(status, attempts, last_error) by action id."""
    return {row[0]: row[1:] for row in rows(path, "SELECT action_id, status, attempts, last_error FROM outbox")}


def webhook(name: str, url: str, **given: Any) -> Destination:
    """A destination on loopback without a limit worth waiting for."""
    values = {"allow": LOOPBACK, "per_second": 1000.0, "secret_env": "SECRET", "timeout_seconds": 5.0}
    return Destination(name=name, url=url, **{**values, **given})


class Bench:
    """A worker whose clock stands where a test puts it."""

    def __init__(
        self, path: Path, destinations: Sequence[Destination], templates: Path | None = None, **given: Any
    ) -> None:
        self.path = path
        self.now_us = START
        self.alerts: list[tuple[str, str]] = []
        self.counted: list[tuple[str, str, str]] = []
        values = {
            "environ": {"SECRET": SECRET},
            "templates": MessageTemplates(templates or path.parent / "templates"),
            "allowed": lambda con, message: None,
            "alert": lambda name, words: self.alerts.append((name, words)),
            "observe": lambda name, outcome, message, at_us: self.counted.append((name, outcome, message.action_id)),
            "clock_us": lambda: self.now_us,
        }
        self.worker = MessageWorker(path, Wiring(destinations=destinations, **{**values, **given}))

    def round(self) -> None:
        """One round, and all that it began."""
        self.worker.round()
        while self.worker.settle():
            pass

    def run_to(self, until_us: int) -> list[int]:
        """Go from one due message to the next; returns the times at which rounds had something to do."""
        times = []
        while True:
            due = rows(self.path, "SELECT min(next_us) FROM outbox WHERE status = 'due'")[0][0]
            if due is None or max(due, self.now_us) > until_us:
                self.now_us = max(self.now_us, until_us)
                return times
            self.now_us = max(due, self.now_us)
            times.append(self.now_us)
            self.round()
            if rows(self.path, "SELECT min(next_us) FROM outbox WHERE status = 'due'")[0][0] == due:
                self.now_us += SECOND  # it waits for its destination


@contextmanager
def bench(path: Path, destinations: Sequence[Destination], **given: Any) -> Iterator[Bench]:
    """A worker, closed with the block."""
    made = Bench(path, destinations, **given)
    try:
        yield made
    finally:
        made.worker.close()
