"""The tables of `triggers.db`, the trigger state of a deployment: one file, one runner at a time, many readers."""

from __future__ import annotations

from gtm_dagster.delivery.message_outbox import SCHEMA as OUTBOX

_MESSAGE = (
    "action_id, rule, person, purpose, channel, target, payload, collapse_key, status, attempts, next_us, lease_until_us,"
    " expires_us, received_us, decided_us, ended_us, last_error, first_attempt"
)
STATE = """
CREATE TABLE IF NOT EXISTS persons (id INTEGER PRIMARY KEY, person TEXT NOT NULL UNIQUE, profile BLOB, ledger BLOB);
CREATE TABLE IF NOT EXISTS links (anonymous TEXT PRIMARY KEY, user TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS states (
    person INTEGER NOT NULL,            -- persons.id
    rule TEXT NOT NULL,
    state BLOB NOT NULL,                -- rule_state.encoded
    wake_us INTEGER,                    -- when its timer is due, microseconds UTC, NULL without one
    at_end INTEGER NOT NULL DEFAULT 0,  -- 1: it waits for the end of the log
    PRIMARY KEY (person, rule)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS states_wake ON states (wake_us) WHERE wake_us IS NOT NULL;
CREATE INDEX IF NOT EXISTS states_at_end ON states (at_end) WHERE at_end = 1;
CREATE TABLE IF NOT EXISTS occurrences (
    rule TEXT NOT NULL,
    trigger_event_id TEXT NOT NULL,
    person TEXT NOT NULL,
    key TEXT NOT NULL,
    outcome TEXT NOT NULL,              -- open, held, sent, not_sent
    reason TEXT,                        -- of outcomes.REASONS; for held: quiet, behind or blind
    detail TEXT,
    action_id TEXT,                     -- of sent
    started_us INTEGER NOT NULL,        -- the start's own time
    due_us INTEGER,
    received_us INTEGER,                -- the receipt of the record that was being read, NULL for a timer
    decided_us INTEGER NOT NULL,        -- by the log's clock
    wall_us INTEGER NOT NULL,           -- by the clock of the machine
    next_us INTEGER,                    -- when it is asked again (held), or when the rule could act again (not_sent)
    start TEXT,                         -- JSON of what a message may say of the event; NULL when not known or not needed
    PRIMARY KEY (rule, trigger_event_id)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS occurrences_person ON occurrences (person);
CREATE INDEX IF NOT EXISTS occurrences_decided ON occurrences (decided_us);
CREATE INDEX IF NOT EXISTS occurrences_pending ON occurrences (rule, outcome) WHERE outcome IN ('open', 'held');
CREATE TABLE IF NOT EXISTS rules (name TEXT PRIMARY KEY, rule BLOB NOT NULL, status TEXT NOT NULL, faults INTEGER NOT NULL)
    WITHOUT ROWID;                      -- status: active, paused, degraded
CREATE TABLE IF NOT EXISTS faults (rule TEXT NOT NULL, person TEXT NOT NULL, event_id TEXT NOT NULL, at_us INTEGER NOT NULL,
    error TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS position (id INTEGER PRIMARY KEY CHECK (id = 1), log_id TEXT NOT NULL, seq INTEGER NOT NULL,
    received_us INTEGER, clock_us INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS watches (write_key TEXT PRIMARY KEY, watch BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS senders (event TEXT NOT NULL, write_key TEXT NOT NULL, PRIMARY KEY (event, write_key)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS runner (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
"""
ERASED = """
CREATE TABLE IF NOT EXISTS erased (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    hash BLOB NOT NULL UNIQUE,          -- of a person who was erased, under the key `erasure_key` of the table runner
    at_us INTEGER NOT NULL
);
CREATE INDEX IF NOT EXISTS links_user ON links (user);
"""
NEWEST = """
CREATE INDEX IF NOT EXISTS occurrences_sent ON occurrences (decided_us) WHERE outcome = 'sent';
"""
BY_EVENT = """
CREATE TABLE occurrences_by_event (     -- what one event leads to stands together, however many rules there are
    trigger_event_id TEXT NOT NULL, rule TEXT NOT NULL, person TEXT NOT NULL, key TEXT NOT NULL, outcome TEXT NOT NULL,
    reason TEXT, detail TEXT, action_id TEXT, started_us INTEGER NOT NULL, due_us INTEGER, received_us INTEGER,
    decided_us INTEGER NOT NULL, wall_us INTEGER NOT NULL, next_us INTEGER, start TEXT,
    PRIMARY KEY (trigger_event_id, rule)
) WITHOUT ROWID;
INSERT INTO occurrences_by_event SELECT trigger_event_id, rule, person, key, outcome, reason, detail, action_id, started_us,
    due_us, received_us, decided_us, wall_us, next_us, start FROM occurrences ORDER BY trigger_event_id, rule;
DROP TABLE occurrences;
ALTER TABLE occurrences_by_event RENAME TO occurrences;
CREATE INDEX occurrences_person ON occurrences (person);
CREATE INDEX occurrences_decided ON occurrences (decided_us);
CREATE INDEX occurrences_pending ON occurrences (outcome) WHERE outcome IN ('open', 'held');
CREATE INDEX occurrences_sent ON occurrences (decided_us) WHERE outcome = 'sent';
"""
SHARDS = """
CREATE TABLE IF NOT EXISTS shards (
    number INTEGER PRIMARY KEY,
    standing BLOB NOT NULL              -- sharded.shard.Meta, as the shard's worker committed it last
);
"""
OUTBOX_BY_ROWID = f"""
ALTER TABLE outbox RENAME TO outbox_by_id;
DROP INDEX outbox_routes;
DROP INDEX outbox_expiry;
DROP INDEX outbox_person;
DROP INDEX outbox_ended;
DROP INDEX outbox_dead;
{OUTBOX}
INSERT INTO outbox ({_MESSAGE}) SELECT {_MESSAGE} FROM outbox_by_id ORDER BY decided_us, action_id;
DROP TABLE outbox_by_id;
"""  # noqa: S608 - names of this module
"""A message is a kilobyte: by its id, which is random, each began a page or two of its own, and each mark of it wrote them anew."""
DECIDED = """
DROP INDEX occurrences_decided;
CREATE INDEX occurrences_decided ON occurrences (decided_us) WHERE outcome IN ('sent', 'not_sent');
"""
"""What is open stands in `occurrences_pending` alone: half of what opens is decided soon, and left one page and dirtied another."""
SCHEMA = STATE + OUTBOX
