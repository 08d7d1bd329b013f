"""From log records to what a guard counts: who saw which arm when, and who converted when."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from gtm_dagster.gate.exposures import EXPOSED, randomised_exposure
from gtm_dagster.settings import DRILL_FLAG, DRILL_REASON, Guard

if TYPE_CHECKING:
    import pyarrow as pa

LATE_US = 86_400_000_000
"""An event that arrives later than this after it happened (24 h) is not counted, neither exposure nor conversion."""


class Sightings(msgspec.Struct, frozen=True):
    """`exposures` are (unit, event_us, arm, epoch), `conversions` (unit, event_us); in any order, with repetitions.

    The epoch is told for a drill's alone: drills follow each other within minutes, and their times overlap.
    """

    exposures: list[tuple[str, int, str, int | None]]
    conversions: list[tuple[str, int]]


def counted_us(event_us: int, received_us: int) -> int | None:
    """The time an event counts at: its own, but not after its receipt (a clock that runs ahead); None when too late."""
    return None if received_us - event_us > LATE_US else min(event_us, received_us)


def sightings(table: pa.Table, guards: Sequence[Guard]) -> dict[str, Sightings]:
    """What each guard counts among the records of `table` (landing columns), by guard key.

    Only accepted records, and those of a drill. An exposure's unit is its user id, else its anonymous id; a conversion is one of both ids.
    """
    found = {guard.key: Sightings([], []) for guard in guards}
    by_flag: dict[str, list[Sightings]] = {}
    by_event: dict[str, list[Sightings]] = {}
    for guard in guards:
        by_flag.setdefault(guard.flag, []).append(found[guard.key])
        by_event.setdefault(guard.conversion, []).append(found[guard.key])
    for name, event_us, received_us, user, anonymous, properties in _rows(table, {EXPOSED, *by_event}):
        at_us = counted_us(event_us, received_us)
        if at_us is None:
            continue
        if name == EXPOSED:
            shown = randomised_exposure(properties)
            unit = user or anonymous
            if shown is not None and unit:
                drill = shown.flag == DRILL_FLAG
                for seen in by_flag.get(shown.flag, ()):
                    seen.exposures.append((unit, at_us, shown.variant, shown.epoch if drill else None))
        for seen in by_event.get(name, ()):
            seen.conversions.extend((unit, at_us) for unit in (user, anonymous) if unit)
    return found


def _rows(table: pa.Table, names: set[str]) -> list[tuple[Any, ...]]:
    """The few columns and rows that matter; the rest never becomes Python objects."""
    import pyarrow as pa
    import pyarrow.compute as pc

    named = pc.is_in(table["event_name"], value_set=pa.array(sorted(names), pa.string()))
    drill = pc.and_(pc.equal(table["verdict"], "suppressed"), pc.equal(table["reason_codes"], DRILL_REASON))
    held = pc.or_kleene(pc.equal(table["verdict"], "accepted"), drill)
    wanted = pc.and_(named, pc.and_(held, pc.is_valid(table["event_us"])))
    columns = ("event_name", "event_us", "received_us", "user_id", "anonymous_id", "properties")
    chosen = table.select(columns).filter(wanted)
    return list(zip(*(chosen[name].to_pylist() for name in columns), strict=True))
