"""From the events of a batch to what each guard counts: who saw which arm when, and who converted when."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import msgspec

from gtm_dagster.gate.exposures import ARMS, EXPOSED, RefusedExposure, randomised_exposure, refused_exposure
from gtm_dagster.opsstore.guard_records import FROM, STEP_US
from gtm_dagster.rollout.guard.believed import believes
from gtm_dagster.rollout.guard.blindness import CONVERSIONS, EXPOSURES, REFUSED, metric_records, record_name
from gtm_dagster.rollout.guard.by_arm import BOTS, COUNTED, arm_record
from gtm_dagster.rollout.guard.metric_rule import MetricRule, metric_rules
from gtm_dagster.rollout.guard.metric_values import event_value
from gtm_dagster.rollout.guard.unit_links import IDENTIFIED
from gtm_dagster.settings import DRILL_FLAG, DRILL_REASON, Guard
from gtm_dagster.stream.guard_segments import segment_of
from gtm_dagster.stream.reducer import Rows

LATE_US = 86_400_000_000
"""An event that arrives later than this after it happened (24 h) is not counted, neither exposure nor conversion."""
COLUMNS = (
    "event_name", "event_us", "received_us", "user_id", "anonymous_id", "properties", "write_key", "key_role", "verdict",
    "reason_codes", "raw", "bot_reason", "country", "device_type",
)  # fmt: skip
"""Of the rows that `events_by_guard` takes."""


class GuardEvents(msgspec.Struct, frozen=True):
    """`exposures` are (unit, event_us, arm, epoch), `conversions` (unit, event_us); in any order, with repetitions.

    The epoch is given for a drill's alone: drills follow each other within minutes, and their times overlap. `left_out`:
    times of such events whose write key the guard does not believe, of refused ones their receipt. `ids`: (step of receipt, user id, anonymous id) of
    each conversion. `links`: (anonymous id, user id, event_us) of events IDENTIFIED. `uncounted`: (step, kind, user id,
    anonymous id) of conversions that were refused or came from bots. `records`: numbers by step of receipt and name, see
    `rollout.guard.blindness` and `rollout.guard.by_arm`.
    `metrics`: (metric, unit, event_us, value) of further metrics. `segments`: of the exposures, see `guard_segments`.
    """

    exposures: list[tuple[str, int, str, int | None]]
    conversions: list[tuple[str, int]]
    left_out: list[int] = msgspec.field(default_factory=list)
    ids: list[tuple[int, str | None, str | None]] = msgspec.field(default_factory=list)
    links: list[tuple[str, str, int]] = msgspec.field(default_factory=list)
    uncounted: list[tuple[int, str, str | None, str | None]] = msgspec.field(default_factory=list)
    records: Counter[tuple[int, str]] = msgspec.field(default_factory=Counter)
    metrics: list[tuple[str, str, int, int]] = msgspec.field(default_factory=list)
    segments: dict[tuple[str, int, str], str] = msgspec.field(default_factory=dict)


_Guards = list[tuple[Guard, GuardEvents]]


def counted_us(event_us: int, received_us: int) -> int | None:
    """The time an event counts at: its own, but not after its receipt (a clock that runs ahead); None when too late."""
    return None if received_us - event_us > LATE_US else min(event_us, received_us)


def events_by_guard(rows: Rows, guards: Sequence[Guard]) -> dict[str, GuardEvents]:
    """What each guard counts among `rows` of COLUMNS, by guard key.

    An exposure's unit is its user id, else its anonymous id; a conversion is one of both ids. What comes from a bot counts
    nowhere, refused or not.
    """
    found = {guard.key: GuardEvents([], []) for guard in guards}
    by_flag: dict[str, _Guards] = {}
    by_event: dict[str, _Guards] = {}
    by_metric: dict[str, list[tuple[Guard, GuardEvents, MetricRule]]] = {}
    exposures: Counter[tuple[int, str]] = Counter()
    everyone = [(guard, found[guard.key]) for guard in guards]
    for guard, events in everyone:
        by_flag.setdefault(guard.flag, []).append((guard, events))
        by_event.setdefault(guard.conversion, []).append((guard, events))
        for metric in metric_rules(guard)[1:]:
            by_metric.setdefault(metric.event, []).append((guard, events, metric))
    for row in rows:
        (name, event_us, received_us, user, anonymous, properties, write_key, key_role, verdict, reasons, raw, bot) = (
            row[:12]
        )
        step = received_us // STEP_US
        if bot is not None:
            exposure = randomised_exposure(properties) if name == EXPOSED else None
            if exposure is not None:
                for guard, events in by_flag.get(exposure.flag, ()):
                    if believes(guard.write_keys, write_key, key_role):
                        events.records[step, arm_record(BOTS, EXPOSURES, exposure.variant)] += 1
            for guard, events in by_event.get(name, ()):
                if believes(guard.write_keys, write_key, key_role):
                    events.uncounted.append((step, BOTS, user, anonymous))
            continue
        if verdict != "accepted" and reasons != DRILL_REASON:
            refused = (refused_exposure(raw) or RefusedExposure()) if name == EXPOSED else None
            for guard, events in _shown(refused, everyone, by_flag):
                if believes(guard.write_keys, write_key, key_role):
                    events.records[step, record_name(verdict, EXPOSURES, reasons)] += 1
                    if refused is not None and refused.flag is not None and refused.variant in ARMS:
                        events.records[step, arm_record(REFUSED, EXPOSURES, refused.variant)] += 1
                else:
                    events.left_out.append(received_us)
            for guard, events in by_event.get(name, ()):
                if believes(guard.write_keys, write_key, key_role):
                    events.records[step, record_name(verdict, CONVERSIONS, reasons)] += 1
                    events.uncounted.append((step, REFUSED, user, anonymous))
                else:
                    events.left_out.append(received_us)
            for guard, events, metric in by_metric.get(name, ()):
                if believes(guard.write_keys, write_key, key_role):
                    events.records[step, record_name(verdict, metric_records(metric.name), reasons)] += 1
                elif name != guard.conversion:
                    events.left_out.append(received_us)
            continue
        if name == EXPOSED:
            exposures[step, EXPOSURES] += 1
        at_us = counted_us(event_us, received_us)
        if at_us is None:
            continue
        if name == EXPOSED:
            exposure = randomised_exposure(properties)
            unit = user or anonymous
            if exposure is not None and unit:
                epoch = exposure.epoch if exposure.flag == DRILL_FLAG else None
                for guard, events in by_flag.get(exposure.flag, ()):
                    if believes(guard.write_keys, write_key, key_role):
                        events.exposures.append((unit, at_us, exposure.variant, epoch))
                        events.records[step, arm_record(COUNTED, EXPOSURES, exposure.variant)] += 1
                        exposed, segment = (unit, at_us, exposure.variant), segment_of(*row[12:])
                        events.segments[exposed] = min(events.segments.get(exposed, segment), segment)
                        events.records[step, FROM + write_key] += 1
                    else:
                        events.left_out.append(at_us)
        if name == IDENTIFIED and user and anonymous:
            for guard, events in everyone:
                if believes(guard.write_keys, write_key, key_role):
                    events.links.append((anonymous, user, at_us))
        for guard, events in by_event.get(name, ()):
            if believes(guard.write_keys, write_key, key_role):
                events.conversions.extend((unit, at_us) for unit in (user, anonymous) if unit)
                events.ids.append((step, user, anonymous))
                events.records[step, CONVERSIONS] += 1
                events.records[step, FROM + write_key] += 1
            else:
                events.left_out.append(at_us)
        for guard, events, metric in by_metric.get(name, ()):
            if not believes(guard.write_keys, write_key, key_role):
                if name != guard.conversion:  # else it is left out already
                    events.left_out.append(at_us)
                continue
            events.records[step, metric_records(metric.name)] += 1
            events.records[step, FROM + write_key] += 1
            value = event_value(metric, properties)
            if value is not None:
                events.metrics.extend((metric.name, unit, at_us, value) for unit in (user, anonymous) if unit)
    for events in found.values():
        events.records.update(exposures)
    return found


def _shown(refused: RefusedExposure | None, everyone: _Guards, by_flag: dict[str, _Guards]) -> _Guards:
    """The guards of a refused exposure: all, where it does not say of which flag it was."""
    if refused is None:
        return []
    return everyone if refused.flag is None else by_flag.get(refused.flag, [])
