"""Records made by hand, and frames and a file as the program from before logs had an identity wrote them."""

from __future__ import annotations

import sqlite3
import zlib
from array import array
from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any

import msgspec

from gtm_dagster.eventlog import Record
from gtm_dagster.eventlog.frames import FORMAT_1_COLUMNS

MARCH_1 = 1_772_323_200_000_000
"""2026-03-01T00:00:00Z in microseconds."""
DAY_US = 86_400_000_000


def record(event_id: str | None, **changed: Any) -> Record:
    """An accepted page view of 2026-03-01, with `changed` fields."""
    values: dict[str, Any] = {
        "write_key": "shop",
        "event_id": event_id,
        "event_name": "page_viewed",
        "event_us": MARCH_1,
        "received_us": MARCH_1 + 1,
        "anonymous_id": "a" * 32,
        "properties": "{}",
        "plan_version": "1-0-0",
    }
    return Record(**(values | changed))


def quarantined(event_id: str | None, **changed: Any) -> Record:
    """A refused event without a readable time."""
    values = {"event_us": None, "verdict": "quarantined", "reason_codes": "type", "errors": "[]", "sealed": b"\x01\x00"}
    return record(event_id, **(values | changed))


def pack_format_1(records: Sequence[Record]) -> bytes:
    """A frame of format 1: every column by its position, as version 0.1.0 packed it."""
    columns = []
    for name in FORMAT_1_COLUMNS:
        values = [getattr(each, name) for each in records]
        if values.count(values[0]) == len(values):
            columns.append((values[0], None, None, None))
            continue
        valid = None
        if None in values:
            bits = int("".join("0" if value is None else "1" for value in reversed(values)), 2)
            valid = bits.to_bytes((len(values) + 7) // 8, "little")
        if name in ("event_us", "received_us", "row_no"):
            columns.append((None, array("q", [value or 0 for value in values]).tobytes(), None, valid))
            continue
        parts = [value.encode() if isinstance(value, str) else value or b"" for value in values]
        offsets = array("i", accumulate(map(len, parts), initial=0)).tobytes()
        columns.append((None, b"".join(parts), offsets, valid))
    return zlib.compress(msgspec.msgpack.encode(columns), 1)


OLD_STATEMENTS = (
    "CREATE TABLE IF NOT EXISTS frames (first_seq INTEGER PRIMARY KEY, last_seq INTEGER NOT NULL, day TEXT NOT NULL, payload BLOB NOT NULL)",
    "CREATE TABLE IF NOT EXISTS dedup (id_key BLOB PRIMARY KEY, content BLOB NOT NULL, day TEXT NOT NULL) WITHOUT ROWID",
    "CREATE INDEX IF NOT EXISTS dedup_day ON dedup (day)",
    "CREATE TABLE IF NOT EXISTS edge_counts (day TEXT NOT NULL, status TEXT NOT NULL, n INTEGER NOT NULL, PRIMARY KEY (day, status)) WITHOUT ROWID",
    "CREATE TABLE IF NOT EXISTS consumers (name TEXT PRIMARY KEY, seq INTEGER NOT NULL) WITHOUT ROWID",
    "CREATE TABLE IF NOT EXISTS tail (only INTEGER PRIMARY KEY CHECK (only = 1), seq INTEGER NOT NULL)",
    "INSERT OR IGNORE INTO tail VALUES (1, 0)",
    "CREATE TABLE IF NOT EXISTS heartbeats (producer TEXT NOT NULL, instance TEXT NOT NULL, ts_us INTEGER NOT NULL, received_us INTEGER NOT NULL, PRIMARY KEY (producer, instance)) WITHOUT ROWID",
)
"""What version 0.1.0 executes, one after the other, whenever it opens events.db."""


def old_log(path: Path, records: Sequence[Record]) -> None:
    """events.db as version 0.1.0 wrote it: one frame for each record."""
    con = sqlite3.connect(path, isolation_level=None)
    con.execute("PRAGMA journal_mode = WAL")
    for statement in OLD_STATEMENTS:
        con.execute(statement)
    for seq, each in enumerate(records, 1):
        con.execute("INSERT INTO frames VALUES (?, ?, '2026-03-01', ?)", (seq, seq, pack_format_1([each])))
    con.execute("UPDATE tail SET seq = ?", (len(records),))
    con.close()
