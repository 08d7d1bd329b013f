"""Asks for a refresh when the event log has new events, at most every `refresh.min_interval_seconds`."""

from datetime import UTC, datetime

import dagster as dg

from gtm_dagster.eventlog import LogChangedError
from gtm_dagster.orchestration.dead_runs import fail_dead_runs
from gtm_dagster.orchestration.jobs import refresh_job
from gtm_dagster.orchestration.refresh_loop import decide_refresh, failed_refreshes, running_writer
from gtm_dagster.settings import Settings
from gtm_dagster.warehouse.landing.from_log import waiting_offsets


def event_log_sensor(settings: Settings) -> dg.SensorDefinition:
    """The sensor over this deployment's log."""

    @dg.sensor(
        name="event_log_sensor",
        job=refresh_job,
        minimum_interval_seconds=settings.refresh.min_interval_seconds,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Requests a refresh when the event log holds events that have not landed.",
    )
    def sensor(context: dg.SensorEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        fail_dead_runs(context.instance)
        running, failed = running_writer(context.instance), failed_refreshes(context.instance)
        try:
            offsets = waiting_offsets(settings)
        except LogChangedError as changed:  # a person has to decide; the refresh would only fail
            return dg.SkipReason(str(changed))
        return decide_refresh(offsets, running, failed, datetime.now(UTC))

    return sensor
