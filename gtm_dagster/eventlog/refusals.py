"""What the edge refused, by UTC day, route, write key and reason: counted beside the log, which has none of it."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from pathlib import Path

import msgspec

from gtm_dagster.eventlog.log import Refusal
from gtm_dagster.eventlog.log_file import reading

REFUSAL_DAYS = 30
"""Days that refusals are kept."""
TABLE = """CREATE TABLE refusals (day TEXT NOT NULL, route TEXT NOT NULL, write_key TEXT NOT NULL, code TEXT NOT NULL,
  n INTEGER NOT NULL, last_us INTEGER NOT NULL, PRIMARY KEY (day, route, write_key, code)) WITHOUT ROWID"""


class Refusals(msgspec.Struct, frozen=True):
    """Refusals to store in one commit."""

    rows: tuple[Refusal, ...]


def store_refusals(con: sqlite3.Connection, refusals: Refusals) -> int:
    """Add to the counts in the transaction of `con`; returns how many requests were added."""
    con.executemany(
        "INSERT INTO refusals VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (day, route, write_key, code) "
        "DO UPDATE SET n = n + excluded.n, last_us = max(last_us, excluded.last_us)",
        [msgspec.structs.astuple(row) for row in refusals.rows],
    )
    return sum(row.n for row in refusals.rows)


def refused_since(path: Path, day: str) -> list[Refusal]:
    """The refusals of a day (ISO date) and later, the most first; [] of a log that is not there or counts none yet.

    Raises EventLogError.
    """
    if not path.exists():
        return []
    with reading(path) as con:
        if not con.execute("SELECT 1 FROM sqlite_master WHERE name = 'refusals'").fetchall():
            return []
        rows: Sequence[tuple[str, str, str, str, int, int]] = con.execute(
            "SELECT * FROM refusals WHERE day >= ? ORDER BY n DESC, day, route, write_key, code", (day,)
        ).fetchall()
    return [Refusal(*row) for row in rows]
