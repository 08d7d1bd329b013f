"""A flag's past as counts: from what has landed (imports too) and what the event log holds past it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np

from gtm_dagster.gate.exposures import ARMS, EXPOSED, randomised_exposure
from gtm_dagster.rollout.control.past_by_arm import past_by_arm
from gtm_dagster.rollout.control.past_metrics import past_outcomes
from gtm_dagster.rollout.guard.believed import believes
from gtm_dagster.rollout.guard.blindness import CONVERSIONS, EXPOSURES, MATCHED, Seen, metric_records, record_name
from gtm_dagster.rollout.guard.by_arm import ByArm
from gtm_dagster.rollout.guard.counts import Counts, count_units, early_conversions
from gtm_dagster.rollout.guard.rule import Rule
from gtm_dagster.rollout.guard.unit_links import IDENTIFIED, partners
from gtm_dagster.settings import DRILL_REASON

if TYPE_CHECKING:
    import pyarrow as pa

    from gtm_dagster.settings import Settings

LONGEST_DAYS = 400
_COLUMNS = ["write_key", "event_id", "event_name", "event_us", "received_us", "user_id", "anonymous_id", "properties"]
_ROLE, _REASONS, _RAW, _BOT = "key_role", "reason_codes", "raw", "bot_reason"
_CHUNK_ROWS = 200_000

Progress = Callable[[int, int], None]


class BacktestError(Exception):
    """There is nothing to evaluate; the message says what to do."""


@dataclass(frozen=True, eq=False)
class PastCounts:
    """The counts of a flag's past, and the times of the first and last event they were taken from.

    `conversions`: conversion events between the bounds, whoever they belong to; `linked`: those of exposed units.
    `left_out`: exposures and conversions of client keys that the guard does not name. `seen`: conversions and exposures
    of any flag by what became of them; `records`: the numbers by name, those of further metrics among them. `by_arm`: those
    of the guard by arm, refused ones and those of bots too. `early`: units by arm that converted only before their exposure.
    """

    counts: Counts
    first_us: int
    last_us: int
    conversions: int
    linked: int
    left_out: int = 0
    seen: Seen = field(default_factory=Seen)
    by_arm: ByArm = field(default_factory=ByArm)
    records: Mapping[str, int] = field(default_factory=dict)
    early: Mapping[str, int] = field(default_factory=dict)


def read_past_counts(
    settings: Settings,
    flag: str,
    conversion: str,
    window_minutes: float,
    since_us: int | None = None,
    until_us: int | None = None,
    progress: Progress | None = None,
    write_keys: Collection[str] = (),
    rule: Rule | None = None,
    aliases: Mapping[str, str] = MappingProxyType({}),
) -> PastCounts:
    """Count a flag's past as if its guard had been armed at `since_us` (half-open to `until_us`).

    Events of client keys count when `write_keys` names their key, as for a live guard. With the further metrics of `rule`.
    `aliases` of the plan: what landed under one of them, before the plan renamed it, counts under its name of today.

    Raises BacktestError when the flag has no counted exposure there, or when they lie too far apart.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    from gtm_dagster.warehouse.landing import named_as_today

    further = {metric.event for metric in rule.metrics} if rule else set()
    counted_as: dict[str, list[str]] = {EXPOSED: [EXPOSURES], conversion: [CONVERSIONS]}
    for metric in rule.metrics[1:] if rule else ():
        counted_as.setdefault(metric.event, []).append(metric_records(metric.name))
    parts, uncounted = [], []
    for landed in _tables(settings, progress):
        table = named_as_today(landed, aliases)
        uncounted.append(_uncounted(table, counted_as, since_us, until_us, write_keys))
        names = pc.is_in(
            table.column("event_name"), value_set=pa.array(sorted({EXPOSED, conversion, IDENTIFIED, *further}))
        )
        counts = pc.and_(pc.equal(table.column("verdict"), "accepted"), pc.is_null(table.column(_BOT)))
        events = table.filter(pc.and_(names, counts)).drop_columns(["verdict", _RAW, _BOT])
        for bound, beyond in ((since_us, pc.greater_equal), (until_us, pc.less)):
            if bound is not None:
                events = events.filter(beyond(events.column("event_us"), bound))
        if events.num_rows:
            parts.append(events)
    if not parts:
        raise BacktestError(_nothing(flag, conversion, since_us, until_us))
    events = _once(pa.concat_tables(parts))
    believed = _believed(events, write_keys)
    names = events.column("event_name")
    exposed = events.filter(pc.and_(believed, pc.equal(names, EXPOSED)))
    converted = events.filter(pc.and_(believed, pc.equal(names, conversion)))
    others = events.filter(pc.invert(believed))
    left_out = sum(1 for _ in _exposures(others.filter(pc.equal(others.column("event_name"), EXPOSED)), flag))
    counted = pa.array(sorted({conversion, *further}))
    left_out += pc.sum(pc.is_in(others.column("event_name"), value_set=counted)).as_py() or 0
    exposures = list(_exposures(exposed, flag))
    if not exposures:
        raise BacktestError(_nothing(flag, conversion, since_us, until_us, left_out))
    units = pa.array(sorted({unit for unit, _, _ in exposures}), pa.string())
    visitors = _visitors(events.filter(pc.and_(believed, pc.equal(names, IDENTIFIED))), units)
    users = pa.array(sorted(visitors), pa.string())
    conversions = [each for name in ("user_id", "anonymous_id") for each in _of_units(converted, name, units)]
    conversions += [(each, us) for user, us in _of_units(converted, "user_id", users) for each in visitors[user]]
    linked = pc.or_kleene(
        pc.or_kleene(*(pc.is_in(converted.column(name), value_set=units) for name in ("user_id", "anonymous_id"))),
        pc.is_in(converted.column("user_id"), value_set=users),
    )
    outcomes, metrics_us = past_outcomes(events.filter(believed), rule or Rule(), exposures, visitors)
    times = [us for _, _, us in exposures]
    first_us, last_us = min(times), max(max(times), max((us for _, us in conversions), default=0), metrics_us)
    if last_us - first_us > LONGEST_DAYS * 86_400_000_000:
        days = (last_us - first_us) / 86_400_000_000
        raise BacktestError(
            f"{flag}: its events lie {days:,.0f} days apart, at most {LONGEST_DAYS} are evaluated at once; give --since and --until"
        )
    window_us = round(window_minutes * 60_000_000)
    counts = count_units(exposures, conversions, window_us, last_us)
    early = early_conversions(exposures, conversions, window_us)
    counts = replace(counts, metrics=outcomes)
    matched, shown = pc.sum(linked).as_py() or 0, pc.sum(pc.equal(names, EXPOSED)).as_py() or 0
    seen_of_all = {
        metric_records(m.name): pc.sum(pc.equal(names, m.event)).as_py() or 0
        for m in (rule.metrics[1:] if rule else ())
    }
    rest = pa.concat_tables(uncounted)
    lost = _refused(rest, counted_as)
    seen = Seen.of({**lost, CONVERSIONS: converted.num_rows, MATCHED: matched, EXPOSURES: shown})
    own = rest.filter(pc.is_in(rest.column("event_name"), value_set=pa.array([EXPOSED, conversion])))
    by_arm = past_by_arm(flag, exposures, converted, own, visitors)
    records = {**lost, **seen_of_all, EXPOSURES: shown}
    return PastCounts(counts, first_us, last_us, converted.num_rows, matched, left_out, seen, by_arm, records, early)


def _refused(uncounted: pa.Table, counted_as: Mapping[str, Collection[str]]) -> Counter[str]:
    """Refused and suppressed records by name, each under all that it is counted as; not those of bots."""
    columns = (uncounted.column(name).to_pylist() for name in ("event_name", "verdict", _REASONS, _BOT))
    return Counter(
        record_name(verdict, what, reasons)
        for name, verdict, reasons, bot in zip(*columns, strict=True)
        for what in counted_as[name]
        if bot is None
    )


def _uncounted(
    table: pa.Table, names: Collection[str], since_us: int | None, until_us: int | None, write_keys: Collection[str]
) -> pa.Table:
    """Refused, suppressed and bots' records of events between the bounds (of receipt: they may have no other time)."""
    import pyarrow as pa
    import pyarrow.compute as pc

    wanted = pc.and_(
        pc.is_in(table.column("event_name"), value_set=pa.array(sorted(names))),
        pc.or_(pc.not_equal(table.column("verdict"), "accepted"), pc.is_valid(table.column(_BOT))),
    )
    for bound, beyond in ((since_us, pc.greater_equal), (until_us, pc.less)):
        if bound is not None:
            wanted = pc.and_(wanted, beyond(table.column("received_us"), bound))
    rows = table.filter(wanted)
    drills = pc.fill_null(pc.equal(rows.column(_REASONS), DRILL_REASON), False)
    return rows.filter(pc.and_(_believed(rows, write_keys), pc.invert(drills)))


def _tables(settings: Settings, progress: Progress | None) -> Iterator[pa.Table]:
    """Landed files, then the log past them. Their end is read first: what lands meanwhile is read twice, never missed."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from gtm_dagster.eventlog import log_exists, open_log
    from gtm_dagster.warehouse.landing import ARROW_SCHEMA, Landing, complete
    from gtm_dagster.warehouse.landing.from_log import waiting_offsets

    landing = Landing(settings.landing_dir)
    after = waiting_offsets(settings).landed if log_exists(settings) else 0
    columns = [*_COLUMNS, "verdict", *(name for name in (_ROLE, _REASONS, _RAW, _BOT) if name in ARROW_SCHEMA.names)]
    with landing.reading() as files:  # while a run compacts, its files stay until this ends
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
    if not log_exists(settings):
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


def _believed(events: pa.Table, write_keys: Collection[str]) -> pa.BooleanArray:
    """Which of the events count by their write key."""
    import pyarrow as pa

    if _ROLE not in events.column_names:
        return pa.array([True] * events.num_rows)
    keys, roles = (events.column(name).to_pylist() for name in ("write_key", _ROLE))
    return pa.array([believes(write_keys, key, role) for key, role in zip(keys, roles, strict=True)], pa.bool_())


def _exposures(table: pa.Table, flag: str) -> Iterator[tuple[str, int, int]]:
    """(unit, arm, us) of randomised exposures; what a fallback served says nothing about the arms."""
    columns = (table.column(name).to_pylist() for name in ("user_id", "anonymous_id", "event_us", "properties"))
    for user, anonymous, us, properties in zip(*columns, strict=True):
        exposure = randomised_exposure(properties)
        unit = user or anonymous
        if exposure is not None and exposure.flag == flag and unit:
            yield unit, ARMS.index(exposure.variant), us


def _visitors(identified: pa.Table, units: pa.Array) -> dict[str, set[str]]:
    """By user id, the anonymous ids of exposed units that an event says are that user."""
    import pyarrow.compute as pc

    known = identified.filter(
        pc.and_(pc.is_in(identified.column("anonymous_id"), value_set=units), pc.is_valid(identified.column("user_id")))
    )
    return partners(zip(*(known.column(name).to_pylist() for name in ("user_id", "anonymous_id")), strict=True))


def _of_units(table: pa.Table, name: str, units: pa.Array) -> Iterator[tuple[str, int]]:
    import pyarrow.compute as pc

    known = table.filter(pc.is_in(table.column(name), value_set=units))
    yield from zip(known.column(name).to_pylist(), known.column("event_us").to_pylist(), strict=True)


def _nothing(flag: str, conversion: str, since_us: int | None, until_us: int | None, left_out: int = 0) -> str:
    when = " between these times" if since_us is not None or until_us is not None else ""
    if left_out:
        return f"{flag}: {left_out} exposures and conversions{when}, all of client keys; write_keys of the guard names those it believes"
    return (
        f"{flag}: no exposure by a split has landed{when}, so there is nothing to evaluate; the gate (RolloutController) sends "
        f"{EXPOSED} with flag, variant and reason SPLIT, `gtm import FILE` brings past ones, {conversion} is the conversion"
    )
