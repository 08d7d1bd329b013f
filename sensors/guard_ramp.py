"""Asks for a `ramp_flag` run when the next step of a declared ramp can be taken, for a message when it waits for approval alone.

Writes nothing.
"""

import time

import dagster as dg

from gtm_dagster.opsstore import OpsStore
from gtm_dagster.orchestration.ramp_jobs import ramp_request
from gtm_dagster.rollout.control.evaluation import store_exists
from gtm_dagster.settings import Settings


def guard_ramp(settings: Settings, job: dg.JobDefinition, page: dg.JobDefinition) -> dg.SensorDefinition:
    """The sensor over the guards that declare a ramp."""

    @dg.sensor(
        name="guard_ramp",
        jobs=[job, page],
        minimum_interval_seconds=10,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Asks for the next step of a flag's ramp, once a loss would have been seen at this one, the guard sees "
        "none, and a person approved it (`gtm guard ramp`), or `auto` is declared; of a step that waits for approval alone people are notified once.",
    )
    def sensor(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        ramped = [guard for guard in settings.guards if guard.ramp is not None]
        if not ramped:
            return dg.SensorResult(skip_reason="no guard declares a ramp: [guards.ramp] below a guard in gtm.toml")
        if not store_exists(settings):
            return dg.SensorResult(skip_reason="nothing is armed yet: the ops store is not there")
        lines, requests = [], []
        with OpsStore.of(settings) as store:
            for guard in ramped:
                row = store.guard(guard.key)
                if row is None or row.epoch == 0:
                    lines.append(f"{guard.key}: never armed")
                    continue
                try:
                    line, request = ramp_request(context.instance, store, settings, guard, time.time_ns() // 1000)
                except Exception as error:
                    lines.append(f"{guard.key}: could not be judged: {type(error).__name__}: {error}")
                    context.log.exception(f"{guard.key} could not be judged")
                    continue
                lines.append(line)
                requests += [request] if request else []
        if not requests:
            return dg.SensorResult(skip_reason="\n".join(lines))
        context.log.info("\n".join(lines))
        return dg.SensorResult(run_requests=requests)

    return sensor
