"""Asks for a refresh when the event log holds news, at most every `refresh.min_interval_seconds`."""

from pathlib import Path

import dagster as dg

from gtm_dagster.eventlog.sqlite import SqliteEventLog
from gtm_dagster.orchestration.jobs import REFRESH, refresh_job
from gtm_dagster.orchestration.resources import run_tags
from gtm_dagster.settings import Settings
from gtm_dagster.warehouse.landing import Landing

IN_FLIGHT = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
]


def waiting_events(settings: Settings) -> tuple[int, int]:
    """Offsets (landed, newest) of the event log; both 0 before the first event. Never opens DuckDB."""
    if not settings.log_path.exists():
        return 0, 0
    log = SqliteEventLog(Path(settings.log_path), dedup_days=settings.dedup_days)
    try:
        return Landing(settings.landing_dir).log_end(), log.last_seq()
    finally:
        log.close()


def event_log_sensor(settings: Settings) -> dg.SensorDefinition:
    """The sensor over this deployment's log."""

    @dg.sensor(
        name="event_log_sensor",
        job=refresh_job,
        minimum_interval_seconds=settings.refresh.min_interval_seconds,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Requests a refresh when the event log holds events that have not landed.",
    )
    def sensor(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
        running = context.instance.get_runs(dg.RunsFilter(job_name=REFRESH, statuses=IN_FLIGHT), limit=1)
        if running:
            return dg.SkipReason(f"refresh {running[0].run_id[:8]} is under way")
        landed, newest = waiting_events(settings)
        if newest <= landed:
            return dg.SkipReason(f"nothing new: {newest} events in the log, all landed")
        # A failed run keeps its offsets unlanded; the minute in the key lets the next tick try again.
        return dg.SensorResult(
            run_requests=[dg.RunRequest(run_key=f"log-{newest}-{context.cursor or 0}", tags=run_tags())],
            cursor=str(int(context.cursor or 0) + 1),
        )

    return sensor
