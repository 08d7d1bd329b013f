"""Watches every armed guard and asks for a `rollback_flag` run when its flow provably loses too much.

The counts come from the ops store, the decision from pure functions of them, so "Test sensor" in the UI does no harm: it
writes nothing, Dagster's daemon stores the page `ops/guards` after the tick.
"""

import time

import dagster as dg

from gtm_dagster.delivery import not_delivered, undelivered_line
from gtm_dagster.opsstore import OpsStore
from gtm_dagster.orchestration.guard_jobs import GuardJobs
from gtm_dagster.orchestration.guard_loop import cursor_of, look, occurrences_of
from gtm_dagster.orchestration.guard_page import GuardNow, written
from gtm_dagster.rollout.control.evaluation import store_exists
from gtm_dagster.rollout.guard.decide import DISARMED
from gtm_dagster.settings import DRILL_FLAG, Settings


def conversion_guard(settings: Settings, jobs: GuardJobs) -> dg.SensorDefinition:
    """The sensor over this deployment's guards."""

    @dg.sensor(
        name="conversion_guard",
        jobs=[jobs.rollback, jobs.page],
        minimum_interval_seconds=3,  # the daemon looks every 5 s; asked for exactly 5 it skips every other look
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Asks for a rollback when the treated arm of a guarded flag provably loses conversion. A guard "
        "acts only once armed (`gtm guard rearm`, or the job rearm_guard).",
    )
    def sensor(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        lines = [f"gtm.toml: {error}" for error in settings.guard_errors]
        if not settings.guards and not lines:
            lines = ["no guard is declared: name a flag and its conversion under [[guards]] in gtm.toml"]
        if not store_exists(settings):
            lines.append("nothing is counted yet: the ops store is not there; `gtm stream` makes it")
            return dg.SensorResult(skip_reason="\n".join(lines), cursor=context.cursor)
        requests: list[dg.RunRequest] = []
        guards: list[GuardNow] = []
        occurrences, now_us = occurrences_of(context.cursor), time.time_ns() // 1000
        with OpsStore.of(settings) as store:
            for guard in settings.watched:
                try:
                    row = store.guard(guard.key)
                    if guard.flag == DRILL_FLAG and (row is None or row.state == DISARMED):
                        continue
                    seen = look(context.instance, store, settings, guard, row, occurrences, now_us)
                    occurrences = seen.occurrences
                    lines.append(seen.line)
                    requests += seen.requests
                    guards.append(seen.now)
                except Exception as error:
                    lines.append(f"{guard.key}: could not be judged: {type(error).__name__}: {error}")
                    context.log.exception(f"{guard.key} could not be judged")
            late = undelivered_line(not_delivered(store))
        if requests:  # without the page: what Dagster cannot store of it would stop them
            context.log.info("\n".join(lines))
            return dg.SensorResult(run_requests=requests, cursor=cursor_of(occurrences))
        occurrences, page = written(occurrences, guards, now_us, context.log)
        skip_reason = "\n".join([*lines, *([late] if late else [])])
        return dg.SensorResult(skip_reason=skip_reason, cursor=cursor_of(occurrences), asset_events=page)

    return sensor
