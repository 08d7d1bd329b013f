"""What became of one event: from the collector's verdict to the tables that readers see, as far as it has come.

Each part is looked up where it lies (log, landing zone, serving copy) and none needs the one behind it: a deployment whose
warehouse stands still, or was never built, still says what the collector stored.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import duckdb
import msgspec

from gtm_dagster.eventlog.event_search import LogEntry, find_event
from gtm_dagster.warehouse.last_refresh import last_refresh
from gtm_dagster.warehouse.serving import QueryError, reader

if TYPE_CHECKING:
    from gtm_dagster.settings import Settings

from gtm_dagster.reports.landed_event import LandedEvent, file_of, landed_copies

_CREDITS = 50
_NO_VISITS = ("api", None)


class EventTrace(msgspec.Struct, frozen=True):
    """One event of one write key. Times are RFC 3339, UTC.

    `event_id` is the id as it is stored. `verdict`: accepted, quarantined or suppressed, of the copy that counts: the
    accepted one, else the newest. `sent_with`: protocol and client library. `landed_file`: below the landing folder.
    `staged`: whether the published tables hold it, `not_staged` why they do not. `session`, `conversion` and `credit` are of
    the published tables; `no_session` says why there is none. `other_copies`: those that were refused, newest first.
    """

    event_id: str
    write_key: str
    verdict: str
    received_at: str | None
    event_name: str | None
    event_time: str | None
    log_id: str | None
    offset: int | None
    sent_with: str | None
    plan_version: str | None
    errors: list[dict[str, str]]
    original_kept: bool
    landed_file: str | None
    staged: bool
    not_staged: str | None
    session: dict[str, Any] | None
    no_session: str | None
    conversion: dict[str, Any] | None
    credit: list[dict[str, Any]]
    other_copies: list[dict[str, Any]]


def trace_event(
    settings: Settings, write_keys: Sequence[str], event_id: str, *, search_landing: bool = False
) -> EventTrace | None:
    """The trace of a stored id under the first of `write_keys` that has it; None when none is known to have it.

    The log knows the ids of `dedup_days`. `search_landing` looks through the landed files too, which takes longer the
    more there are: for older events, and those of imported files. Raises EventLogError.
    """
    for write_key in write_keys if settings.log_path.exists() else ():
        if entries := find_event(settings.log_path, write_key, event_id):
            copies = [_copy_of(settings, entry) for entry in entries]
            return _traced(settings, write_key, event_id, copies)
    if search_landing and (copies := landed_copies(settings, event_id)):
        write_key = str(copies[0].row["write_key"])
        return _traced(settings, write_key, event_id, [copy for copy in copies if copy.row["write_key"] == write_key])
    return None


def _copy_of(settings: Settings, entry: LogEntry) -> LandedEvent:
    landed = file_of(settings, entry.log_id, entry.offset, with_row=entry.row is None)
    row = entry.row or (landed.row if landed else {})
    file = landed.file if landed else None
    return LandedEvent(row, file, entry.log_id, entry.offset, entry.has_original)


def _traced(settings: Settings, write_key: str, event_id: str, copies: list[LandedEvent]) -> EventTrace:
    first = next((copy for copy in copies if copy.row.get("verdict") == "accepted"), copies[0])
    row = first.row
    staged, why = _staged(settings, first)
    session: dict[str, Any] | None = None
    conversion: dict[str, Any] | None = None
    credit: list[dict[str, Any]] = []
    no_session: str | None = why
    if staged:
        try:
            with reader(settings) as con:
                refused = _refused_by_staging(con, first)
                if refused is None:
                    session, no_session = _session(con, row)
                    conversion, credit = _conversion(con, write_key, event_id)
                else:
                    staged, why, no_session = False, refused, refused
        except (QueryError, duckdb.Error) as error:
            no_session = f"the serving copy cannot be read: {str(error).splitlines()[0]}"
    return EventTrace(
        event_id=event_id,
        write_key=write_key,
        verdict=row.get("verdict") or "unknown",
        received_at=_time(row.get("received_us")),
        event_name=row.get("event_name"),
        event_time=_time(row.get("event_us")),
        log_id=first.log_id,
        offset=first.offset,
        sent_with=row.get("sent_with"),
        plan_version=row.get("plan_version"),
        errors=_errors(row),
        original_kept=first.has_original,
        landed_file=first.file,
        staged=staged,
        not_staged=why,
        session=session,
        no_session=None if session else no_session,
        conversion=conversion,
        credit=credit,
        other_copies=[_other(copy) for copy in copies if copy is not first],
    )


def _staged(settings: Settings, copy: LandedEvent) -> tuple[bool, str | None]:
    """Whether the published tables hold the copy; if not, why."""
    verdict = copy.row.get("verdict")
    if verdict not in (None, "accepted"):
        return False, f"it was {verdict}; only accepted events are staged"
    if copy.file is None:
        return False, "it has not landed yet; the next `gtm refresh` takes it"
    if not settings.serving_path.exists():
        return False, "it has landed, and nothing is published yet; run `gtm refresh`"
    refresh = last_refresh(settings)
    if copy.log_id is None:
        published = refresh is not None and refresh.finished_at >= (settings.landing_dir / copy.file).stat().st_mtime
    else:
        published = refresh is not None and (copy.offset or 0) <= refresh.log_offsets.get(copy.log_id, 0)
    if not published:
        return False, "it has landed since the last refresh that published; run `gtm refresh`"
    return True, None


def _refused_by_staging(con: duckdb.DuckDBPyConnection, copy: LandedEvent) -> str | None:
    """Why staging refused what the collector had accepted; None where it did not."""
    [*found] = con.execute(
        "SELECT reason_codes FROM staging.quarantine WHERE write_key = $1 AND event_id = $2 AND received_us = $3 LIMIT 1",
        [copy.row["write_key"], copy.row["event_id"], copy.row["received_us"]],
    ).fetchall()
    return f"staging refused it by today's plan: {found[0][0]}" if found else None


def _session(con: duckdb.DuckDBPyConnection, row: dict[str, Any]) -> tuple[dict[str, Any] | None, str | None]:
    """The session that holds the event, else why none does."""
    if row.get("device_type") in _NO_VISITS or row.get("event_name") == "flag_exposed":
        return None, "it is a fact about a person, not a visit (device type api)"
    anonymous, user = row.get("anonymous_id"), row.get("user_id")
    owners = con.execute(
        "SELECT person_id FROM core.identities WHERE anonymous_id = $1 OR (anonymous_id IS NULL AND user_id = $2) LIMIT 9",
        [None if user else anonymous, user],
    ).fetchall()
    persons = [person for (person,) in owners] or [user or anonymous]
    cursor = con.execute(
        """SELECT session_key, session_start, session_end, n_events, source, medium, campaign, channel FROM core.sessions
        WHERE person_id IN (SELECT unnest($1::VARCHAR[])) AND start_us <= $2 AND end_us >= $2
        AND (session_id IS NULL OR session_id = $3) ORDER BY start_us DESC LIMIT 1""",
        [persons, row["event_us"], row.get("session_id")],
    )
    found = _rows(cursor)
    return (found[0], None) if found else (None, "no session of its person covers its time")


def _conversion(
    con: duckdb.DuckDBPyConnection, write_key: str, event_id: str
) -> tuple[dict[str, Any] | None, list[dict[str, Any]]]:
    """The conversion that the event is, and the credit for it by model and touch."""
    conversion_id = f"{write_key.replace(chr(92), chr(92) * 2).replace(':', chr(92) + ':')}:{event_id}"
    found = _rows(
        con.execute(
            """SELECT conversion_id, conversion_type, conversion_time, value, currency FROM core.conversions
            WHERE conversion_id = $1""",
            [conversion_id],
        )
    )
    if not found:
        return None, []
    credit = con.execute(
        """SELECT model, window_hours, session_key, channel, source, campaign, credit, value FROM marts.attribution_credits
        WHERE conversion_id = $1 ORDER BY model, window_hours, credit DESC, session_key LIMIT $2""",
        [conversion_id, _CREDITS],
    )
    return found[0], _rows(credit)


def _rows(cursor: duckdb.DuckDBPyConnection) -> list[dict[str, Any]]:
    names = [column[0] for column in cursor.description or ()]
    return [{name: _plain(value) for name, value in zip(names, values, strict=True)} for values in cursor.fetchall()]


def _plain(value: Any) -> Any:
    return value.replace(tzinfo=UTC).isoformat().replace("+00:00", "Z") if isinstance(value, datetime) else value


def _time(us: int | None) -> str | None:
    return None if us is None else _plain(datetime.fromtimestamp(us / 1e6, UTC))


def _errors(row: dict[str, Any]) -> list[dict[str, str]]:
    return msgspec.json.decode(row["errors"]) if row.get("errors") else []


def _other(copy: LandedEvent) -> dict[str, Any]:
    return {
        "verdict": copy.row.get("verdict"),
        "received_at": _time(copy.row.get("received_us")),
        "offset": copy.offset,
        "plan_version": copy.row.get("plan_version"),
        "errors": _errors(copy.row),
        "original_kept": copy.has_original,
    }
