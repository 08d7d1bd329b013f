"""Notifies people when a refresh or a check at severity ERROR fails: once, until the next good run of the same job."""

import dagster as dg

from gtm_dagster.orchestration.failed_runs import notify_of_failure
from gtm_dagster.settings import Settings


def failed_runs(settings: Settings) -> dg.SensorDefinition:
    """The sensor over this deployment's runs; where they are notified stands under [[notify]]."""

    @dg.run_failure_sensor(
        name="failed_runs",
        minimum_interval_seconds=30,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Sends a message to the sinks of [[notify]] when a refresh, a rebuild or a check at severity ERROR fails: "
        "once, until the next good run of the same job.",
    )
    def sensor(context: dg.RunFailureSensorContext) -> None:
        steps = [event.step_failure_data.user_failure_data for event in context.get_step_failure_events()]
        described = [step.description for step in steps if step is not None and step.description]
        new = notify_of_failure(
            context.instance,
            settings,
            context.dagster_run,
            described[0] if described else context.failure_event.message or "",
        )
        context.log.info(f"run {context.dagster_run.run_id}: a message to {new} sinks")

    return sensor
