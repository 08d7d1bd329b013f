"""Watches how runs of the pipeline end, and asks for messages to people. Writes nothing but its cursor."""

from collections.abc import Sequence
from typing import Any

import dagster as dg

from gtm_dagster.orchestration.run_outcomes import NO_SINK, after_failure, after_success
from gtm_dagster.settings import Settings

Jobs = Sequence[Any]
"""Jobs of assets and of ops: Dagster has no public type for the first."""
QUIET = "A tick with an empty result saw no run that ended so since the tick before."
"""Dagster's own words for that tick are `Sensor function returned an empty result`."""


def failed_runs(settings: Settings, watched: Jobs, notify: dg.JobDefinition) -> dg.SensorDefinition:
    """The sensor of failures."""

    @dg.run_failure_sensor(
        name="failed_runs",
        monitored_jobs=list(watched),
        request_job=notify,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Notifies people ([[notify]] in gtm.toml) when a refresh, a rebuild or a pruning fails: once for a row of failures. "
        + QUIET,
    )
    def sensor(context: dg.RunFailureSensorContext) -> dg.RunRequest | dg.SkipReason:
        if not settings.notify:
            return dg.SkipReason(NO_SINK)
        run, message = context.dagster_run, context.failure_event.message
        return after_failure(context.instance, run, context.get_step_failure_events(), message)

    return sensor


def finished_runs(settings: Settings, watched: Jobs, notify: dg.JobDefinition) -> dg.SensorDefinition:
    """The sensor of runs that ended well."""

    @dg.run_status_sensor(
        name="finished_runs",
        run_status=dg.DagsterRunStatus.SUCCESS,
        monitored_jobs=list(watched),
        request_job=notify,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Notifies people ([[notify]] in gtm.toml) when a refresh works again after a failure, and when a check that "
        "held does not hold any more, such as the share of refused events. " + QUIET,
    )
    def sensor(context: dg.RunStatusSensorContext) -> dg.RunRequest | dg.SkipReason:
        if not settings.notify:
            return dg.SkipReason(NO_SINK)
        return after_success(context.instance, context.dagster_run)

    return sensor
