"""The loop of the refresh: from the offsets of the event log and the last runs to the run that is asked for.

`sensors/event_log.py` reads these and returns the decision.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import dagster as dg

from gtm_dagster.orchestration.jobs import REBUILD, REFRESH
from gtm_dagster.warehouse.landing.from_log import LogOffsets

UNFINISHED_RUN = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,  # it holds the writer's lock until it has stopped
]
WRITERS = {REFRESH, REBUILD, "__ASSET_JOB"}
GIVE_UP_AFTER = 3
PAUSE = timedelta(minutes=15)


def decide_refresh(
    offsets: LogOffsets, running: str | None, failed: list[tuple[str, datetime]], now: datetime
) -> dg.RunRequest | dg.SkipReason:
    """A run or why there is none, from offsets, the run under way, and the failed refreshes since the last good one.

    `failed` has run id and time (UTC), newest first. A failed refresh may have landed events it did not stage, so another
    is asked for even without new events; after three failures in a row only every 15 minutes.
    """
    if running:
        return dg.SkipReason(f"run {running[:8]} is under way")
    if offsets.newest <= offsets.landed and not failed:
        return dg.SkipReason(f"nothing new: {offsets.newest} events in the log, all landed")
    if len(failed) >= GIVE_UP_AFTER and now - failed[0][1] < PAUSE:
        return dg.SkipReason(
            f"the last {len(failed)} refreshes failed (newest {failed[0][0][:8]}); asking again 15 minutes after it"
        )
    # Dagster never starts two runs of one key: the attempt after a failed run needs a key of its own, and so does an
    # offset of another log.
    after = f"-after-{failed[0][0][:8]}" if failed else ""
    return dg.RunRequest(run_key=f"log-{offsets.log_id}-{offsets.newest}{after}")


def running_writer(instance: dg.DagsterInstance) -> str | None:
    """Id of a run under way that writes the warehouse."""
    runs = instance.get_runs(dg.RunsFilter(statuses=UNFINISHED_RUN))
    return next((run.run_id for run in runs if run.job_name in WRITERS), None)


def failed_refreshes(instance: dg.DagsterInstance) -> list[tuple[str, datetime]]:
    """Run id and time (UTC) of the refreshes that failed since the last good one, newest first; at most three."""
    failed = []
    for record in instance.get_run_records(dg.RunsFilter(job_name=REFRESH), limit=GIVE_UP_AFTER):
        if record.dagster_run.status != dg.DagsterRunStatus.FAILURE:
            break
        failed.append((record.dagster_run.run_id, record.update_timestamp.replace(tzinfo=UTC)))
    return failed
