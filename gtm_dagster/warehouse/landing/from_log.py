"""Event log -> landing: what lies past the last landed offset becomes files named by the log and its offsets."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime, timedelta
from typing import NamedTuple

import pyarrow as pa

from gtm_dagster.eventlog import EventLog, LogChangedError, Position, log_exists, log_place, open_log
from gtm_dagster.settings import Settings
from gtm_dagster.taxonomy.conform import ContractBreak
from gtm_dagster.warehouse.build_context import BuildContext
from gtm_dagster.warehouse.landing import Landing, log_name
from gtm_dagster.warehouse.landing.sealed_originals import first_kept_day

CONSUMER = "warehouse"
LOG_KEPT = timedelta(days=7)
"""Landed events stay this long in the log for consumers that start later; the landing files keep them for good."""
_CHUNK_ROWS = 500_000


@dataclass(frozen=True)
class LandResult:
    """What one pull from the event log landed: rows written, rows the log says the range holds, its offsets."""

    rows: int
    log_count: int
    files: int
    first_seq: int
    last_seq: int

    @property
    def metadata(self) -> dict[str, int | float | str]:
        return asdict(self)


def landed_positions(landing: Landing, log: EventLog) -> list[Position]:
    """The positions that decide where landing goes on.

    Those in logs that `log` does not continue, and its own; while there are neither, those in logs it continues.
    """
    positions = landing.log_positions()
    foreign = [position for position in positions if not log.continues(position.log_id)]
    own = [position for position in positions if position.log_id == log.log_id]
    return foreign + own or positions


def landed_end(landing: Landing, log: EventLog) -> int:
    """The offset of `log` up to which everything has landed.

    Raises LogChangedError when the landing zone has read records that this log does not have, or never read what is
    gone from it.
    """
    positions: Sequence[Position | None] = landed_positions(landing, log) or [None]
    return min(log.resume(position, from_start=True) for position in positions)


def missing_log(settings: Settings) -> LogChangedError | None:
    """What to say when there is no log; None when none has landed either."""
    positions = Landing(settings.landing_dir).log_positions()
    if log_exists(settings) or not positions:
        return None
    return LogChangedError(
        f"{log_place(settings)}: there is no event log, but offsets up to {positions[-1].seq} of one have landed; restore "
        "it or, when it is gone for good, run `gtm log accept --reason TEXT`",
        "other",
    )


class LogOffsets(NamedTuple):
    """Up to where log `log_id` has landed, and its newest offset; 0, 0 and "" before the first event."""

    landed: int
    newest: int
    log_id: str


def waiting_offsets(settings: Settings) -> LogOffsets:
    """What of the event log waits to be landed. Never opens DuckDB.

    Raises LogChangedError as `landed_end`, and when the log is gone.
    """
    if not log_exists(settings):
        if gone := missing_log(settings):
            raise gone
        return LogOffsets(0, 0, "")
    with open_log(settings) as log:
        return LogOffsets(landed_end(Landing(settings.landing_dir), log), log.last_seq(), log.log_id)


def land_log(ctx: BuildContext, progress: Callable[[int, int], None] | None = None) -> LandResult:
    """Land everything the event log holds past the last landed offset, then commit this consumer to the log.

    Raises LogChangedError when the log does not continue what has landed, ContractBreak when records are missing in it.
    """
    settings = ctx.settings
    landing = Landing(settings.landing_dir)
    if not log_exists(settings):
        if gone := missing_log(settings):
            raise gone
        return LandResult(0, 0, 0, 0, 0)
    rows = counted = files = 0
    with open_log(settings) as log:
        log_id, start, end = log.log_id, landed_end(landing, log), log.last_seq()
        after = start
        while after < end:
            table, last = log.read_arrow(after, _CHUNK_ROWS)
            counted += _checked(log, table, after, last)
            files += len(landing.write(table, log_name(log_id, after + 1, last)))
            rows += table.num_rows
            after = last
            if progress:
                progress(rows, end - start)
        if after > start:
            log.commit(CONSUMER, after)
        now = datetime.now(UTC)
        log.trim((now - LOG_KEPT).date().isoformat())
        _end_sealed(log, first_kept_day(settings.quarantine.days, now))
    return LandResult(rows, counted, files, start + 1 if after > start else start, after)


def _end_sealed(log: EventLog, before: date) -> None:
    """Remove sealed originals from the log as well, where the log keeps them by themselves."""
    end = getattr(log, "end_sealed", None)
    if end is not None:
        end(before)


def _checked(log: EventLog, table: pa.Table, after: int, last: int) -> int:
    """The records the log counts in the range; raises ContractBreak unless exactly those were read, without a gap."""
    counted = log.count(after, last)
    first = table.column("row_no")[0].as_py() if table.num_rows else 0
    if not table.num_rows == counted == last - after > 0 or first != after + 1:
        raise ContractBreak(
            f"event log offsets {after + 1} to {last}: the log counts {counted} records, {table.num_rows} were read, "
            f"the first at offset {first}; nothing of this range was landed. Restore the log from a backup"
        )
    return counted
