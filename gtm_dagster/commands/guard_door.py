"""What the collector refused at the door, as `gtm guard status` shows it: by route, key and reason."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from gtm_dagster.commands.output import utc_time

if TYPE_CHECKING:
    from gtm_dagster.eventlog import Refusal
    from gtm_dagster.settings import Settings

DAYS = 7
MOST_ROWS = 200
_SHOWN = 4
_ROUTES = {"/heartbeat": "heartbeats", "/guards/{flag}/rollback": "requests for a rollback"}
_EVENTS = "requests with events"


def door_rows(settings: Settings) -> list[dict[str, Any]]:
    """Refused requests of the last seven days, the most first, MOST_ROWS at most: route, write_key (None: no good key),
    reason, number and the last time. [] where the collector's log is not here or cannot be read."""
    from gtm_dagster.eventlog import EventLogError
    from gtm_dagster.eventlog.refusals import refused_since

    since = (datetime.now(UTC).date() - timedelta(days=DAYS - 1)).isoformat()
    try:
        refusals = refused_since(settings.log_path, since)
    except EventLogError:
        return []
    return _added_up(refusals)


def _added_up(refusals: list[Refusal]) -> list[dict[str, Any]]:
    found: dict[tuple[str, str, str], tuple[int, int]] = {}
    for row in refusals:
        kind = (row.route, row.write_key, row.code)
        n, last_us = found.get(kind, (0, 0))
        found[kind] = (n + row.n, max(last_us, row.last_us))
    ordered = sorted(found.items(), key=lambda item: (-item[1][0], item[0]))[:MOST_ROWS]
    return [
        {"route": route, "write_key": key or None, "reason": code, "n": n, "last_at": utc_time(last_us)}
        for (route, key, code), (n, last_us) in ordered
    ]


def door_lines(rows: list[dict[str, Any]]) -> list[str]:
    """A line for heartbeats, one for requests for a rollback and one for events; nothing where none was refused."""
    by_route: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        by_route.setdefault(_ROUTES.get(row["route"], _EVENTS), []).append(row)
    lines = []
    for what in (*_ROUTES.values(), _EVENTS):
        mine = by_route.get(what, [])
        if not mine:
            continue
        parts = [f"{_who(row)}, {row['reason']}: {row['n']:,}" for row in mine[:_SHOWN]]
        more = [f"{len(mine) - _SHOWN} more kinds"] if len(mine) > _SHOWN else []
        last = max(row["last_at"] for row in mine)
        total = sum(row["n"] for row in mine)
        lines.append(
            f"refused at the door within {DAYS} days: {total:,} {what} ({'; '.join(parts + more)}), the last {last:%Y-%m-%dT%H:%M:%SZ}"
        )
    return lines


def _who(row: dict[str, Any]) -> str:
    return f"key {row['write_key']}" if row["write_key"] else "no good key"
