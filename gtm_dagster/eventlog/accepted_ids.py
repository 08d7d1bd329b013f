"""Which events the log has accepted: the key of each id, a digest of its content and its offset, for `dedup_days`.

A whole group is looked up in one statement and remembered in one. The key of a UUIDv7 begins with its time, so that ids
that are made now lie side by side: with hashes alone each event dirtied two pages of 4 KB somewhere in the table, and with
5 M ids in it that cost four times as much as here. Up to migration 0003 ids lay in `dedup`, keyed by hash; nothing is added to it.
"""

from __future__ import annotations

import hashlib
import sqlite3
from datetime import date
from operator import attrgetter

import msgspec
from msgspec.structs import astuple

from gtm_dagster.admission.record import DEFAULTS, LANDING_COLUMNS, Record
from gtm_dagster.eventlog.frames import FORMAT_1_COLUMNS

_COLUMNS = [name for name, _ in LANDING_COLUMNS]
_SENT = slice(_COLUMNS.index("user_id"), _COLUMNS.index("consent") + 1)
"""The columns with what the sender says of an event, but for its name and time."""
_LATER = [
    name
    for name in _COLUMNS
    if name not in (*FORMAT_1_COLUMNS, "rules", "key_role", "bot_reason", "trace_id", "sent_with", "original_us")
]
"""Columns that came after 0.1.0 and hold what was sent."""
_LATER_AT = [(_COLUMNS.index(name), name, DEFAULTS.get(name)) for name in _LATER]
_sent_hashed = attrgetter(
    *(name for name in FORMAT_1_COLUMNS if name not in ("received_us", "plan_version", "raw", "sealed", "row_no"))
)
_encode = msgspec.msgpack.Encoder().encode
_blake2b = hashlib.blake2b

_UNSENT = bytes(4)
_DAY_US = 86_400_000_000
_KEY, _CONTENT, _OFFSET = 18, 8, 6
"""Bytes of a key, of which six are the time of a UUIDv7, of a digest and of an offset."""
_FORGOTTEN_AT_ONCE = 200
_SLOTS = """WITH RECURSIVE slot(at) AS (VALUES (1) UNION ALL SELECT at + {size} FROM slot WHERE at + {size} <= length(?1)) """
_LOOK_UP = _SLOTS + "SELECT id_key, {columns} FROM slot CROSS JOIN {table} ON id_key = substr(?1, at, {size})"  # noqa: S608 - names and numbers of this module
_FIND = _LOOK_UP.format(table="known_ids", columns="content, seq", size=_KEY)
_FIND_HASHED = _LOOK_UP.format(table="dedup", columns="content", size=16)
_REMEMBER = _SLOTS.format(size=_KEY + _CONTENT + _OFFSET) + (  # noqa: S608 - numbers of this module
    f"INSERT INTO known_ids (id_key, content, seq, day) SELECT substr(?1, at, {_KEY}), substr(?1, at + {_KEY}, {_CONTENT}),"  # noqa: S608 - the same
    f" substr(?1, at + {_KEY + _CONTENT}, {_OFFSET}), ?2 FROM slot"
)
_OFFSETS_OF = "SELECT seq FROM known_ids WHERE id_key = ?1 AND seq IS NOT NULL"
_OFFSETS_OF_REFUSED = "SELECT seq FROM refused_ids WHERE id_key = ?1 ORDER BY seq DESC LIMIT ?2"


def statuses_of(con: sqlite3.Connection, records: list[Record], seq: int = 0) -> tuple[list[str], list[int | None]]:
    """The status and the offset of each record in the order of appending; `seq`: the newest offset before them.

    The status is its verdict, and for a second copy of an accepted one `duplicate`, or `conflict` when its content
    differs. The offset of such a copy is that of the accepted one, None where it was accepted before migration 0006.
    The new ids, and those of refused events, are remembered in the transaction of `con`.
    """
    statuses = [record.verdict for record in records]
    places = [place for place, status in enumerate(statuses) if status == "accepted"]
    offsets: list[int | None] = list(range(seq + 1, seq + 1 + len(records)))
    if places:
        _find_copies(con, records, places, statuses, offsets)
    if len(places) != len(records):
        _remember_refused(con, records, statuses, offsets)
    return statuses, offsets


def offsets_of(con: sqlite3.Connection, write_key: str, event_id: str, most: int) -> list[int]:
    """Offsets of the accepted event of a stored id and of its refused copies, the newest `most`, newest first.

    Those of before migration 0006, and of ids that are forgotten, are not known.
    """
    key = _key_of(write_key, event_id)
    found = [int.from_bytes(seq, "big") for (seq,) in con.execute(_OFFSETS_OF, (key,))]
    found += [seq for (seq,) in con.execute(_OFFSETS_OF_REFUSED, (key, most))]
    return sorted(found, reverse=True)[:most]


def _find_copies(
    con: sqlite3.Connection,
    records: list[Record],
    places: list[int],
    statuses: list[str],
    offsets: list[int | None],
) -> None:
    """Put statuses and offsets of copies right, and remember the accepted ones, which stand at `places`."""
    accepted = records if len(places) == len(records) else [records[place] for place in places]
    keys = [_key_of(record.write_key, record.event_id or "") for record in accepted]
    contents = [content_of(record) for record in accepted]
    known: dict[bytes, tuple[bytes, bytes | None]] = {
        key: (content, at) for key, content, at in con.execute(_FIND, (b"".join(sorted(keys)),))
    }
    hashed = _hashed(con, accepted)
    new: dict[int, list[bytes]] = {}
    first = (offsets[0] or 0) - 1
    copies: list[tuple[int, bytes | None]] = []
    for place, key, content in zip(places, keys, contents, strict=True):
        record = records[place]
        existing, at = known.get(key, (None, None))
        if existing is None and hashed:
            existing = hashed.get(_hashed_key(record))
            content = content if existing is None else _hashed_content(record)
        if existing is None:
            at = (first + 1 + place - len(copies)).to_bytes(_OFFSET, "big")
            known[key] = content, at
            new.setdefault(record.received_us // _DAY_US, []).append(key + content + at)
        else:
            statuses[place] = "duplicate" if same_content(existing, content) else "conflict"
            copies.append((place, at))
    for day, entries in new.items():
        con.execute(_REMEMBER, (b"".join(sorted(entries)), day))
    if copies:
        _skip(offsets, copies, first)


def _skip(offsets: list[int | None], copies: list[tuple[int, bytes | None]], seq: int) -> None:
    """Number what is stored from `seq` + 1 on; a copy has the offset of the one that is stored."""
    of_copies = dict(copies)
    for place in range(len(offsets)):
        if place in of_copies:
            at = of_copies[place]
            offsets[place] = None if at is None else int.from_bytes(at, "big")
        else:
            seq += 1
            offsets[place] = seq


def _remember_refused(
    con: sqlite3.Connection, records: list[Record], statuses: list[str], offsets: list[int | None]
) -> None:
    """Note where the quarantined events with an id lie; of one without consent nothing is kept."""
    rows = [
        (_key_of(record.write_key, record.event_id), offset, record.received_us // _DAY_US)
        for record, status, offset in zip(records, statuses, offsets, strict=True)
        if status == "quarantined" and record.event_id
    ]
    con.executemany("INSERT OR IGNORE INTO refused_ids (id_key, seq, day) VALUES (?, ?, ?)", sorted(rows))


def forget(con: sqlite3.Connection, before: date) -> tuple[int, bool]:
    """Forget a few of the ids that were received on UTC days before this one; how many, and whether there may be more."""
    return _forget(con, "known_ids", (before - date(1970, 1, 1)).days)


def forget_hashed(con: sqlite3.Connection, before: date) -> tuple[int, bool]:
    """As `forget`, the ids of before migration 0003."""
    return _forget(con, "dedup", before.isoformat())


def forget_refused(con: sqlite3.Connection, before: date) -> tuple[int, bool]:
    """As `forget`, the ids of refused events."""
    return _forget(con, "refused_ids", (before - date(1970, 1, 1)).days)


def _forget(con: sqlite3.Connection, table: str, before: int | str) -> tuple[int, bool]:
    """The next ids of the oldest day in the order of their keys, which is that of the table."""
    (day,) = con.execute(f"SELECT min(day) FROM {table}").fetchone()  # noqa: S608 - a name of this module
    if day is None or day >= before:
        return 0, False
    keys = con.execute(f"SELECT id_key FROM {table} WHERE day = ? ORDER BY id_key LIMIT ?", (day, _FORGOTTEN_AT_ONCE))  # noqa: S608 - a name of this module
    last = keys.fetchall()[-1][0]
    return con.execute(f"DELETE FROM {table} WHERE day = ? AND id_key <= ?", (day, last)).rowcount, True  # noqa: S608 - a name of this module


def id_key(record: Record) -> bytes:
    """18 bytes of (write_key, event_id); those of UUIDv7s are in the order of their times."""
    return _key_of(record.write_key, record.event_id or "")


def _key_of(write_key: str, event_id: str) -> bytes:
    digest = _blake2b(f"{write_key}\x00{event_id}".encode(), digest_size=_KEY).digest()
    if len(event_id) == 36 and event_id[14] == "7":
        try:
            return (bytes.fromhex(event_id[:8] + event_id[9:13]) + digest)[:_KEY]
        except ValueError:
            pass
    return digest


def content_of(record: Record) -> bytes:
    """What two copies of an event are compared by: four bytes of the time as sent, and four of a digest of the rest.

    A time that the collector moved counts as it was sent: how far it is moved differs with each sending. A time that is the
    moment of receipt was not sent: `same_content` takes any other for the same. A column that came later counts where it
    differs from its default, so an event that is sent again after an upgrade is a duplicate.
    """
    us = record.event_us if record.original_us is None else record.original_us
    sent_at = _UNSENT if us is None or us == record.received_us else (us & 0xFFFFFFFF).to_bytes(4, "big")
    row = astuple(record)
    values: tuple[object, ...] = (record.event_name, row[_SENT])
    for at, name, default in _LATER_AT:
        if row[at] != default:
            values += ((name, row[at]),)
    return sent_at + _blake2b(_encode(values), digest_size=4).digest()


def same_content(one: bytes, other: bytes) -> bool:
    """Whether two copies say the same."""
    return one == other or (one[4:] == other[4:] and _UNSENT in (one[:4], other[:4]))


def _hashed(con: sqlite3.Connection, records: list[Record]) -> dict[bytes, bytes]:
    """Contents of those of `records` that a version before migration 0003 accepted, by key; soon there are none."""
    if con.execute("SELECT 1 FROM dedup LIMIT 1").fetchone() is None:
        return {}
    keys = sorted(map(_hashed_key, records))
    return dict(con.execute(_FIND_HASHED, (b"".join(keys),)).fetchall())


def _hashed_key(record: Record) -> bytes:
    return _blake2b(f"{record.write_key}\x00{record.event_id}".encode(), digest_size=16).digest()


def _hashed_content(record: Record) -> bytes:
    values = list(_sent_hashed(record))
    values += [(name, value) for name in _LATER if (value := getattr(record, name)) != DEFAULTS.get(name)]
    return _blake2b(repr(values).encode(), digest_size=8).digest()
