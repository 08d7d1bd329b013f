"""Erasing a person from `triggers.db`, and knowing those who were: what still comes of them opens nothing."""

from __future__ import annotations

import secrets
import sqlite3
import time
from collections.abc import Iterable
from contextlib import closing
from hashlib import blake2b
from pathlib import Path

from gtm_dagster.delivery.message_store import erase_messages
from gtm_dagster.triggers.trigger_db import TriggerDbError, open_trigger_db
from gtm_dagster.triggers.trigger_event import TriggerEvent

CHECKPOINT_SECONDS = 10.0


class Tombstones:
    """Who was erased, as the file had it at the last look: hashes under a key of the file, no ids."""

    def __init__(self, key: bytes = b"", hashes: Iterable[bytes] = ()) -> None:
        self._newest = 0
        self._key = key
        self._hashes = set(hashes)

    def add(self, person: str) -> bytes:
        """One more; returns the hash."""
        self._hashes.add(found := _hash(self._key, person))
        return found

    def look(self, con: sqlite3.Connection) -> bool:
        """Whether somebody was erased since the last look."""
        (newest,) = con.execute("SELECT coalesce(max(id), 0) FROM erased").fetchone()
        if newest == self._newest:
            return False
        self._newest, self._key = newest, _key(con)
        self._hashes = {row[0] for row in con.execute("SELECT hash FROM erased")}
        return True

    def cover(self, event: TriggerEvent) -> bool:
        """Whether an event is of somebody who was erased."""
        return bool(self._hashes) and any(self.has(name) for name in (event.user_id, event.anonymous_id) if name)

    def has(self, person: str) -> bool:
        """Whether a person was erased."""
        return bool(self._hashes) and _hash(self._key, person) in self._hashes


def erase_person(path: Path, persons: Iterable[str], now_us: int) -> dict[str, int]:
    """Delete all of some ids of a person (as the log has them: pseudonyms) and of the anonymous ids linked to them: states,
    profile, ledger, decisions, messages with their attempts, feed, faults. Returns rows by table.

    The runner and the deliverer may go on meanwhile; a message under way may still arrive. No byte of it stays in the file
    or its WAL. Raises TriggerDbError, for a file that cannot be used or whose WAL somebody keeps reading: run it again.
    """
    with closing(open_trigger_db(path)) as con:
        con.execute("BEGIN IMMEDIATE")
        try:
            rows = erase_rows(con, set(persons), now_us)
            con.execute("COMMIT")
        except BaseException:
            con.execute("ROLLBACK")
            raise
        until = time.monotonic() + CHECKPOINT_SECONDS
        while con.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]:
            if time.monotonic() > until:
                raise TriggerDbError(
                    f"{path}: the person is erased, but another program keeps its write-ahead log busy, which has them "
                    "still; erase them again when it is closed"
                )
            time.sleep(0.02)
    return rows


def erase_rows(con: sqlite3.Connection, persons: set[str], now_us: int) -> dict[str, int]:
    """What `erase_person` does, in the caller's transaction: the bytes leave the WAL with its next checkpoint."""
    linked = {
        row[0] for person in persons for row in con.execute("SELECT anonymous FROM links WHERE user = ?", (person,))
    }
    rows = dict.fromkeys(("states", "persons", "links", "occurrences", "messages", "faults"), 0)
    key = _key(con)
    for person in sorted(persons | linked):
        for table, statement in _DELETIONS.items():
            rows[table] += con.execute(statement, (person,)).rowcount
        rows["messages"] += erase_messages(con, person)
        con.execute("INSERT OR IGNORE INTO erased (hash, at_us) VALUES (?, ?)", (_hash(key, person), now_us))
    return rows


def _key(con: sqlite3.Connection) -> bytes:
    """The key of this file's hashes; made at the first erasure."""
    row = con.execute("SELECT value FROM runner WHERE name = 'erasure_key'").fetchone()
    if row is None:
        row = (secrets.token_hex(32),)
        con.execute("INSERT INTO runner VALUES ('erasure_key', ?)", row)
    return bytes.fromhex(row[0])


def _hash(key: bytes, person: str) -> bytes:
    return blake2b(person.encode(), key=key, digest_size=16).digest()


_DELETIONS = {
    "states": "DELETE FROM states WHERE person = (SELECT id FROM persons WHERE person = ?)",
    "persons": "DELETE FROM persons WHERE person = ?",
    "links": "DELETE FROM links WHERE ?1 IN (anonymous, user)",
    "occurrences": "DELETE FROM occurrences WHERE person = ?",
    "faults": "DELETE FROM faults WHERE person = ?",
}
"""By table; states go first, since they name their person by its number."""
