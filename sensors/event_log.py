"""Asks for a refresh when the event log holds news, at most every `refresh.min_interval_seconds`."""

from datetime import UTC, datetime, timedelta

import dagster as dg

from gtm_dagster.eventlog import LogChangedError
from gtm_dagster.orchestration.dead_runs import fail_dead_runs
from gtm_dagster.orchestration.jobs import REFRESH, refresh_job
from gtm_dagster.settings import Settings
from gtm_dagster.warehouse.landing.from_log import waiting_offsets

IN_FLIGHT = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
]
WRITERS = {REFRESH, "__ASSET_JOB"}
GIVE_UP_AFTER = 3
PAUSE = timedelta(minutes=15)


def decide(
    landed: int, newest: int, running: str | None, failed: list[tuple[str, datetime]], now: datetime
) -> dg.RunRequest | dg.SkipReason:
    """What to do, from offsets, the run under way, and the newest refreshes in a row that failed (newest first).

    A failed refresh may have landed events it did not stage, so it is asked again even without news; after three
    failures in a row only every 15 minutes.
    """
    if running:
        return dg.SkipReason(f"run {running[:8]} is under way")
    if newest <= landed and not failed:
        return dg.SkipReason(f"nothing new: {newest} events in the log, all landed")
    if len(failed) >= GIVE_UP_AFTER and now - failed[0][1] < PAUSE:
        return dg.SkipReason(
            f"the last {len(failed)} refreshes failed (newest {failed[0][0][:8]}); asking again 15 minutes after it"
        )
    # A run key counts for ever, so the failed run before it makes a new attempt a new key.
    after = f"-after-{failed[0][0][:8]}" if failed else ""
    return dg.RunRequest(run_key=f"log-{newest}{after}")


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
        instance = context.instance
        fail_dead_runs(instance)
        running = next(
            (r.run_id for r in instance.get_runs(dg.RunsFilter(statuses=IN_FLIGHT)) if r.job_name in WRITERS), None
        )
        failed = []
        for record in instance.get_run_records(dg.RunsFilter(job_name=REFRESH), limit=GIVE_UP_AFTER):
            if record.dagster_run.status != dg.DagsterRunStatus.FAILURE:
                break
            failed.append((record.dagster_run.run_id, record.update_timestamp.replace(tzinfo=UTC)))
        try:
            landed, newest = waiting_offsets(settings)
        except LogChangedError as changed:  # a person has to decide; the refresh would only fail
            return dg.SkipReason(str(changed))
        return decide(landed, newest, running, failed, datetime.now(UTC))

    return sensor
