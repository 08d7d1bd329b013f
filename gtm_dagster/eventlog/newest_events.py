"""What a log has just taken, for a person who looks: its newest records, and the answers of the edge. It only reads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from gtm_dagster.eventlog.frames import to_arrow
from gtm_dagster.eventlog.group_commit import FORGOTTEN_US
from gtm_dagster.eventlog.log import EventLog, Heartbeat
from gtm_dagster.eventlog.log_file import reading

_NEWEST = "SELECT first_seq, last_seq, payload FROM frames ORDER BY first_seq DESC"


def newest_events(path: Path, most: int) -> list[dict[str, Any]]:
    """The newest records, newest first, as the landing columns (`row_no`: the offset). Raises EventLogError."""
    frames, size = [], 0
    with reading(path) as con:
        cursor = con.execute(_NEWEST)
        for first, last, payload in cursor:
            frames.append((first, last, payload))
            size += last - first + 1
            if size >= most:
                break
        cursor.close()
    if not frames:
        return []
    table = to_arrow(frames[::-1])
    rows: list[dict[str, Any]] = table.slice(max(table.num_rows - most, 0)).to_pylist()
    return rows[::-1]


def newest_of(log: EventLog, most: int) -> list[dict[str, Any]]:
    """As `newest_events`, of any log. Raises EventLogError."""
    last = log.last_seq()
    table, _ = log.read_arrow(max(last - most, log.first_seq() - 1), most)
    rows: list[dict[str, Any]] = table.to_pylist()
    return rows[::-1][:most]


def edge_answers(path: Path) -> dict[str, dict[str, int]]:
    """The answers of the edge by UTC day and status. Raises EventLogError."""
    with reading(path) as con:
        counts: dict[str, dict[str, int]] = {}
        for day, status, n in con.execute("SELECT day, status, n FROM edge_counts ORDER BY 1, 2"):
            counts.setdefault(day, {})[status] = n
        return counts


def newest_heartbeats(path: Path) -> list[Heartbeat]:
    """Each producer's last word: the earliest `ts_us` of its instances, its newest `received_us`, its largest skew.

    A producer unheard of for FORGOTTEN_US microseconds before the newest one is not there. Raises EventLogError.
    """
    with reading(path) as con:
        rows = con.execute(
            "SELECT producer, min(ts_us), max(received_us), write_key, max(skew_us) FROM heartbeats "
            "GROUP BY producer, write_key HAVING max(received_us) >= (SELECT max(received_us) FROM heartbeats) - ? "
            "ORDER BY producer, write_key",
            (FORGOTTEN_US,),
        )
        return [Heartbeat(*row) for row in rows]
