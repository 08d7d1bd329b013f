"""Would this guard have fired? The detector over what has landed (imports too) and what the event log holds past it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from gtm_dagster.gate.exposures import ARMS, EXPOSED, drawn_by_lot
from gtm_dagster.rollout.guard.counts import Counts, count_units
from gtm_dagster.rollout.guard.detector import Rule, Trace, decided_us
from gtm_dagster.rollout.guard.history import trace_history

if TYPE_CHECKING:
    import pyarrow as pa

    from gtm_dagster.settings import Settings

LONGEST_DAYS = 400
_COLUMNS = ["write_key", "event_id", "event_name", "event_us", "received_us", "user_id", "anonymous_id", "properties"]
_CHUNK_ROWS = 200_000

Tell = Callable[[int, int], None]


class BacktestError(Exception):
    """There is nothing to judge; the message says what to do."""


@dataclass(frozen=True, eq=False)
class Past:
    """What a flag's past holds: counts, and the times of the first and last event they were taken from."""

    counts: Counts
    first_us: int
    last_us: int


@dataclass(frozen=True, eq=False)
class Backtest:
    """The verdict on a past. `estimate`: relative drop when it was decided, else at the end; times microseconds UTC."""

    would_roll_back: bool
    decided_us: int | None
    estimate: float | None
    peak_log_e: float
    log_budget: float
    control_exposed: int
    control_converted: int
    treated_exposed: int
    treated_converted: int
    first_us: int
    last_us: int
    reason: str
    trace: Trace


def read_past(
    settings: Settings,
    flag: str,
    conversion: str,
    window_minutes: float,
    since_us: int | None = None,
    until_us: int | None = None,
    progress: Tell | None = None,
) -> Past:
    """Count a flag's past as if its guard had been armed at `since_us` (half-open to `until_us`).

    Raises BacktestError when the flag has no counted exposure there, or when they lie too far apart.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    parts = []
    for table in _tables(settings, progress):
        names = pc.is_in(table.column("event_name"), value_set=pa.array([EXPOSED, conversion]))
        kept = table.filter(pc.and_(names, pc.equal(table.column("verdict"), "accepted"))).select(_COLUMNS)
        for bound, beyond in ((since_us, pc.greater_equal), (until_us, pc.less)):
            if bound is not None:
                kept = kept.filter(beyond(kept.column("event_us"), bound))
        if kept.num_rows:
            parts.append(kept)
    if not parts:
        raise BacktestError(_nothing(flag, conversion, since_us, until_us))
    events = _once(pa.concat_tables(parts))
    exposed = events.filter(pc.equal(events.column("event_name"), EXPOSED))
    exposures = list(_exposures(exposed, flag))
    if not exposures:
        raise BacktestError(_nothing(flag, conversion, since_us, until_us))
    converted = events.filter(pc.equal(events.column("event_name"), conversion))
    units = pa.array(sorted({unit for unit, _, _ in exposures}), pa.string())
    conversions = [
        told
        for name in ("user_id", "anonymous_id")
        for told in _of_units(converted, name, units)
    ]  # fmt: skip
    times = [us for _, _, us in exposures]
    first_us, last_us = min(times), max(max(times), max((us for _, us in conversions), default=0))
    if last_us - first_us > LONGEST_DAYS * 86_400_000_000:
        days = (last_us - first_us) / 86_400_000_000
        raise BacktestError(
            f"{flag}: its events lie {days:,.0f} days apart, at most {LONGEST_DAYS} are judged at once; give --since and --until"
        )
    counts = count_units(exposures, conversions, round(window_minutes * 60_000_000), last_us)
    return Past(counts, first_us, last_us)


def _tables(settings: Settings, progress: Tell | None) -> Iterator[pa.Table]:
    """Landed files, then the log past them. Their end is read first: what lands meanwhile is read twice, never missed."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from gtm_dagster.eventlog import open_log
    from gtm_dagster.warehouse.landing import Landing, complete
    from gtm_dagster.warehouse.landing.from_log import waiting_offsets

    landing = Landing(settings.landing_dir)
    after = waiting_offsets(settings).landed if settings.log_path.exists() else 0
    columns = [*_COLUMNS, "verdict"]
    files = landing.files()
    rows, done = sum(file.rows for file in files), 0
    for file in files:
        try:
            for batch in pq.ParquetFile(file.path).iter_batches(_CHUNK_ROWS, columns=columns):
                yield complete(batch, columns)
                done += batch.num_rows
                if progress:
                    progress(done, rows)
        except (OSError, pa.ArrowInvalid) as error:
            raise BacktestError(f"{file.path}: cannot be read ({error}); restore it from a backup") from error
    if not settings.log_path.exists():
        return
    with open_log(settings) as log:
        while True:
            table, last = log.read_arrow(after, _CHUNK_ROWS)
            if last <= after:
                return
            yield table.select(columns)
            after = last


def _once(events: pa.Table) -> pa.Table:
    """One row a (write_key, event_id): the first that was received, as in staging.events."""
    import pyarrow as pa

    ordered = events.sort_by([("received_us", "ascending"), ("event_us", "ascending")])
    numbered = ordered.append_column("row", pa.array(np.arange(ordered.num_rows)))
    first = numbered.group_by(["write_key", "event_id"], use_threads=False).aggregate([("row", "min")])
    return ordered.take(first.column("row_min"))


def _exposures(table: pa.Table, flag: str) -> Iterator[tuple[str, int, int]]:
    """(unit, arm, us) of exposures by a split; what a fallback served tells nothing about the arms."""
    columns = (table.column(name).to_pylist() for name in ("user_id", "anonymous_id", "event_us", "properties"))
    for user, anonymous, us, properties in zip(*columns, strict=True):
        told = drawn_by_lot(properties)
        unit = user or anonymous
        if told is not None and told.flag == flag and unit:
            yield unit, ARMS.index(told.variant), us


def _of_units(table: pa.Table, name: str, units: pa.Array) -> Iterator[tuple[str, int]]:
    import pyarrow.compute as pc

    kept = table.filter(pc.is_in(table.column(name), value_set=units))
    yield from zip(kept.column(name).to_pylist(), kept.column("event_us").to_pylist(), strict=True)


def _nothing(flag: str, conversion: str, since_us: int | None, until_us: int | None) -> str:
    when = " between these times" if since_us is not None or until_us is not None else ""
    return (
        f"{flag}: no exposure by a split has landed{when}, so there is nothing to judge; the gate (RolloutController) sends "
        f"{EXPOSED} with flag, variant and reason SPLIT, gtm import FILE brings past ones, {conversion} is the conversion"
    )


def backtest(past: Past, rule: Rule, progress: Tell | None = None) -> Backtest:
    """Judge a past moment by moment."""
    counts = past.counts
    told = trace_history(counts, rule, progress)
    decided = decided_us(told, rule.hold_minutes, counts.watermark_us)
    exposed = counts.exposed.sum(axis=1)
    converted = np.bincount(counts.conv_arm, counts.conv_n, 2).astype(int)
    peak = float(told.log_e.max()) if len(told.times_us) else 0.0
    if len(told.times_us):
        at = -1 if decided is None else int(np.searchsorted(told.times_us, decided, side="right")) - 1
        known = not np.isnan(told.estimate[at])
        estimate = float(told.estimate[at]) if known else None
    else:
        estimate = None
    return Backtest(
        would_roll_back=decided is not None,
        decided_us=decided,
        estimate=estimate,
        peak_log_e=peak,
        log_budget=rule.log_budget,
        control_exposed=int(exposed[0]),
        control_converted=int(converted[0]),
        treated_exposed=int(exposed[1]),
        treated_converted=int(converted[1]),
        first_us=past.first_us,
        last_us=past.last_us,
        reason=_reason(told, rule, decided, peak, exposed.tolist()),
        trace=told,
    )


def _reason(told: Trace, rule: Rule, decided: int | None, peak: float, exposed: list[int]) -> str:
    evidence = f"log e peaked at {peak:.1f} of {rule.log_budget:.1f}"
    if decided is not None:
        return (
            f"a drop of {rule.threshold:.0%} or more was proven and held for {rule.hold_minutes:g} minutes; {evidence}"
        )
    if not all(exposed):
        arm = ARMS[exposed.index(0)]
        return f"no {arm} units: nothing to compare with"
    if not len(told.times_us):
        return f"{exposed[1]} treated and {exposed[0]} control units: no block of both arms is complete"
    if told.above.any():
        return f"a drop was proven but did not hold for {rule.hold_minutes:g} minutes; {evidence}"
    if peak >= rule.log_budget:
        return f"harm was proven, but the estimate stayed below {rule.threshold:.0%}; {evidence}"
    return f"no drop was proven; {evidence}"


def ticks(told: Trace) -> list[dict[str, float | int | bool | None]]:
    """The trace as rows: at_us, log_e, estimate, above, fires; a row a slot."""
    rows = []
    for at in range(len(told.times_us)):
        estimate = float(told.estimate[at])
        rows.append(
            {
                "at_us": int(told.times_us[at]),
                "log_e": float(told.log_e[at]),
                "estimate": None if np.isnan(estimate) else estimate,
                "above": bool(told.above[at]),
                "fires": bool(told.fires[at]),
            }
        )
    return rows
