"""The event log as pages read it: what came just now, the answers of today, and who is heard. It only reads."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from gtm_dagster.dashboard.notices import Notice, UnavailableError
from gtm_dagster.eventlog import EventLogError, log_exists, open_log
from gtm_dagster.eventlog.log import Heartbeat
from gtm_dagster.eventlog.newest_events import edge_answers, newest_events, newest_heartbeats, newest_of
from gtm_dagster.settings import DRILL_REASON, Settings

NEWEST = 25
ANSWERS = ("accepted", "duplicate", "conflict", "quarantined", "suppressed")
"""Answers of the edge, in the order of a page."""


@dataclass(frozen=True)
class LogEvent:
    """One record. Times UTC; `event_at` None: it has no readable time. `reasons`: (field, what is wrong). `masked`: of a refused one,
    as JSON. `is_drill`: of a guard's drill, which lands in no table."""

    offset: int
    received_at: datetime
    event_at: datetime | None
    event_name: str | None
    event_id: str | None
    write_key: str
    verdict: str
    reasons: tuple[tuple[str, str], ...]
    masked: str | None
    is_drill: bool = False


@dataclass(frozen=True)
class LiveLog:
    """The newest records, newest first; today's answers (UTC day); heartbeats by producer."""

    day: str
    events: Sequence[LogEvent]
    answers: Mapping[str, int]
    heartbeats: Sequence[tuple[Heartbeat, datetime]]


def live_log(settings: Settings) -> LiveLog:
    """The log at this moment. Raises UnavailableError when there is none, or it cannot be read."""
    if not log_exists(settings):
        raise UnavailableError(
            Notice("There is no event log yet.", "gtm dev", why="The collector makes it with the first event.")
        )
    day = datetime.fromtimestamp(time.time(), UTC).date().isoformat()
    try:
        rows, answers, beats = _topic(settings) if settings.event_log else _file(settings.log_path)
    except EventLogError as error:
        raise UnavailableError(Notice("The event log cannot be read.", "gtm log status", why=str(error))) from error
    today = answers.get(day, {})
    heartbeats = [(beat, _moment(beat.received_us)) for beat in beats]
    return LiveLog(day, [_event(row) for row in rows], {name: today.get(name, 0) for name in ANSWERS}, heartbeats)


_Glance = tuple[list[dict[str, Any]], dict[str, dict[str, int]], list[Heartbeat]]


def _file(path: Path) -> _Glance:
    return newest_events(path, NEWEST, DRILL_REASON), edge_answers(path), newest_heartbeats(path)


def _topic(settings: Settings) -> _Glance:
    with open_log(settings) as log:
        return newest_of(log, NEWEST), log.edge_counts(), log.heartbeats()


def _event(row: Mapping[str, Any]) -> LogEvent:
    return LogEvent(
        offset=row["row_no"],
        received_at=_moment(row["received_us"]),
        event_at=None if row["event_us"] is None else _moment(row["event_us"]),
        event_name=row["event_name"],
        event_id=row["event_id"],
        write_key=row["write_key"],
        verdict=row["verdict"],
        reasons=reasons(row["errors"]),
        masked=row["raw"],
        is_drill=row["reason_codes"] == DRILL_REASON,
    )


def reasons(errors: str | None) -> tuple[tuple[str, str], ...]:
    """Field and message of each error of a record, from its JSON."""
    try:
        found = json.loads(errors or "[]")
        return tuple(
            (str(each.get("path") or ""), str(each.get("message") or each.get("code") or "")) for each in found
        )
    except (ValueError, AttributeError, TypeError):
        return (("", str(errors)),)


def _moment(us: int) -> datetime:
    return datetime.fromtimestamp(us / 1e6, UTC)
