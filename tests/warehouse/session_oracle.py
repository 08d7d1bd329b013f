"""Sessions, their sources and the credit of conversions by their definitions, one event at a time.

Written from the definitions and not from the statements: nothing here is SQL, and nothing is computed twice for speed.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

from gtm_dagster.channels import classify
from gtm_dagster.channels.classify import Touch

HOUR = 3_600_000_000
CONVERSIONS = ("signup_completed", "payment_completed")


@dataclass(frozen=True)
class Session:
    """A session: its events in order, what it is credited to (None: direct), and since when that is known."""

    person: str
    events: tuple[dict, ...]
    continues: bool
    touch: Touch | None = None
    source_us: int | None = None

    @property
    def start_us(self) -> int:
        return self.events[0]["event_us"]

    def touch_at(self, moment_us: int) -> Touch | None:
        """What was known at a moment."""
        return self.touch if self.source_us is not None and self.source_us <= moment_us else None


def place(row: dict) -> tuple:
    """The order of events."""
    return row["event_us"], row["event_id"], row["write_key"]


def touch_of(row: dict) -> Touch | None:
    """What an event says about its source; None when it says nothing."""
    touch = classify(
        row.get("source"), row.get("medium"), row.get("campaign"), row.get("referrer"), row.get("click_id")
    )
    return None if touch.rank is None else touch


def named(row: dict) -> Touch | None:
    """The source that an event itself names."""
    touch = touch_of(row)
    return touch if touch is not None and touch.rank == 1 else None


def arrival(row: dict) -> tuple | None:
    """All that tells one arrival from another; None for an event that names and refers nothing."""
    touch = touch_of(row)
    return touch and (
        touch.source,
        touch.medium,
        touch.campaign,
        row.get("term"),
        row.get("content"),
        row.get("click_id"),
    )


def arrival_at(events: list[dict]) -> tuple | None:
    """The arrival of a moment: of its first event, else of the first one that names a source."""
    return arrival(events[0]) or next((arrival(row) for row in events if named(row)), None)


def persons_of(rows: list[dict]) -> dict[tuple, str]:
    """The person of each event by (write_key, event_id): its user, else the earliest user of its anonymous id."""
    owner: dict[str, str] = {}
    for row in sorted(rows, key=place):
        if row.get("user_id") and row.get("anonymous_id"):
            owner.setdefault(row["anonymous_id"], row["user_id"])
    return {
        (row["write_key"], row["event_id"]): row.get("user_id") or owner.get(row["anonymous_id"], row["anonymous_id"])
        for row in rows
    }


def local_day(event_us: int, zone: str) -> date:
    return datetime.fromtimestamp(event_us // 1_000_000, UTC).astimezone(ZoneInfo(zone)).date()


def sessions_of(person: str, rows: list[dict], definition: str, zone: str, timeout_us: int) -> list[Session]:
    """The sessions of one person's events, each with its source."""
    browsed = sorted((row for row in rows if row["device_type"] != "api"), key=place)
    if definition == "tracker":
        by_id = defaultdict(list)
        for row in browsed:
            if row.get("session_id"):
                by_id[row["session_id"]].append(row)
        return [_sourced(Session(person, tuple(events), False), None) for events in by_id.values()]
    found: list[Session] = []
    moments: dict[int, list[dict]] = {}
    for row in browsed:
        moments.setdefault(row["event_us"], []).append(row)
    session: list[dict] = []
    continues, last_us, newest = False, None, None

    def close() -> None:
        if session:
            one = Session(person, tuple(session), continues)
            found.append(_sourced(one, found[-1] if found else None))

    for moment_us, events in moments.items():
        gap = last_us is None or moment_us - last_us > timeout_us
        newest = None if gap else newest
        arrived = arrival_at(events)
        midnight = not gap and definition == "ua" and local_day(moment_us, zone) != local_day(last_us, zone)
        another = not gap and definition == "ua" and arrived is not None and arrived != newest
        if gap or midnight or another:
            close()
            session, continues = [], midnight and not another
        session += events
        newest, last_us = arrived or newest, moment_us
    close()
    return found


def _sourced(session: Session, before: Session | None) -> Session:
    first = session.events[0]
    if named(first):
        return replace(session, touch=named(first), source_us=first["event_us"])
    if session.continues and before is not None:
        return replace(session, touch=before.touch, source_us=session.start_us if before.touch else None)
    if touch_of(first):
        return replace(session, touch=touch_of(first), source_us=first["event_us"])
    for later in session.events[1:]:
        if named(later):
            return replace(session, touch=named(later), source_us=later["event_us"])
    return session


def _row(touch: Touch | None) -> tuple:
    return (
        (touch.source, touch.medium, touch.campaign, touch.channel) if touch else ("direct", "(none)", None, "Direct")
    )


def everything(rows: list[dict], definition: str, zone: str, timeout_us: int, windows: dict[str, float]) -> dict:
    """What core.sessions, core.touchpoints and the credits of single-touch models hold, as sets of rows."""
    person = persons_of(rows)
    lives: dict[str, list[dict]] = defaultdict(list)
    for row in rows:
        lives[person[row["write_key"], row["event_id"]]].append(row)
    sessions, touchpoints, credits = set(), set(), set()
    for who, life in lives.items():
        own = sorted(sessions_of(who, life, definition, zone, timeout_us), key=lambda s: place(s.events[0]))
        for one in own:
            end = one.events[-1]["event_us"]
            sessions.add((who, one.start_us, end, len(one.events), *_row(one.touch), one.source_us))
        for row in life:
            if row["event_name"] not in CONVERSIONS:
                continue
            at, name = row["event_us"], f"{row['write_key']}:{row['event_id']}"
            before = [one for one in own if 0 <= at - one.start_us <= max(windows.values()) * HOUR]
            touchpoints |= {(name, one.start_us, one.events[0].get("session_id") if definition == "tracker" else None, *_row(one.touch_at(at))) for one in before}  # fmt: skip
            for model, hours in windows.items():
                touches = [one.touch_at(at) for one in before if at - one.start_us <= hours * HOUR]
                credits.add((name, model, *_credited(model, touches)))
    return {"sessions": sessions, "touchpoints": touchpoints, "credits": credits}


def _credited(model: str, touches: list[Touch | None]) -> tuple:
    if not touches:
        return None, None, None, "(unattributed)"
    if model == "first_touch":
        return _row(touches[0])
    if model == "last_non_direct":
        not_direct = [touch for touch in touches if touch and touch.channel != "Direct"]
        return _row(not_direct[-1] if not_direct else touches[-1])
    return _row(touches[-1])
