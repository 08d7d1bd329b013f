"""Messages that nobody sends any more although they did not arrive: listed, and put in anew by a person."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from gtm_dagster.delivery.message_store import MessageStore
from gtm_dagster.delivery.receivers import IN_APP, NoReceiver, destination_of
from gtm_dagster.settings.destinations import Destination

CHUNK = 500


@dataclass(frozen=True)
class DeadLetter:
    """A message that was given up, or that expired after it was tried. `unknown`: it may have arrived. Times: us UTC."""

    action_id: str
    rule: str
    destination: str
    status: str
    attempts: int
    decided_us: int
    ended_us: int
    error: str | None
    unknown: bool
    at_most_once: bool


def dead_letters(
    store: MessageStore, destinations: Sequence[Destination], *, rule: str | None = None, destination: str | None = None,
    since_us: int = 0,
) -> Iterator[DeadLetter]:  # fmt: skip
    """Dead letters of a rule, of a destination, ended at or after `since_us`; oldest first.

    What expired before it was tried once is none: nobody refused it.
    """
    rows = store.con.execute(
        "SELECT o.action_id, o.rule, o.channel, o.target, o.status, o.attempts, o.decided_us, o.ended_us, o.last_error,"
        " a.outcome FROM outbox o INDEXED BY outbox_ended LEFT JOIN attempts a ON a.action_id = o.action_id AND a.n = o.attempts"
        " WHERE o.ended_us >= ? AND (o.status = 'dead' OR (o.status = 'expired' AND o.attempts > 0)) AND (? IS NULL OR o.rule = ?)"
        " ORDER BY o.ended_us, o.action_id",
        (since_us, rule, rule),
    )
    for action_id, its_rule, channel, target, status, attempts, decided_us, ended_us, error, outcome in rows:
        name, once = _destination(destinations, channel, target)
        if destination in (None, name):
            yield DeadLetter(action_id, its_rule, name, status, attempts, decided_us, ended_us, error, outcome == "unknown", once)  # fmt: skip


def replay(store: MessageStore, letters: Sequence[DeadLetter], now_us: int) -> int:
    """Make messages due at once, with all their attempts, and as long to live as they once had; returns how many.

    They keep their ids: a receiver that has one already drops the copy.
    """
    done = 0
    for begin in range(0, len(letters), CHUNK):
        with store.transaction():
            for each in letters[begin : begin + CHUNK]:
                done += store.con.execute(
                    "UPDATE outbox SET status = 'due', first_attempt = attempts, next_us = :now, lease_until_us = 0,"
                    " ended_us = NULL, expires_us = max(expires_us, :now + expires_us - decided_us)"
                    " WHERE action_id = :id AND status = :status",
                    {"now": now_us, "id": each.action_id, "status": each.status},
                ).rowcount
    return done


def _destination(destinations: Sequence[Destination], channel: str, target: str) -> tuple[str, bool]:
    if channel == IN_APP:
        return IN_APP, False
    try:
        found, _ = destination_of(destinations, channel, target)
    except NoReceiver:
        return target if channel == "webhook" else channel, channel == "email"
    return found.name, found.at_most_once
