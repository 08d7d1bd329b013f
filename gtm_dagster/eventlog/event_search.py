"""Where the log has the event of an id: by the offsets that are remembered beside the ids, so no look costs more in a longer log."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from gtm_dagster.eventlog import sealed_tables
from gtm_dagster.eventlog.accepted_ids import offsets_of
from gtm_dagster.eventlog.frame_rows import frames_behind
from gtm_dagster.eventlog.frames import to_arrow
from gtm_dagster.eventlog.log_file import reading

MOST_COPIES = 20
"""Copies of one id that are looked up, the newest; a refused event leaves its id free for any number of others."""


class LogEntry(msgspec.Struct, frozen=True):
    """One stored event: its offset in log `log_id`, and its landing columns; None where the log was trimmed past it.

    `has_original`: whether the sealed original of a refused event is still kept.
    """

    log_id: str
    offset: int
    row: dict[str, Any] | None
    has_original: bool = False


def find_event(path: Path, write_key: str, event_id: str) -> list[LogEntry]:
    """The accepted event of an id as it is stored and its refused copies, newest first; empty for an unknown one.

    An id is known for `dedup_days`. Raises EventLogError.
    """
    with reading(path) as con:
        con.execute("BEGIN")  # ids and frames of one moment
        (log_id,) = con.execute("SELECT log_id FROM log").fetchone()
        found = []
        for offset in offsets_of(con, write_key, event_id, MOST_COPIES):
            frames = frames_behind(con, offset - 1, 1)
            if not frames or not frames[0][0] <= offset <= frames[0][1]:
                found.append(LogEntry(str(log_id), offset, None))
                continue
            table = sealed_tables.joined(con, to_arrow(frames).slice(offset - frames[0][0], 1))
            row = table.to_pylist()[0]
            found.append(LogEntry(str(log_id), offset, row, row.pop("sealed") is not None))
        return found
