"""People are notified when a run of the pipeline fails, when it is well again, and when a check does not hold any more.

Two sensors read Dagster's event log and ask for a run of `notify_people`, which writes the message into the outbox. A row
of failures is one message: a refresh that cannot work is tried again every quarter of an hour.
"""

import os
import time
from collections.abc import Sequence
from typing import Any, cast

import dagster as dg
from pydantic import Field

from gtm_dagster.delivery import deliver_due
from gtm_dagster.opsstore import OpsStore
from gtm_dagster.orchestration.failures import reason_of
from gtm_dagster.orchestration.history_pruning import NOTIFY
from gtm_dagster.rollout.control.messages import Message, enqueue
from gtm_dagster.settings import Settings

FAILED, BACK, NOT_HELD = "run_failed", "run_well_again", "check_failed"
NO_SINK = "nobody is notified: there is no [[notify]] in gtm.toml"
_OVER = [dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE]


class Outcome(dg.Config):
    """What became of a run, as people are told."""

    event: str = Field(description=f"{FAILED}, {BACK} or {NOT_HELD}.")
    job: str = Field(description="The job of the run.")
    run_id: str = Field(description="The run.")
    text: str = Field(description="What people read.")


def notify_job(settings: Settings) -> dg.JobDefinition:
    """The job that sends one message about a run."""

    @dg.op(name="notify", out=dg.Out(dg.Nothing))
    def notify(context: dg.OpExecutionContext, config: Outcome) -> None:
        """Puts the message into the outbox, once a run, and tries to send it; the stream worker tries again."""
        subject, now_us = f"runs/{config.job}", time.time_ns() // 1000
        figures = {"job": config.job, "run_id": config.run_id}
        message = Message(config.event, "", f"{settings.state_dir}: {config.text}", figures)
        with OpsStore.of(settings) as store:
            enqueue(store, settings, subject, f"{config.event}-{config.run_id}", message, now_us)
            for each in deliver_due(store, settings, now_us, os.environ, only=subject):
                outcome = "delivered" if each.error is None else f"not delivered yet: {each.error}"
                context.log.info(f"message to {each.sink}: {outcome}")

    @dg.job(
        name=NOTIFY,
        description="Send people a message: a refresh failed or is well again, or a check does not hold any more. Asked for "
        "by the sensors `failed_runs` and `finished_runs`.",
        executor_def=dg.in_process_executor,
    )
    def notify_people() -> None:
        notify()

    return notify_people


def after_failure(
    instance: dg.DagsterInstance, run: dg.DagsterRun, failures: Sequence[dg.DagsterEvent], message: str | None
) -> dg.RunRequest | dg.SkipReason:
    """What to ask for after a run failed: a message about the first of a row. `message`: the run's own, without a step's."""
    if (before := _before(instance, run)) is not None and before.status == dg.DagsterRunStatus.FAILURE:
        return dg.SkipReason(f"run {before.run_id[:8]} before it failed, too: people know")
    reasons = [f"{event.step_key}: {reason_of(cast(Any, event.event_specific_data).error)}" for event in failures]
    why = reasons[0] if reasons else message or "it ended without a reason"
    return _request(FAILED, run, f"{run.job_name} failed (run {run.run_id[:8]}): {why}")


def after_success(instance: dg.DagsterInstance, run: dg.DagsterRun) -> dg.RunRequest | dg.SkipReason:
    """What to ask for after a run ended well: a message when the run before failed, or when a check stopped to hold."""
    fallen = _fallen_checks(instance, run.run_id)
    before = _before(instance, run)
    parts = []
    if before is not None and before.status == dg.DagsterRunStatus.FAILURE:
        parts.append(f"{run.job_name} works again (run {run.run_id[:8]})")
    if fallen:
        parts.append("checks that held do not hold any more: " + "; ".join(fallen))
    if not parts:
        return dg.SkipReason(f"run {run.run_id[:8]} ended well, as the one before")
    return _request(NOT_HELD if fallen else BACK, run, ". ".join(parts))


def _request(event: str, run: dg.DagsterRun, text: str) -> dg.RunRequest:
    config = {"event": event, "job": run.job_name, "run_id": run.run_id, "text": text}
    return dg.RunRequest(run_key=f"{event}-{run.run_id}", run_config={"ops": {"notify": {"config": config}}})


def _before(instance: dg.DagsterInstance, run: dg.DagsterRun) -> dg.DagsterRun | None:
    """The run of the same job that ended before it was made."""
    runs = instance.get_runs(dg.RunsFilter(job_name=run.job_name, statuses=_OVER), cursor=run.run_id, limit=1)
    return runs[0] if runs else None


def _fallen_checks(instance: dg.DagsterInstance, run_id: str) -> list[str]:
    """Checks that did not pass in the run and passed, or were not there, the time before; what each says."""
    records = instance.get_records_for_run(run_id, of_type=dg.DagsterEventType.ASSET_CHECK_EVALUATION).records
    lines = []
    for record in records:
        evaluation = cast(Any, record.event_log_entry.dagster_event).asset_check_evaluation_data
        if evaluation.passed:
            continue
        history = instance.event_log_storage.get_asset_check_execution_history(evaluation.asset_check_key, limit=5)
        before = next((each for each in history if each.run_id != run_id and each.event is not None), None)
        if before is None or before.status.value == "SUCCEEDED":
            name = f"{'/'.join(evaluation.asset_key.path)} {evaluation.check_name}"
            lines.append(f"{name} ({evaluation.severity.value}): {evaluation.description or 'no more is known'}")
    return lines
