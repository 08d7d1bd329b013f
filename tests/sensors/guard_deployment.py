"""The guard of one deployment as Dagster drives it: sensor, daemon, runs."""

from __future__ import annotations

import time
from typing import Any

import dagster as dg
import pytest
from acting_cases import GUARD, Scripted

from gtm_dagster.definitions import build_defs
from gtm_dagster.orchestration.guard_jobs import ROLLBACKS
from gtm_dagster.rollout.guard.decide import episode_id
from gtm_dagster.rollout.providers.flagd import Flagd
from gtm_dagster.settings import Settings

EPISODE = episode_id(GUARD.key, 1)
QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
STEPS = ["claim", "turn_off", "verify", "record"]


class Deployment:
    """Sensor, daemon and runs of one instance; the cursor goes from tick to tick as in the daemon."""

    def __init__(self, settings: Settings, instance: dg.DagsterInstance) -> None:
        self.settings = settings
        self.instance = instance
        self.defs = build_defs(settings=settings)
        self.cursor: str | None = None

    def tick(self) -> tuple[list[dg.RunRequest], str]:
        """The runs a tick asks for, and why it asks for none."""
        sensor = self.defs.resolve_sensor_def("conversion_guard")
        with dg.build_sensor_context(self.instance, self.cursor, definitions=self.defs) as context:
            tick = sensor.evaluate_tick(context)
        self.cursor = tick.cursor
        return list(tick.run_requests or ()), tick.skip_message or ""

    def run(self, request: dg.RunRequest) -> Any:
        """Start the run of a request as the daemon does; None when a run has its key already."""
        if request.run_key and self.instance.get_runs(dg.RunsFilter(tags={"dagster/run_key": request.run_key})):
            return None
        return self.execute(
            request.job_name, request.run_config, {**request.tags, "dagster/run_key": request.run_key or ""}
        )

    def execute(self, job: str, config: dict[str, Any], tags: dict[str, str] | None = None) -> Any:
        return self.defs.resolve_job_def(job).execute_in_process(
            {**config, **QUIET}, instance=self.instance, raise_on_error=False, tags=tags
        )

    def materializations(self) -> list[Any]:
        found = self.instance.fetch_materializations(ROLLBACKS, limit=10).records
        return [record.asset_materialization for record in found]


def ran(result: Any) -> list[str]:
    """Steps of a run that succeeded, in their order."""
    return [event.step_key for event in result.all_events if event.event_type_value == "STEP_SUCCESS"]


def failure(result: Any) -> str:
    """The description of the first step that failed."""
    failed = next(event for event in result.all_events if event.event_type_value == "STEP_FAILURE")
    return failed.event_specific_data.user_failure_data.description


def later(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    """Let the sensor's clock run ahead."""
    now = time.time_ns()
    monkeypatch.setattr("sensors.conversion_guard.time.time_ns", lambda: now + round(seconds * 1e9))


def served_new(settings: Settings) -> int:
    """How many of 100 visitors the provider serves the new flow."""
    return sum(Flagd(settings.flags_path).evaluate(GUARD.flag, GUARD.environment, [f"v{i}" for i in range(100)]))


def act_through(monkeypatch: pytest.MonkeyPatch, writer: Scripted) -> None:
    """Every action of the test reaches the scripted provider, and gives up on it soon."""
    monkeypatch.setattr("gtm_dagster.rollout.control.guard_context.writer_for", lambda provider, environ: writer)
    monkeypatch.setattr("gtm_dagster.rollout.control.acting.GIVE_UP_SECONDS", 0.4)
    monkeypatch.setattr("gtm_dagster.rollout.control.acting.VERIFY_SECONDS", 0.4)
