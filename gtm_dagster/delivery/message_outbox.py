"""The messages of triggers: rows that wait in a table of the trigger database until a receiver took them.

A runner adds rows in the transaction that moves its position, so a decided message is neither lost nor added twice; the
row is the queue, there is no other.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec
from msgspec import Struct

SCHEMA = """
CREATE TABLE IF NOT EXISTS outbox (
    action_id TEXT NOT NULL PRIMARY KEY,  -- the same for whoever decides it again; the webhook-id of every attempt
    rule TEXT NOT NULL,
    person TEXT NOT NULL,
    purpose TEXT NOT NULL,              -- asked again before each attempt
    channel TEXT NOT NULL,              -- webhook, slack, email, in_app
    target TEXT NOT NULL,               -- what stands behind the channel in the rule: a destination or a template
    payload TEXT NOT NULL,              -- JSON: what templates and bodies may name
    collapse_key TEXT,                  -- alerts of one key within a window are one message
    status TEXT NOT NULL,               -- due, delivered, dead, suppressed, expired
    attempts INTEGER NOT NULL,
    next_us INTEGER NOT NULL,           -- due at, microseconds UTC
    lease_until_us INTEGER NOT NULL,    -- 0: no deliverer has it
    expires_us INTEGER NOT NULL,
    received_us INTEGER NOT NULL,       -- the event's receipt at the collector
    decided_us INTEGER NOT NULL,
    ended_us INTEGER,                   -- when the status became final
    last_error TEXT,
    first_attempt INTEGER NOT NULL DEFAULT 0  -- attempts before it was put in anew by a person
);                                      -- with rowids: rows of a batch stand together, whatever their ids are
CREATE INDEX IF NOT EXISTS outbox_routes ON outbox (channel, target, next_us) WHERE status = 'due';
CREATE INDEX IF NOT EXISTS outbox_expiry ON outbox (expires_us) WHERE status = 'due';
CREATE INDEX IF NOT EXISTS outbox_person ON outbox (person);
CREATE INDEX IF NOT EXISTS outbox_ended ON outbox (ended_us) WHERE ended_us IS NOT NULL;
CREATE INDEX IF NOT EXISTS outbox_dead ON outbox (channel, target) WHERE status = 'dead';
CREATE TABLE IF NOT EXISTS attempts (
    action_id TEXT NOT NULL,
    n INTEGER NOT NULL,
    at_us INTEGER NOT NULL,
    outcome TEXT NOT NULL,              -- delivered, failed, refused (nothing was sent), unknown (sent, and no answer came)
    answer INTEGER,                     -- the HTTP or SMTP code, NULL without one
    error TEXT,
    ms REAL NOT NULL,
    PRIMARY KEY (action_id, n)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS disabled_destinations (
    name TEXT PRIMARY KEY,
    at_us INTEGER NOT NULL,
    reason TEXT NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS collapsing (
    destination TEXT NOT NULL,
    collapse_key TEXT NOT NULL,
    sent_us INTEGER NOT NULL,           -- the last message of this key: later ones wait for the end of its window
    PRIMARY KEY (destination, collapse_key)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS feed (
    action_id TEXT PRIMARY KEY,
    person TEXT NOT NULL,
    rule TEXT NOT NULL,
    content TEXT NOT NULL,              -- JSON: title, text, html, link
    created_us INTEGER NOT NULL,
    expires_us INTEGER NOT NULL,
    seen_us INTEGER,
    read_us INTEGER,
    dismissed_us INTEGER
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS feed_person ON feed (person, created_us, action_id);
CREATE INDEX IF NOT EXISTS feed_expiry ON feed (expires_us);
"""


class Message(Struct, frozen=True, kw_only=True):
    """A message that is due now. Times are microseconds UTC.

    `payload`: what bodies say and templates may name: `key`, `due_at`, and the start as `event` {id, name, at, properties},
    with the properties that the plan declares as plain; `traceparent`, where the event was part of a trace.
    """

    action_id: str
    rule: str
    person: str
    purpose: str
    channel: str
    target: str
    payload: Mapping[str, Any]
    expires_us: int
    received_us: int
    decided_us: int
    collapse_key: str | None = None


def add_messages(con: sqlite3.Connection, messages: Iterable[Message]) -> None:
    """Add messages in the caller's transaction; one that is there already stays as it is."""
    con.executemany(
        "INSERT OR IGNORE INTO outbox (action_id, rule, person, purpose, channel, target, payload, collapse_key, status,"
        " attempts, next_us, lease_until_us, expires_us, received_us, decided_us)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, 'due', 0, ?, 0, ?, ?, ?)",
        [
            (
                each.action_id, each.rule, each.person, each.purpose, each.channel, each.target,
                msgspec.json.encode(each.payload).decode(), each.collapse_key, each.decided_us, each.expires_us,
                each.received_us, each.decided_us,
            )
            for each in messages
        ],
    )  # fmt: skip
