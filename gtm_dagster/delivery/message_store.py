"""The outbox as a deliverer sees it: what is due, by destination; leases; how attempts ended.

One connection, one thread. A lease is fenced by the number of its attempt: who comes late marks nothing.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec

from gtm_dagster.delivery.attempt import Attempt, Leased
from gtm_dagster.delivery.message_outbox import SCHEMA

BUSY_SECONDS = 30.0
KEPT_US = 90 * 86_400_000_000
"""90 days: as long as an ended message is listed and a copy of it is not sent again."""
_FREE = "status = 'due' AND next_us <= :now AND lease_until_us <= :now"
_EXPIRED = (
    "action_id IN (SELECT action_id FROM outbox INDEXED BY outbox_expiry WHERE status = 'due' AND expires_us <= :now"
    " AND lease_until_us <= :now LIMIT :most)"
)
_COLUMNS = (
    "action_id, rule, person, purpose, channel, target, payload, attempts, attempts - first_attempt, expires_us, received_us,"
    " decided_us, COALESCE(collapse_key, rule)"
)
CHECKPOINT = "PRAGMA wal_autocheckpoint = 16000"
"""64 MB: the same pages change again and again, and each checkpoint writes all of them and waits for the disk twice.

Beside rules that run live nobody comes so far: `wal_checkpoints` is done before.
"""
Route = tuple[str, str]
"""A channel and what stands behind it in the rule."""


def open_database(path: Path, busy_seconds: float = BUSY_SECONDS) -> sqlite3.Connection:
    """A connection to the trigger database, whose tables of messages are there. Raises sqlite3.Error."""
    con = sqlite3.connect(path, timeout=busy_seconds, isolation_level=None, check_same_thread=False)
    try:
        con.execute("PRAGMA journal_mode = WAL")
        con.execute("PRAGMA synchronous = FULL")
        con.execute("PRAGMA secure_delete = ON")
        con.execute(CHECKPOINT)
        con.executescript(SCHEMA)
    except BaseException:
        con.close()
        raise
    return con


class MessageStore:
    """Messages of one database. Times are microseconds UTC."""

    def __init__(self, con: sqlite3.Connection, turn: threading.Lock | None = None) -> None:
        self.con, self._turn = con, turn or threading.Lock()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """One write transaction; it waits for other writers, for those of this process by `turn`."""
        with self._turn:
            self.con.execute("BEGIN IMMEDIATE")
            try:
                yield
                self.con.execute("COMMIT")
            except BaseException:
                self.con.execute("ROLLBACK")
                raise

    def data_version(self) -> int:
        """A number that changes when another connection commits."""
        return int(self.con.execute("PRAGMA data_version").fetchone()[0])

    def routes(self) -> list[Route]:
        """Every channel and target that messages wait for: a seek each, however many messages wait."""
        found: list[Route] = []
        at = ("", "")
        while row := self.con.execute(
            "SELECT channel, target FROM outbox INDEXED BY outbox_routes WHERE status = 'due' AND (channel, target) > (?, ?)"
            " ORDER BY channel, target LIMIT 1",
            at,
        ).fetchone():
            at = (row[0], row[1])
            found.append(at)
        return found

    def is_due(self, route: Route, now_us: int) -> bool:
        """Whether a message of a route may be taken."""
        statement = (
            f"SELECT 1 FROM outbox INDEXED BY outbox_routes WHERE channel = :c AND target = :t AND {_FREE} LIMIT 1"  # noqa: S608
        )
        return self.con.execute(statement, {"c": route[0], "t": route[1], "now": now_us}).fetchone() is not None

    def next_due(self, route: Route, now_us: int) -> int | None:
        """When the first message of a route is due that is not due yet."""
        row = self.con.execute(
            "SELECT min(next_us) FROM outbox INDEXED BY outbox_routes"
            " WHERE status = 'due' AND channel = ? AND target = ? AND next_us > ?",
            (*route, now_us),
        ).fetchone()
        return None if row[0] is None else int(row[0])

    def due(self, routes: Sequence[Route], now_us: int, most: int) -> list[tuple[Leased, bool]]:
        """Messages of some routes that may be taken, longest waiting first, and whether a lease of each ended unmarked."""
        found: list[tuple[int, str, Leased, bool]] = []
        statement = (
            f"SELECT next_us, lease_until_us, {_COLUMNS} FROM outbox INDEXED BY outbox_routes"  # noqa: S608
            f" WHERE channel = :c AND target = :t AND {_FREE} ORDER BY next_us LIMIT :most"
        )
        for channel, target in routes:
            rows = self.con.execute(statement, {"c": channel, "t": target, "now": now_us, "most": most})
            found += [(row[0], row[2], _leased(row[2:]), row[1] > 0) for row in rows]
        found.sort(key=lambda each: each[:2])
        return [(message, lost) for _, _, message, lost in found[:most]]

    def lease(self, message: Leased, until_us: int) -> Leased:
        """Take a message in the caller's transaction: an attempt begins, which is counted at once."""
        self.con.execute(
            "UPDATE outbox SET attempts = attempts + 1, lease_until_us = ? WHERE action_id = ?",
            (until_us, message.action_id),
        )
        return replace(message, attempt=message.attempt + 1, since_replay=message.since_replay + 1)

    def postpone(self, message: Leased, until_us: int) -> None:
        """A message waits without an attempt, until the window of its alerts is over."""
        self.con.execute("UPDATE outbox SET next_us = ? WHERE action_id = ?", (until_us, message.action_id))

    def end(self, message: Leased, status: str, at_us: int, error: str | None) -> bool:
        """A message's last word, if this attempt still has it: delivered, dead, suppressed or expired."""
        done = self.con.execute(
            "UPDATE outbox SET status = ?, ended_us = ?, last_error = ?, lease_until_us = 0"
            " WHERE action_id = ? AND attempts = ? AND status = 'due'",
            (status, at_us, error, message.action_id, message.attempt),
        )
        return done.rowcount == 1

    def retry(self, message: Leased, next_us: int, error: str | None) -> bool:
        """The attempt failed, and another one is at `next_us`."""
        done = self.con.execute(
            "UPDATE outbox SET next_us = ?, last_error = ?, lease_until_us = 0"
            " WHERE action_id = ? AND attempts = ? AND status = 'due'",
            (next_us, error, message.action_id, message.attempt),
        )
        return done.rowcount == 1

    def record(self, message: Leased, attempt: Attempt, at_us: int) -> None:
        """Write an attempt down, unless the message was erased meanwhile."""
        self.con.execute(
            "INSERT OR REPLACE INTO attempts SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7"
            " WHERE EXISTS (SELECT 1 FROM outbox WHERE action_id = ?1)",
            (message.action_id, message.attempt, at_us, attempt.outcome, attempt.code, attempt.error, attempt.seconds * 1e3),
        )  # fmt: skip

    def expire(self, now_us: int, most: int = 1_000) -> list[Leased]:
        """End at most so many messages that it is too late for and that nobody sends."""
        statement = (
            f"UPDATE outbox SET status = 'expired', ended_us = :now, lease_until_us = 0 WHERE {_EXPIRED}"  # noqa: S608
            f" RETURNING {_COLUMNS}"
        )
        return [_leased(row) for row in self.con.execute(statement, {"now": now_us, "most": most}).fetchall()]

    def disabled(self) -> dict[str, str]:
        """Destinations that want no more messages, with the reason."""
        return dict(self.con.execute("SELECT name, reason FROM disabled_destinations").fetchall())

    def disable(self, name: str, reason: str, at_us: int) -> bool:
        """Send nothing to a destination any more; False when it is so already."""
        done = self.con.execute("INSERT OR IGNORE INTO disabled_destinations VALUES (?, ?, ?)", (name, at_us, reason))
        return done.rowcount == 1

    def enable(self, name: str) -> bool:
        """Send to a destination again; False when it was not disabled."""
        return self.con.execute("DELETE FROM disabled_destinations WHERE name = ?", (name,)).rowcount == 1

    def window_began(self, destination: str, key: str) -> int | None:
        """When alerts of this key were last sent."""
        row = self.con.execute(
            "SELECT sent_us FROM collapsing WHERE destination = ? AND collapse_key = ?", (destination, key)
        ).fetchone()
        return None if row is None else int(row[0])

    def begin_window(self, destination: str, key: str, at_us: int) -> None:
        """Alerts of this key are sent now."""
        self.con.execute("INSERT OR REPLACE INTO collapsing VALUES (?, ?, ?)", (destination, key, at_us))

    def prune(self, now_us: int, most: int = 1_000) -> int:
        """Delete at most so many messages that ended more than KEPT_US ago, their attempts, and what the feed shows no more."""
        with self.transaction():
            ids = self.con.execute(
                "SELECT action_id FROM outbox INDEXED BY outbox_ended WHERE ended_us < ? LIMIT ?",
                (now_us - KEPT_US, most),
            ).fetchall()
            for table in ("attempts", "outbox"):
                self.con.executemany(f"DELETE FROM {table} WHERE action_id = ?", ids)  # noqa: S608
            feed = self.con.execute(
                "DELETE FROM feed WHERE action_id IN (SELECT action_id FROM feed WHERE expires_us < ? LIMIT ?)", (now_us, most)
            )  # fmt: skip
            self.con.execute("DELETE FROM collapsing WHERE sent_us < ?", (now_us - KEPT_US,))
        return len(ids) + feed.rowcount

    def waiting(self) -> list[tuple[str, str, int, int]]:
        """(channel, target, messages, least next_us) of what waits."""
        return self.con.execute(
            "SELECT channel, target, count(*), min(next_us) FROM outbox INDEXED BY outbox_routes WHERE status = 'due'"
            " GROUP BY channel, target"
        ).fetchall()

    def dead(self) -> list[tuple[str, str, int]]:
        """(channel, target, messages) of what was given up."""
        return self.con.execute(
            "SELECT channel, target, count(*) FROM outbox INDEXED BY outbox_dead WHERE status = 'dead' GROUP BY channel, target"
        ).fetchall()


def erase_messages(con: sqlite3.Connection, person: str) -> int:
    """Delete everything of a person in the caller's transaction; returns how many rows. Its bytes go with them (secure_delete)."""
    con.execute("DELETE FROM attempts WHERE action_id IN (SELECT action_id FROM outbox WHERE person = ?)", (person,))
    rows = con.execute("DELETE FROM outbox WHERE person = ?", (person,)).rowcount
    return rows + con.execute("DELETE FROM feed WHERE person = ?", (person,)).rowcount


def _leased(row: Sequence[Any]) -> Leased:
    return Leased(*row[:6], msgspec.json.decode(row[6]), *row[7:])  # type: ignore[call-arg]
