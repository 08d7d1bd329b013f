"""Why a declared guard is watched by nobody: problems that the guard itself cannot report."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

from gtm_dagster.commands.output import utc_time

if TYPE_CHECKING:
    from gtm_dagster.opsstore import OpsStore
    from gtm_dagster.settings import Settings


def unwatched(settings: Settings, *, flags: bool = True) -> list[str]:
    """Each reason in words with the way out: silent parts, a stopped sensor, and, with `flags`, a flag that is on beside a
    guard that is not armed."""
    from gtm_dagster.opsstore import OpsStore
    from gtm_dagster.rollout.control.evaluation import store_exists

    if not store_exists(settings):
        return [*_sensor(settings, acting=False), *(_flags(settings, None) if flags else [])] if settings.guards else []
    with OpsStore.of(settings) as store:
        acting = any(row.state != "DISARMED" for row in store.guards())
        silent = _silent(store)
        sensor = _sensor(settings, acting) if settings.guards or acting else []
        return [
            *silent,
            *(sensor if not any("conversion_guard" in line for line in silent) else []),
            *(_flags(settings, store) if flags else []),
        ]


def _silent(store: OpsStore) -> list[str]:
    from gtm_dagster.stream.watchdog import PARTS

    return [
        f"{PARTS[name].silence} since {utc_time(since):%Y-%m-%dT%H:%M:%SZ}; {PARTS[name].way_out}"
        for name, since in store.alarms().items()
        if name in PARTS
    ]


def _sensor(settings: Settings, acting: bool) -> list[str]:
    from gtm_dagster.orchestration.guard_sensor import sensor_state
    from gtm_dagster.stream.watchdog import PARTS, SENSOR, SILENT_US

    state = sensor_state(settings)
    if state is None:
        return []
    if state.stopped:
        return ["the sensor conversion_guard is stopped, so no flag is turned off: start it in the web UI (Automation)"]
    late = state.last_look_us is not None and time.time_ns() // 1000 - state.last_look_us > SILENT_US
    if not acting or not late:
        return []
    return [f"{PARTS[SENSOR].silence} since {utc_time(state.last_look_us):%Y-%m-%dT%H:%M:%SZ}; {PARTS[SENSOR].way_out}"]


def _flags(settings: Settings, store: OpsStore | None) -> list[str]:
    """Declared guards that are not armed while their provider serves the new flow."""
    from gtm_dagster.rollout.control.unguarded import unguarded
    from gtm_dagster.rollout.guard.decide import DISARMED

    found = []
    for guard in settings.guards:
        row = store.guard(guard.key) if store is not None else None
        problem = unguarded(settings, guard, row.state if row else DISARMED, os.environ)
        if problem:
            found.append(problem)
    return found
