"""Event log -> landing: what lies past the last landed offset becomes files named by their offsets."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta

from gtm_dagster.eventlog.sqlite import SqliteEventLog
from gtm_dagster.taxonomy.conform import ContractBreak
from gtm_dagster.warehouse.context import BuildContext
from gtm_dagster.warehouse.landing import Landing, log_name

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


def land_log(ctx: BuildContext, progress: Callable[[int, int], None] | None = None) -> LandResult:
    """Land everything the event log holds past the last landed offset, then tell the log how far this consumer is."""
    settings = ctx.settings
    landing = Landing(settings.landing_dir)
    start = after = landing.log_end()
    rows = counted = files = 0
    if not settings.log_path.exists():
        return LandResult(0, 0, 0, start, start)
    log = SqliteEventLog(settings.log_path, dedup_days=settings.dedup_days)
    try:
        end = log.last_seq()
        while after < end:
            table, last = log.read_arrow(after, _CHUNK_ROWS)
            if last <= after:
                break
            counted += log.count(after, last)
            if table.num_rows != counted - rows:
                raise ContractBreak(
                    f"event log offsets {after + 1} to {last}: the log counts {counted - rows} records, "
                    f"{table.num_rows} were read; nothing of this range was landed"
                )
            files += len(landing.write(table, log_name(after + 1, last)))
            rows += table.num_rows
            after = last
            if progress:
                progress(rows, end - start)
        if after > start:
            log.commit(CONSUMER, after)
        log.trim((datetime.now(UTC) - LOG_KEPT).date().isoformat())
    finally:
        log.close()
    return LandResult(rows, counted, files, start + 1 if after > start else start, after)
