"""The guard's sensor as Dagster knows it: whether it is on, and when it last looked."""

from __future__ import annotations

from dataclasses import dataclass

import dagster as dg
from dagster._core.definitions.run_request import InstigatorType
from dagster._core.scheduler.instigation import InstigatorStatus, TickStatus

from gtm_dagster.orchestration.guard_tick import SENSOR
from gtm_dagster.orchestration.instance import instance_of
from gtm_dagster.settings import Settings

_LOOKED = [TickStatus.SKIPPED, TickStatus.SUCCESS]


@dataclass(frozen=True)
class SensorState:
    """`stopped` by a person; `last_look_us` (microseconds UTC) of the last tick that came to its end, None before it."""

    stopped: bool
    last_look_us: int | None


def sensor_state(settings: Settings) -> SensorState | None:
    """The sensor of this deployment; None before Dagster's daemon ran here, or a person switched it."""
    if not (settings.dagster_home / "dagster.yaml").exists():
        return None
    with instance_of(settings) as instance:
        return sensor_state_in(instance)


def sensor_state_in(instance: dg.DagsterInstance) -> SensorState | None:
    """The same of an open instance. A deployment loaded under several names has its sensor once each: one on is enough."""
    states = [
        state
        for state in instance.all_instigator_state(instigator_type=InstigatorType.SENSOR)
        if state.instigator_name == SENSOR
    ]
    if not states:
        return None
    looks = []
    for state in states:
        ticks = instance.get_ticks(state.instigator_origin_id, state.selector_id, limit=1, statuses=_LOOKED)
        looks += [round(tick.timestamp * 1_000_000) for tick in ticks]
    return SensorState(all(state.status == InstigatorStatus.STOPPED for state in states), max(looks, default=None))
