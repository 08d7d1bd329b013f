"""What the last refresh of a deployment came to, in a file beside the serving copy: for whoever watches it.

A refresh is gone before anybody could ask it, so it leaves this behind when it has published.
"""

from __future__ import annotations

import time
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING

import duckdb
import msgspec

from gtm_dagster.storage.atomic_write import write_whole
from gtm_dagster.warehouse.landing.listing import last_ranges
from gtm_dagster.warehouse.schema import tables
from gtm_dagster.warehouse.staging.books import books

if TYPE_CHECKING:
    from pathlib import Path

    from gtm_dagster.settings import Settings

FORMAT = 1
"""Of the file; a reader of another format knows nothing of the refresh."""


class LastRefresh(msgspec.Struct, frozen=True):
    """A refresh that came to its end. Times are seconds since 1970, UTC.

    `failed_checks`: `table: check` of those that do not hold. `books_difference`: of the ingest days (ISO dates) today and
    yesterday that have books, rows that the loader took or that landed and that no book holds, or twice; 0 where they
    balance. `log_offsets`: up to which offset of each log, by its id, the published tables hold the events.
    """

    finished_at: float
    seconds: float
    failed_checks: list[str]
    books_difference: dict[str, int]
    format: int = FORMAT
    log_offsets: dict[str, int] = {}


def write_last_refresh(con: duckdb.DuckDBPyConnection, settings: Settings, seconds: float) -> None:
    """Note that a refresh of `seconds` has published just now; `con` is the working file."""
    now = time.time()
    today = datetime.fromtimestamp(now, UTC).date()
    days = [_iso(today), _iso(today - timedelta(days=1))]
    found = LastRefresh(
        finished_at=now,
        seconds=seconds,
        failed_checks=[
            str(name) for (name,) in con.execute("SELECT name FROM meta.checks WHERE NOT passed ORDER BY 1").fetchall()
        ],
        books_difference={
            _iso(row.ingest_date): abs(row.raw - row.clean - row.duplicates - row.quarantined - row.suppressed)
            + abs(row.log_rows - row.raw)
            for row in books(con, days)
        },
        log_offsets=_staged_offsets(con),
    )
    write_whole(_path(settings), msgspec.json.encode(found) + b"\n", mode=0o600)


def _staged_offsets(con: duckdb.DuckDBPyConnection) -> dict[str, int]:
    names = con.execute(
        "SELECT DISTINCT split_part(file_key, '/', 2) FROM meta.landing_files WHERE split_part(file_key, '/', 2) LIKE 'log-%'"
    ).fetchall()
    return {log_id: batch.last_seq for log_id, batch in last_ranges(name for (name,) in names).items()}


def last_refresh(settings: Settings) -> LastRefresh | None:
    """The refresh that published last; None before the first, and where its file cannot be read."""
    try:
        found = msgspec.json.decode(_path(settings).read_bytes(), type=LastRefresh)
    except (OSError, msgspec.DecodeError, UnicodeDecodeError):
        return None
    return found if found.format == FORMAT else None


def declared_checks() -> list[tuple[str, str, str]]:
    """(table, check, severity) of every declared check."""
    return [(table.name, check.name, check.severity) for table in tables() for check in table.checks]


def _path(settings: Settings) -> Path:
    return settings.state_dir / "refreshed.json"


def _iso(day: date) -> str:
    return day.isoformat()
