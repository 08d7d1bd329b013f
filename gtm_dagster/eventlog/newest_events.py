"""What a log has just taken, for a person who looks: its newest records, and the answers of the edge. It only reads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from gtm_dagster.eventlog.frames import to_arrow, to_rows
from gtm_dagster.eventlog.group_commit import FORGOTTEN_US
from gtm_dagster.eventlog.log import EventLog, Heartbeat
from gtm_dagster.eventlog.log_file import reading

LOOKED_AT = 10_000
"""Records, at most, among which those are found that are not left out."""
_NEWEST = "SELECT first_seq, last_seq, payload FROM frames ORDER BY first_seq DESC"


def newest_events(path: Path, most: int, but: str | None = None) -> list[dict[str, Any]]:
    """The newest records, newest first, as the landing columns (`row_no`: the offset). Raises EventLogError.

    `but`: without records of this reason, such as the thousands of a drill, where there are others among the newest LOOKED_AT.
    """
    frames: list[tuple[int, int, bytes]] = []
    size, looked_at = 0, 0
    with reading(path) as con:
        cursor = con.execute(_NEWEST)
        for frame in cursor:
            records = frame[1] - frame[0] + 1
            looked_at += records
            wanted = sum(reason != but for (reason,) in to_rows([frame], ["reason_codes"])) if but else records
            if wanted or not frames:
                frames.append(frame)
            size += wanted
            if size >= most or looked_at >= LOOKED_AT:
                break
        cursor.close()
    rows: list[dict[str, Any]] = to_arrow(frames[::-1]).to_pylist()[::-1] if frames else []
    return ([row for row in rows if not but or row["reason_codes"] != but] or rows)[:most]


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
