"""What the live runner keeps of itself in `triggers.db`: position, rules and their status, watches, who sends what."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping

import msgspec

from gtm_dagster.eventlog import Position
from gtm_dagster.triggers.compiled_rule import Rule
from gtm_dagster.triggers.heartbeat_watch import Watch

MOST_FAULTS_KEPT = 1000
_encode = msgspec.msgpack.Encoder().encode
_watch = msgspec.msgpack.Decoder(Watch).decode
_rule = msgspec.msgpack.Decoder(Rule).decode


def stored_position(con: sqlite3.Connection) -> tuple[Position, int] | None:
    """The position and the log's clock there (microseconds UTC)."""
    row = con.execute("SELECT log_id, seq, received_us, clock_us FROM position").fetchone()
    return None if row is None else (Position(row[0], row[1], row[2]), row[3])


def store_position(con: sqlite3.Connection, at: Position, clock_us: int) -> None:
    con.execute("INSERT OR REPLACE INTO position VALUES (1, ?, ?, ?, ?)", (at.log_id, at.seq, at.received_us, clock_us))


def stored_rules(con: sqlite3.Connection) -> tuple[Rule, ...]:
    """The rules as they ran, by name."""
    return tuple(_rule(row[0]) for row in con.execute("SELECT rule FROM rules ORDER BY name"))


def store_rules(con: sqlite3.Connection, rules: Iterable[Rule]) -> None:
    """`rules` run from now on: a changed one that was degraded is active again, a paused one stays so."""
    before = dict(con.execute("SELECT name, rule FROM rules"))
    after = {rule.name: _encode(rule) for rule in rules}
    for name in before.keys() - after.keys():
        con.execute("DELETE FROM rules WHERE name = ?", (name,))
    for name, data in after.items():
        if name not in before:
            con.execute("INSERT INTO rules VALUES (?, ?, 'active', 0)", (name, data))
        elif _rule(before[name]) != _rule(data):
            con.execute(
                "UPDATE rules SET rule = ?, faults = 0, status = replace(status, 'degraded', 'active') WHERE name = ?",
                (data, name),
            )


def rule_statuses(con: sqlite3.Connection) -> dict[str, tuple[str, int]]:
    """(status, faults) of each rule."""
    return {name: (status, faults) for name, status, faults in con.execute("SELECT name, status, faults FROM rules")}


def set_status(con: sqlite3.Connection, name: str, status: str) -> None:
    con.execute("UPDATE rules SET status = ?, faults = CASE ? WHEN 'active' THEN 0 ELSE faults END WHERE name = ?", (status, status, name))  # fmt: skip


def stored_watches(con: sqlite3.Connection) -> dict[str, Watch]:
    return {key: _watch(data) for key, data in con.execute("SELECT write_key, watch FROM watches")}


def store_watches(con: sqlite3.Connection, watches: Mapping[str, Watch]) -> None:
    if watches:
        con.executemany("INSERT OR REPLACE INTO watches VALUES (?, ?)", [(k, _encode(w)) for k, w in watches.items()])


def stored_senders(con: sqlite3.Connection) -> dict[str, set[str]]:
    senders: dict[str, set[str]] = {}
    for event, key in con.execute("SELECT event, write_key FROM senders"):
        senders.setdefault(event, set()).add(key)
    return senders


def store_senders(con: sqlite3.Connection, senders: Mapping[str, Iterable[str]]) -> None:
    con.executemany(
        "INSERT OR IGNORE INTO senders VALUES (?, ?)", [(event, key) for event, keys in senders.items() for key in keys]
    )


def note(con: sqlite3.Connection, name: str, value: str | None) -> None:
    """Say something of the runner to those who only read the file; None takes it back."""
    if value is None:
        con.execute("DELETE FROM runner WHERE name = ?", (name,))
    else:
        con.execute("INSERT OR REPLACE INTO runner VALUES (?, ?)", (name, value))


def notes(con: sqlite3.Connection) -> dict[str, str]:
    return dict(con.execute("SELECT name, value FROM runner").fetchall())


def end_old_rows(con: sqlite3.Connection, before_us: int, most: int) -> int:
    """Delete decided starts of before a moment, at most `most`, and all faults but the newest; returns how many starts."""
    con.execute("DELETE FROM faults WHERE rowid <= (SELECT max(rowid) FROM faults) - ?", (MOST_FAULTS_KEPT,))
    return con.execute(
        "DELETE FROM occurrences WHERE (rule, trigger_event_id) IN (SELECT rule, trigger_event_id FROM occurrences "
        "WHERE decided_us < ? AND outcome IN ('sent', 'not_sent') LIMIT ?)",
        (before_us, most),
    ).rowcount
