"""Counting for one guard: exposures and conversions in, units and cells corrected. Their order does not matter.

A conversion is of the unit of its ids, and of the unit that was exposed by an anonymous id of its user (`unit_links`).

A unit counts once an epoch, in the arm of its first exposure (a tie: control); its outcome is its first conversion
within the window. What arrives late moves the unit's cells; what arrives again changes nothing. A unit that has stayed
away for longer than a cohort is evaluated is forgotten, and counts as a new one when it comes back.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import pairwise

import msgspec
from sqlalchemy import Connection

from gtm_dagster.opsstore import OpsStore, UnitRow
from gtm_dagster.opsstore.unit_counts import Cell
from gtm_dagster.rollout.guard.blindness import CONVERSIONS, MATCHED
from gtm_dagster.rollout.guard.by_arm import COUNTED, arm_record
from gtm_dagster.rollout.guard.counts import EXPOSURES, SLOT_US, age_in_slots
from gtm_dagster.rollout.guard.unit_links import partners
from gtm_dagster.settings import Guard
from gtm_dagster.stream.guard_events import GuardEvents
from gtm_dagster.stream.guard_segments import segment_changes
from gtm_dagster.stream.unit_outcomes import UnitOutcomes, metric_changes

Epochs = Sequence[tuple[int, int]]
"""(epoch, since_us), in order."""


def window_us(guard: Guard) -> int:
    """The guard's conversion window in microseconds."""
    return round(guard.conversion_window_minutes * 60_000_000)


def epoch_of(epochs: Epochs, event_us: int) -> int | None:
    """The epoch that counts what happened at `event_us`; None before the first."""
    at = bisect_right(epochs, event_us, key=lambda each: each[1])
    return epochs[at - 1][0] if at else None


def with_outcome(unit: str, epoch: int, arm: str, exposed_us: int, times: Sequence[int], window_us: int) -> UnitRow:
    """The unit with its outcome among `times` of conversion events, in order."""
    at = bisect_left(times, exposed_us)
    converted = at < len(times) and times[at] - exposed_us <= window_us
    return UnitRow(unit, epoch, arm, exposed_us, times[at] if converted else None)


def cells(unit: UnitRow, window_us: int) -> list[Cell]:
    """The cells that count the unit: one of exposures, and one of conversions when it converted."""
    slot = unit.exposed_us // SLOT_US
    found: list[Cell] = [(unit.epoch, slot, unit.arm, EXPOSURES)]
    if unit.converted_us is not None:
        age = age_in_slots(unit.exposed_us, unit.converted_us, window_us)
        if age is not None:
            found.append((unit.epoch, slot, unit.arm, age))
    return found


def count(store: OpsStore, con: Connection, guard: Guard, epochs: Epochs, events: GuardEvents) -> int:
    """Count the events into units and cells of the guard; returns the units that changed."""
    key, window = guard.key, window_us(guard)
    ended = store.units_ended(con, key)
    first: dict[tuple[str, int], tuple[int, str]] = {}
    for unit, at_us, arm, declared in events.exposures:
        epoch = epoch_of(epochs, at_us)
        if epoch is None or declared not in (None, epoch):
            continue
        if at_us >= ended.get(epoch, at_us):  # an earlier one was counted before its unit was pruned
            first[unit, epoch] = min(first.get((unit, epoch), (at_us, arm)), (at_us, arm))
    converted = {each for each in events.conversions if epoch_of(epochs, each[1]) is not None}
    metric_events = [each for each in events.metrics if epoch_of(epochs, each[2]) is not None]
    store.add_links(con, key, events.links)
    converters = {unit for unit, _ in converted} | {unit for _, unit, _, _ in metric_events}
    others = {unit for _, _, *ids in events.uncounted for unit in ids if unit}
    visitors = partners(store.links_of_users(con, key, converters | others))
    converters |= {visitor for unit in converters for visitor in visitors.get(unit, ())}
    converters |= {visitor for visitor, _, _ in events.links}
    names = {unit for unit, _ in first} | converters | others
    names |= {visitor for unit in others for visitor in visitors.get(unit, ())}
    stored = {(row.unit, row.epoch): row for row in store.units(con, key, names)}
    if ended:
        _leave_pruned(store, con, key, first, stored)
    store.add_conversions(con, key, sorted(converted))
    store.add_metric_events(con, key, metric_events)
    touched = set(first) | {(unit, epoch) for unit, epoch in stored if unit in converters}
    units = {unit for unit, _ in touched}
    users = partners(store.links_of_visitors(con, key, units))
    times = store.conversions(con, key, units.union(*users.values()))
    metrics = UnitOutcomes(
        guard, store.metric_events(con, key, units.union(*users.values())) if guard.metrics else {}, users
    )
    before, after = [], []
    for unit, epoch in sorted(touched):
        old = stored.get((unit, epoch))
        known = times.get(unit, [])
        if unit in users:
            known = sorted({*known, *(at_us for user in users[unit] for at_us in times.get(user, ()))})
        exposure = first.get((unit, epoch))
        if old is not None:
            exposure = min(exposure or (old.exposed_us, old.arm), (old.exposed_us, old.arm))
            if old.converted_us is not None:  # its event may have been pruned
                known = sorted({*known, old.converted_us})
        assert exposure is not None  # noqa: S101 - a touched unit is stored, or in `first`
        new = with_outcome(unit, epoch, exposure[1], exposure[0], known, window)
        segment = events.segments.get((unit, *exposure), old.segment if old is not None else None)
        if old is not None and exposure == (old.exposed_us, old.arm):
            segment = old.segment
        new = msgspec.structs.replace(new, outcomes=metrics.of(new), segment=segment)
        if new != old:
            after.append(new)
            if old is not None:
                before.append(old)
    store.put_units(con, key, after)
    store.add_cells(con, key, _difference(before, after, window))
    _add_further(store, con, guard, before, after)
    for epoch, records in sorted(Counter(epoch_of(epochs, at_us) or 0 for at_us in events.left_out).items()):
        if epoch:
            store.add_left_out(con, key, epoch, records)
    arms = {row.unit: row.arm for row in (*stored.values(), *after) if row.epoch == epochs[-1][0]}
    for user, linked in visitors.items():
        of_visitor = next((arms[visitor] for visitor in sorted(linked) if visitor in arms), None)
        if of_visitor is not None:
            arms.setdefault(user, of_visitor)
    _add_records(store, con, key, events, arms)
    return len(after)


def _add_further(
    store: OpsStore, con: Connection, guard: Guard, before: Sequence[UnitRow], after: Sequence[UnitRow]
) -> None:
    """Correct the cells of further metrics, and the segments."""
    if guard.metrics:
        store.add_metric_cells(con, guard.key, metric_changes(guard, before, after))
    store.add_segments(con, guard.key, segment_changes(before, after))


def _add_records(store: OpsStore, con: Connection, key: str, events: GuardEvents, arms: Mapping[str, str]) -> None:
    """Add the records of the batch; `matched` are conversions with an id of a unit in `arms`: those of the newest epoch."""
    records = Counter(events.records)

    def arm_of(*ids: str | None) -> str | None:
        return next((arms[unit] for unit in ids if unit is not None and unit in arms), None)

    for step, user, anonymous in events.ids:
        arm = arm_of(user, anonymous)
        if arm is not None:
            records[step, MATCHED] += 1
            records[step, arm_record(COUNTED, CONVERSIONS, arm)] += 1
    for step, kind, user, anonymous in events.uncounted:
        records[step, arm_record(kind, CONVERSIONS, arm_of(user, anonymous))] += 1
    store.add_records(con, key, records)


def _leave_pruned(
    store: OpsStore,
    con: Connection,
    key: str,
    first: dict[tuple[str, int], tuple[int, str]],
    stored: Collection[tuple[str, int]],
) -> None:
    """Take out of `first` the units that are counted and pruned already; they were seen once more."""
    fresh = [each for each in first if each not in stored]
    seen_us = max((first[each][0] for each in fresh), default=0)
    known = store.known_units(con, key, fresh, seen_us)
    store.know_units(con, key, sorted(known), seen_us)
    for each in known:
        del first[each]


def end_epochs(store: OpsStore, con: Connection, guard: Guard, epochs: Epochs) -> None:
    """Take out of each epoch the units that were first exposed after the next one began."""
    for (epoch, _), (_, next_us) in pairwise(epochs):
        gone = store.units_since(con, guard.key, epoch, next_us)
        store.drop_units(con, guard.key, gone)
        store.add_cells(con, guard.key, _difference(gone, [], window_us(guard)))
        _add_further(store, con, guard, gone, [])


def _difference(before: Iterable[UnitRow], after: Iterable[UnitRow], window_us: int) -> dict[Cell, int]:
    changes: Counter[Cell] = Counter()
    for row in after:
        changes.update(cells(row, window_us))
    for row in before:
        changes.subtract(cells(row, window_us))
    return changes
