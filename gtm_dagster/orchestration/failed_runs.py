"""People are notified when analytics fail: a refresh, a rebuild, a check at severity ERROR. Once, while it keeps failing.

Runs that act on flags notify people of their own failures; those of this module write tables.
"""

from __future__ import annotations

import os
import time
from datetime import UTC, datetime

import dagster as dg

from gtm_dagster.delivery import deliver_due
from gtm_dagster.opsstore import OpsStore
from gtm_dagster.orchestration.jobs import REBUILD, REFRESH
from gtm_dagster.rollout.control.messages import Message, enqueue, moment
from gtm_dagster.settings import Settings

FAILED = "run_failed"
"""The event of such a message."""
WATCHED_JOBS = frozenset({REFRESH, REBUILD, "__ASSET_JOB"})
_REASON_LETTERS = 500


def first_failure(instance: dg.DagsterInstance, run: dg.DagsterRun) -> tuple[str, datetime]:
    """Run id and time of creation (UTC) of the first failure since the last good run of the same job: the run's own, or of
    one before it."""
    good = instance.get_run_records(
        dg.RunsFilter(job_name=run.job_name, statuses=[dg.DagsterRunStatus.SUCCESS]), limit=1
    )
    since = good[0].create_timestamp if good else None
    failures = dg.RunsFilter(job_name=run.job_name, statuses=[dg.DagsterRunStatus.FAILURE], created_after=since)
    first = instance.get_run_records(failures, limit=1, ascending=True)
    if not first:
        return run.run_id, datetime.now(UTC)
    return first[0].dagster_run.run_id, first[0].create_timestamp.replace(tzinfo=UTC)


def failed_checks(instance: dg.DagsterInstance, run_id: str) -> list[str]:
    """TABLE CHECK of each check of the run that failed at severity ERROR, with its description."""
    found = []
    for entry in instance.all_logs(run_id, dg.DagsterEventType.ASSET_CHECK_EVALUATION):
        check = entry.get_dagster_event().asset_check_evaluation_data
        if not check.passed and check.severity == dg.AssetCheckSeverity.ERROR:
            said = f" ({check.description})" if check.description else ""
            found.append(f"{'.'.join(check.asset_key.path)} {check.check_name}{said}")
    return found


def notify_of_failure(
    instance: dg.DagsterInstance, settings: Settings, run: dg.DagsterRun, reason: str, now_us: int | None = None
) -> int:
    """Store the message about a failed run and send it; returns to how many sinks it is new: 0 while the job keeps failing."""
    if run.job_name not in WATCHED_JOBS or not settings.notify:
        return 0
    now_us = now_us or time.time_ns() // 1000
    first, began = first_failure(instance, run)
    name = "a materialisation or check" if run.job_name == "__ASSET_JOB" else f"the job {run.job_name}"
    checks = failed_checks(instance, run.run_id)
    what = f"checks that do not hold: {'; '.join(checks)}" if checks else " ".join(reason.split())
    text = (
        f"{settings.state_dir}: {name} failed: {what[:_REASON_LETTERS]}. Tables and dashboard stay as they were before it. Run "
        f"{run.run_id} in the web UI says more; further failures until the next good run are not announced"
    )
    figures = {
        "job": run.job_name, "run_id": run.run_id, "failed_checks": checks,
        "first_failed_at": moment(round(began.timestamp() * 1e6)),
    }  # fmt: skip
    occurrence = f"run/{run.job_name}"
    with OpsStore.of(settings) as store:
        new = enqueue(store, settings, occurrence, f"{FAILED}-{first}", Message(FAILED, "", text, figures), now_us)
        if new:
            deliver_due(store, settings, now_us, os.environ, only=occurrence)
    return new
