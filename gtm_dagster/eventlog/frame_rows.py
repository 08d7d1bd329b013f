"""The frames as rows of events.db: those behind an offset, and where a moment of receipt lies among them.

Every look begins at the frame that has its first offset: frames are found by `first_seq`, and the log keeps days of them.
"""

from __future__ import annotations

import sqlite3

from gtm_dagster.eventlog.frames import to_arrow

Frame = tuple[int, int, bytes]
"""First offset, last offset, payload."""
_BEHIND = """first_seq >= coalesce((SELECT max(first_seq) FROM frames WHERE first_seq <= :after + 1), 0) AND last_seq > :after"""


def frames_behind(con: sqlite3.Connection, after: int, limit: int) -> list[Frame]:
    """The frames with offsets behind `after`, in order, until they have at least `limit` records."""
    frames, size = [], 0
    cursor = con.execute(
        f"SELECT first_seq, last_seq, payload FROM frames WHERE {_BEHIND} ORDER BY first_seq", {"after": after}
    )
    for first, last, payload in cursor:
        frames.append((first, last, payload))
        size += last - first + 1
        if size >= limit:
            break
    cursor.close()
    return frames


def count(con: sqlite3.Connection, after: int, upto: int) -> int:
    """Records with after < offset <= upto, counted from the frames' own bounds."""
    (records,) = con.execute(
        f"""SELECT coalesce(sum(min(last_seq, :upto) - max(first_seq, :after + 1) + 1), 0) FROM frames
          WHERE {_BEHIND} AND first_seq <= :upto""",
        {"after": after, "upto": upto},
    ).fetchone()
    return int(records)


def offset_before(con: sqlite3.Connection, received_us: int) -> int:
    """As EventLog.offset_before; found by halving."""
    low, high = con.execute(
        """SELECT coalesce((SELECT min(first_seq) - 1 FROM frames), seq),
          coalesce((SELECT last_seq FROM frames ORDER BY first_seq DESC LIMIT 1), seq) FROM log"""
    ).fetchone()
    while low < high:
        middle = (low + high) // 2
        first, last, payload = frames_behind(con, middle, 1)[0]
        received = to_arrow([(first, last, payload)])["received_us"]
        if max(received.to_pylist()) < received_us:
            low = max(last, middle + 1)
        else:
            high = min(first - 1, middle)
    return int(low)
