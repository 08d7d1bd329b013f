"""The loop of the guard: from the decision about a guard to the runs it asks for. The functions above `look` are pure.

`sensors/conversion_guard.py` calls `look` for each guard and is all of the loop that keeps anything: its cursor.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC

import dagster as dg

from gtm_dagster.opsstore import GuardRow, OpsStore
from gtm_dagster.orchestration.dead_runs import fail_dead_runs
from gtm_dagster.orchestration.guard_jobs import PAGE, ROLLBACK, URGENT
from gtm_dagster.orchestration.guard_page import GuardNow
from gtm_dagster.orchestration.harm_page import harm_request
from gtm_dagster.rollout.control.armed_rule import rule_of
from gtm_dagster.rollout.control.evaluation import evaluate
from gtm_dagster.rollout.control.external_rollback import pending, with_request
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
from gtm_dagster.settings import Guard, Settings

WAIT_SECONDS = (5.0, 10.0, 20.0, 40.0, 60.0)
"""Between the end of the first, second ... run of an episode and the next attempt, when that run did not fail."""
AGAIN_SECONDS, BACK_OFF_MINUTES = 5.0, 15.0
"""After the first of several failed runs in a row (its process may have been killed); after later ones, at most."""
RECORD_ATTEMPTS = 5
"""Runs of an episode whose flag is off and latched already: only the record is missing."""
PAGE_AFTER_US = 120_000_000
_DONE = (dg.DagsterRunStatus.SUCCESS,)
_FAILED = (dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED)

Occurrences = dict[str, tuple[str, int, bool]]
"""What the cursor keeps, by guard: a state that needs a person, since when (microseconds UTC), whether a page was asked for."""


@dataclass(frozen=True)
class Attempt:
    """A run of an episode; `ended` in seconds UTC, None while it is under way."""

    run_id: str
    failed: bool
    ended: float | None


@dataclass(frozen=True)
class Look:
    """The result of one look at one guard: a line for people, the runs to ask for, the cursor after it, and what was seen."""

    line: str
    requests: tuple[dg.RunRequest, ...]
    occurrences: Occurrences
    now: GuardNow


def next_attempt(runs: Sequence[Attempt], now: float) -> int | str:
    """Number of the attempt to ask for, or why not now; `runs` newest first, `now` in seconds UTC."""
    if not runs:
        return 1
    newest = runs[0]
    if newest.ended is None:
        return f"run {newest.run_id[:8]} is under way"
    wait = _wait_seconds(runs)
    left = newest.ended + wait - now
    if left > 0:
        word = "failed" if newest.failed else "ended"
        return f"run {newest.run_id[:8]} {word}; attempt {len(runs) + 1} in {left:.0f} s"
    return len(runs) + 1


def _wait_seconds(runs: Sequence[Attempt]) -> float:
    """After the newest run: the n-th failed one in a row waits 2 to the power of n - 1 minutes, the first 5 seconds."""
    failed = next((n for n, run in enumerate(runs) if not run.failed), len(runs))
    if failed == 0:
        return WAIT_SECONDS[min(len(runs), len(WAIT_SECONDS)) - 1]
    return AGAIN_SECONDS if failed == 1 else 60.0 * min(2.0 ** (min(failed, 10) - 1), BACK_OFF_MINUTES)


def record_is_missing(runs: Sequence[Attempt]) -> bool:
    """Whether a latched episode needs another run: its newest run failed, and there were not too many; newest first."""
    return bool(runs) and runs[0].failed and len(runs) < RECORD_ATTEMPTS


def episode_of(key: str, row: GuardRow, decision: Decision) -> str | None:
    """The episode of a guard that may need a run: the one under way or latched, else that of its epoch; None for neither."""
    if not decision.act and decision.state != ROLLED_BACK:
        return None
    return row.episode if _begun(row, decision) and row.episode else episode_id(key, row.epoch)


def _begun(row: GuardRow, decision: Decision) -> bool:
    return row.state in UNFINISHED or decision.state == ROLLED_BACK


def rollback_request(guard: Guard, episode: str, attempt: int, decided_us: int) -> dg.RunRequest:
    """The request of an attempt; its key names episode and attempt, so that Dagster starts it once."""
    config = {"guard": guard.key, "episode": episode, "attempt": attempt, "decided_us": decided_us}
    return dg.RunRequest(
        run_key=f"{episode}-{attempt}",
        job_name=ROLLBACK,
        run_config={"ops": {"claim": {"config": config}}},
        tags={**URGENT, "gtm/guard": guard.key, "gtm/flag": guard.flag, "gtm/episode": episode},
    )


def page_of(
    occurrences: Occurrences, key: str, decision: Decision, now_us: int
) -> tuple[Occurrences, dg.RunRequest | None]:
    """The cursor after this look, and the request for a page once a state has lasted two minutes; one page an occurrence."""
    others = {name: occurrence for name, occurrence in occurrences.items() if name != key}
    if decision.state not in (BLIND, SRM_HOLD):
        return others, None
    state, since_us, paged = occurrences.get(key, ("", now_us, False))
    if state != decision.state:
        since_us, paged = now_us, False
    due = not paged and now_us - since_us >= PAGE_AFTER_US
    after = {**others, key: (decision.state, since_us, paged or due)}
    if not due:
        return after, None
    config = {"guard": key, "state": decision.state, "since_us": since_us, "reason": decision.reason}
    request = dg.RunRequest(
        run_key=f"page-{key}-{decision.state}-{since_us}",
        job_name=PAGE,
        run_config={"ops": {"page": {"config": config}}},
        tags={**URGENT, "gtm/guard": key},
    )
    return after, request


def occurrences_of(cursor: str | None) -> Occurrences:
    """The occurrences of a cursor; an unreadable one is empty."""
    try:
        entries = json.loads(cursor or "{}").items()
        return {str(key): (str(state), int(since_us), bool(paged)) for key, (state, since_us, paged) in entries}
    except (ValueError, TypeError, AttributeError):
        return {}


def cursor_of(occurrences: Occurrences) -> str:
    """The cursor of these occurrences."""
    return json.dumps(occurrences, sort_keys=True)


def look(
    instance: dg.DagsterInstance,
    store: OpsStore,
    settings: Settings,
    guard: Guard,
    row: GuardRow | None,
    occurrences: Occurrences,
    now_us: int,
) -> Look:
    """Decide about one guard and collect the runs to ask for. Marks runs of dead processes failed, writes nothing else."""
    evaluation = evaluate(store, settings, guard, row, now_us) if row is not None and row.state == ARMED else None
    decision = evaluation.decision if evaluation is not None else _decision(store, settings, guard, row)
    asked = with_request(decision, pending(store, row) if row is not None else None)
    line, rollback = _rollback(instance, store, guard, row, asked, now_us)
    after, page = page_of(occurrences, guard.key, decision, now_us)
    harm = None
    if evaluation is not None:
        after, harm = harm_request(after, guard.key, evaluation.row, evaluation)
    requests = tuple(request for request in (rollback, page, harm) if request)
    return Look(line, requests, after, GuardNow(guard, decision, evaluation))


def _decision(store: OpsStore, settings: Settings, guard: Guard, row: GuardRow | None) -> Decision:
    """From the stored state alone: the guard is not armed."""
    state, epoch = (row.state, row.epoch) if row is not None else (DISARMED, 0)
    return decide(state, None, Signals(store.watermark_us(guard.flag)), rule_of(store, settings, guard, epoch))


def _rollback(
    instance: dg.DagsterInstance, store: OpsStore, guard: Guard, row: GuardRow | None, decision: Decision, now_us: int
) -> tuple[str, dg.RunRequest | None]:
    """The guard's line, and the request of the next attempt when one is due."""
    line = f"{guard.key}: {decision.state}{' (dry run)' if guard.dry_run else ''}, {decision.reason}"
    episode = episode_of(guard.key, row, decision) if row is not None else None
    if row is None or episode is None:
        return line, None
    runs = attempts(instance, episode)
    if decision.state == ROLLED_BACK and not record_is_missing(runs):
        return line, None
    attempt = next_attempt(runs, now_us / 1e6)
    if isinstance(attempt, str):
        return f"{line}; {attempt}", None
    record = store.rollback(episode) if _begun(row, decision) else None
    decided_us = (record.decided_us if record else None) or decision.decided_us or now_us
    return f"{line}; asking for attempt {attempt}", rollback_request(guard, episode, attempt, decided_us)


def attempts(instance: dg.DagsterInstance, episode: str) -> list[Attempt]:
    """Runs of an episode, newest first. Runs of dead processes are marked failed: they would block the next attempt."""
    of_episode = dg.RunsFilter(tags={"gtm/episode": episode})
    records = instance.get_run_records(of_episode)
    if any(record.dagster_run.status not in (*_DONE, *_FAILED) for record in records) and fail_dead_runs(instance):
        records = instance.get_run_records(of_episode)
    return [_attempt(record) for record in records]


def _attempt(record: dg.RunRecord) -> Attempt:
    status = record.dagster_run.status
    ended = None
    if status in (*_DONE, *_FAILED):
        ended = record.end_time or record.update_timestamp.replace(tzinfo=UTC).timestamp()
    return Attempt(record.dagster_run.run_id, status in _FAILED, ended)
