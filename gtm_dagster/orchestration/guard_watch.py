"""What Dagster's daemon does for the guards beside its own work: it says when their sensor looked, and watches the worker."""

from __future__ import annotations

import time

import dagster as dg

from gtm_dagster.delivery import deliver_due
from gtm_dagster.opsstore import OpsStore
from gtm_dagster.orchestration.guard_sensor import sensor_state_in
from gtm_dagster.rollout.control.evaluation import store_exists
from gtm_dagster.settings import Settings
from gtm_dagster.stream.watchdog import SENSOR, STREAM, Watchdog


class GuardWatch:
    """`look` is done every few seconds in a thread of the daemon; the store may come into being later."""

    def __init__(self, instance: dg.DagsterInstance, settings: Settings) -> None:
        self._instance, self._settings = instance, settings
        self._store: OpsStore | None = None
        self._watchdog: Watchdog | None = None

    def look(self) -> None:
        """Store the sensor's last look, notify of a silent stream worker, and send what is due: it may be its own sender."""
        if self._store is None or self._watchdog is None:
            if not store_exists(self._settings):
                return
            self._store = OpsStore.of(self._settings)
            self._watchdog = Watchdog(self._store, self._settings, (STREAM,))
        state = sensor_state_in(self._instance)
        if state is not None and state.last_look_us is not None:
            self._store.beat(SENSOR, state.last_look_us)
        self._watchdog.look()
        if STREAM in self._store.alarms():
            deliver_due(self._store, self._settings, time.time_ns() // 1000)
