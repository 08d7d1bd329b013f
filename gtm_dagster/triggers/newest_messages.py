"""The newest messages of the rules and how fast they went, read from `triggers.db` by anybody beside the runner."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from msgspec import Struct

from gtm_dagster.triggers.trigger_db import reading_trigger_db

_NEWEST = """
SELECT o.rule, o.person, m.channel, m.target, m.status, m.attempts, m.last_error, o.wall_us, o.received_us IS NULL,
    coalesce(o.received_us, o.due_us), m.ended_us
FROM (
    SELECT * FROM occurrences INDEXED BY occurrences_sent WHERE outcome = 'sent' ORDER BY decided_us DESC LIMIT ?
) o LEFT JOIN outbox m ON m.action_id = o.action_id
ORDER BY o.wall_us DESC
"""


class NewestMessage(Struct, frozen=True):
    """A message that was decided at `decided_at` (UTC). `status`: of its delivery; None when it is not kept.

    `decided_seconds`, `delivered_seconds`: from the receipt of the event that led to it or, for a rule that waited
    (`waited`), from when it was due; None where it is not delivered.
    """

    rule: str
    person: str
    channel: str | None
    target: str | None
    status: str | None
    attempts: int | None
    error: str | None
    decided_at: datetime
    waited: bool
    decided_seconds: float | None
    delivered_seconds: float | None


def newest_messages(path: Path, most: int) -> list[NewestMessage]:
    """At most so many, newest first. Raises TriggerDbError, NewerFormatError."""
    with reading_trigger_db(path) as con:
        return [_message(*row) for row in con.execute(_NEWEST, (most,))]


def _message(
    rule: str, person: str, channel: str | None, target: str | None, status: str | None, attempts: int | None,
    error: str | None, decided_us: int, waited: int, since_us: int | None, ended_us: int | None,
) -> NewestMessage:  # fmt: skip
    delivered_us = ended_us if status == "delivered" else None
    return NewestMessage(
        rule, person, channel, target, status, attempts, error, datetime.fromtimestamp(decided_us / 1e6, UTC), bool(waited),
        _seconds(since_us, decided_us), _seconds(since_us, delivered_us),
    )  # fmt: skip


def _seconds(since_us: int | None, until_us: int | None) -> float | None:
    return None if since_us is None or until_us is None else max(until_us - since_us, 0) / 1e6
