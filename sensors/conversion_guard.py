"""Watches every armed guard and asks for a `rollback_flag` run when its flow provably loses too much. Writes nothing.

The counts come from the ops store, the decision from pure functions of them, so "Test sensor" in the UI does no harm.
"""

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC
from typing import Any

import dagster as dg

from gtm_dagster.delivery import not_delivered, undelivered_line
from gtm_dagster.opsstore import GuardRow, OpsStore
from gtm_dagster.orchestration.dead_runs import fail_dead_runs
from gtm_dagster.orchestration.guard_jobs import PAGE, ROLLBACK, URGENT, GuardJobs
from gtm_dagster.rollout.control.evaluation import evaluate, rule_of, store_exists
from gtm_dagster.rollout.guard.decide import (
    ARMED,
    BLIND,
    DISARMED,
    ROLLED_BACK,
    SRM_HOLD,
    UNFINISHED,
    Decision,
    Signals,
    decide,
    episode_id,
)
from gtm_dagster.settings import DRILL_FLAG, Guard, Settings

WAIT_SECONDS = (5.0, 10.0, 20.0, 40.0, 60.0)
"""After the first, second ... run of an episode, before the next is asked for."""
RECORD_ATTEMPTS = 5
"""The flag is off and latched; only its record is missing."""
PAGE_AFTER_US = 120_000_000
_DONE = (dg.DagsterRunStatus.SUCCESS,)
_FAILED = (dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED)

Held = dict[str, tuple[str, int, bool]]
"""The cursor: state that wants a person, since when (microseconds UTC), and whether people were told; by guard."""


@dataclass(frozen=True)
class Attempt:
    """A run of an episode; `ended` in seconds UTC, None while it is under way."""

    run_id: str
    failed: bool
    ended: float | None


@dataclass(frozen=True)
class Look:
    """What one guard came to: a line for people, and what to ask for."""

    line: str
    request: dg.RunRequest | None = None


def next_attempt(runs: Sequence[Attempt], now: float) -> int | str:
    """Number of the attempt to ask for, or why not now; `runs` newest first, `now` in seconds UTC."""
    if not runs:
        return 1
    newest = runs[0]
    if newest.ended is None:
        return f"run {newest.run_id[:8]} is under way"
    wait = WAIT_SECONDS[min(len(runs), len(WAIT_SECONDS)) - 1]
    left = newest.ended + wait - now
    if left > 0:
        word = "failed" if newest.failed else "ended"
        return f"run {newest.run_id[:8]} {word}; attempt {len(runs) + 1} in {left:.0f} s"
    return len(runs) + 1


def page_of(held: Held, key: str, decision: Decision, now_us: int) -> tuple[Held, dg.RunRequest | None]:
    """The cursor after this look, and a request to tell people of what has lasted two minutes, once an occurrence."""
    others = {name: entry for name, entry in held.items() if name != key}
    if decision.state not in (BLIND, SRM_HOLD):
        return others, None
    state, since_us, told = held.get(key, ("", now_us, False))
    if state != decision.state:
        since_us, told = now_us, False
    due = not told and now_us - since_us >= PAGE_AFTER_US
    entry = (decision.state, since_us, told or due)
    if not due:
        return {**others, key: entry}, None
    config = {"guard": key, "state": decision.state, "since_us": since_us, "reason": decision.reason}
    request = dg.RunRequest(
        run_key=f"page-{key}-{decision.state}-{since_us}",
        job_name=PAGE,
        run_config={"ops": {"page": {"config": config}}},
        tags={**URGENT, "gtm/guard": key},
    )
    return {**others, key: entry}, request


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
        now_us = time.time_ns() // 1000
        held = _read(context.cursor)
        requests = []
        with OpsStore.of(settings) as store:
            for guard in settings.watched:
                try:
                    row = store.guard(guard.key)
                    if guard.flag == DRILL_FLAG and (row is None or row.state == DISARMED):
                        continue
                    decision = _decision(store, settings, guard, row, now_us)
                    look = _look(context.instance, store, guard, row, decision, now_us)
                    held, page = page_of(held, guard.key, decision, now_us)
                    lines.append(look.line)
                    requests += [request for request in (look.request, page) if request]
                except Exception as error:
                    lines.append(f"{guard.key}: could not be judged: {type(error).__name__}: {error}")
                    context.log.exception(f"{guard.key} could not be judged")
            late = undelivered_line(not_delivered(store))
        cursor = json.dumps(held, sort_keys=True)
        if not requests:
            return dg.SensorResult(skip_reason="\n".join([*lines, *([late] if late else [])]), cursor=cursor)
        context.log.info("\n".join(lines))
        return dg.SensorResult(run_requests=requests, cursor=cursor)

    return sensor


def _decision(store: OpsStore, settings: Settings, guard: Guard, row: GuardRow | None, now_us: int) -> Decision:
    """Evaluated from the counts while armed; any other state says enough by itself."""
    if row is not None and row.state == ARMED:
        return evaluate(store, settings, guard, row, now_us).decision
    state = row.state if row is not None else DISARMED
    return decide(state, None, Signals(store.watermark_us(guard.flag)), rule_of(store, settings, guard))


def _look(
    instance: dg.DagsterInstance, store: OpsStore, guard: Guard, row: GuardRow | None, decision: Decision, now_us: int
) -> Look:
    line = f"{guard.key}: {decision.state}{' (dry run)' if guard.dry_run else ''}, {decision.reason}"
    if row is None:
        return Look(line)
    latched = decision.state == ROLLED_BACK
    if not decision.act and not latched:
        return Look(line)
    begun = row.state in UNFINISHED or latched
    episode = row.episode if begun and row.episode else episode_id(guard.key, row.epoch)
    runs = _attempts(instance, episode)
    if latched and (not runs or not runs[0].failed or len(runs) >= RECORD_ATTEMPTS):
        return Look(line)
    attempt = next_attempt(runs, now_us / 1e6)
    if isinstance(attempt, str):
        return Look(f"{line}; {attempt}")
    record = store.rollback(episode) if begun else None
    decided_us = (record.decided_us if record else None) or decision.decided_us or now_us
    config = {"guard": guard.key, "episode": episode, "attempt": attempt, "decided_us": decided_us}
    request = dg.RunRequest(
        run_key=f"{episode}-{attempt}",
        job_name=ROLLBACK,
        run_config={"ops": {"claim": {"config": config}}},
        tags={**URGENT, "gtm/guard": guard.key, "gtm/flag": guard.flag, "gtm/episode": episode},
    )
    return Look(f"{line}; asking for attempt {attempt}", request)


def _attempts(instance: dg.DagsterInstance, episode: str) -> list[Attempt]:
    """Runs of the episode, newest first. A run whose process is gone is marked failed: it would block the next one."""
    chosen = dg.RunsFilter(tags={"gtm/episode": episode})
    records = instance.get_run_records(chosen)
    if any(record.dagster_run.status not in (*_DONE, *_FAILED) for record in records) and fail_dead_runs(instance):
        records = instance.get_run_records(chosen)
    return [_attempt(record) for record in records]


def _attempt(record: dg.RunRecord) -> Attempt:
    status = record.dagster_run.status
    ended = None
    if status in (*_DONE, *_FAILED):
        ended = record.end_time or record.update_timestamp.replace(tzinfo=UTC).timestamp()
    return Attempt(record.dagster_run.run_id, status in _FAILED, ended)


def _read(cursor: str | None) -> Held:
    try:
        told: Any = json.loads(cursor or "{}")
        return {str(key): (str(state), int(since), bool(paged)) for key, (state, since, paged) in told.items()}
    except (ValueError, TypeError, AttributeError):
        return {}
