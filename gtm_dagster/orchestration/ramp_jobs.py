"""The run that raises the share of a flag by one step of its ramp, `ramp_flag`, and when the sensor asks for it."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import dagster as dg
from pydantic import Field

from gtm_dagster.delivery import deliver_due
from gtm_dagster.opsstore import OpsStore, RampStepRow
from gtm_dagster.orchestration.dead_runs import process_tags
from gtm_dagster.orchestration.guard_loop import attempts, next_attempt
from gtm_dagster.orchestration.ramp_approval import approval_request
from gtm_dagster.rollout.control import ramping
from gtm_dagster.rollout.control.arming import Refused, find_guard
from gtm_dagster.rollout.control.guard_context import GuardContext, StepResult
from gtm_dagster.rollout.control.messages import moment
from gtm_dagster.rollout.control.ramp_evidence import evidence_of, readiness_text, step_text
from gtm_dagster.rollout.control.ramp_readiness import percent
from gtm_dagster.rollout.control.ramp_standing import ramp_standing
from gtm_dagster.rollout.providers import FlagState
from gtm_dagster.settings import Guard, Settings

RAMP = "ramp_flag"
RAMP_STEPS = dg.AssetKey(["ops", "ramp_steps"])
_TAGS = {"dagster/priority": "50", "dagster/max_retries": "0"}
"""Behind a rollback, before anything else; a failed run is asked again by the sensor."""
_STEP_OUT = dg.Out(dict, is_required=False, description="Guard and step; absent when there is nothing more to do.")


class Step(dg.Config):
    """Whose next step is taken. A person who launches the run approves the step by it."""

    guard: str = Field(description="The guard's key, or its flag when the flag has one guard.")
    actor: str = Field(default="", description="Who approves the step; kept in the guard's history.")
    reason: str = Field(default="", description="Why; kept in the guard's history.")
    step: str = Field(
        default="", description="The id of a step that needs no further person, as the sensor asks for it."
    )


@contextmanager
def _ramped(settings: Settings, name: str) -> Iterator[GuardContext]:
    """The context of a guard. What is refused, and what the provider did not take, fails the run with its words."""
    with OpsStore.of(settings) as store:
        try:
            yield GuardContext.of(settings, store, find_guard(settings, name), os.environ)
        except (Refused, ramping.StepFailed) as error:
            raise dg.Failure(description=str(error), allow_retries=False) from error


def ramp_job(settings: Settings) -> dg.JobDefinition:
    """The job; each op may be run again."""

    @dg.op(name="begin_step", out=_STEP_OUT)
    def begin_step(context: dg.OpExecutionContext, config: Step) -> Iterator[dg.Output]:
        """Looks whether the next step may be taken, and writes its intent by compare-and-swap; ends the run when not."""
        with _ramped(settings, config.guard) as ramped:
            _tag(context, ramped)
            step = ramping.begin(ramped, config.actor, config.reason, context.run_id, step=config.step)
            _tag(context, ramped, step.episode)
            yield from _outputs(context, ramped, step)

    @dg.op(name="write_share", out=_STEP_OUT)
    def write_share(context: dg.OpExecutionContext, begun: dict[str, Any]) -> Iterator[dg.Output]:
        """Writes the share at the provider, unless an earlier run has; leaves what somebody else changed."""
        with _ramped(settings, begun["guard"]) as ramped:
            yield from _outputs(context, ramped, ramping.write(ramped, begun["step"]))

    @dg.op(name="read_share_back", out=_STEP_OUT)
    def read_share_back(context: dg.OpExecutionContext, begun: dict[str, Any]) -> Iterator[dg.Output]:
        """Reads the share back and records the step as taken."""
        with _ramped(settings, begun["guard"]) as ramped:
            yield from _outputs(context, ramped, ramping.finish(ramped, begun["step"], context.run_id))

    @dg.op(name="record_step", out=dg.Out(dg.Nothing))
    def record_step(context: dg.OpExecutionContext, begun: dict[str, Any]) -> None:
        """Sends the messages, then materialises `ops/ramp_steps` with the evidence of readiness."""
        with _ramped(settings, begun["guard"]) as ramped:
            step = ramped.store.ramp_step(begun["step"])
            for each in deliver_due(ramped.store, settings, ramped.now_us(), os.environ, only=begun["step"]):
                context.log.info(f"message to {each.sink}: {each.error or 'delivered'}")
            if step is not None:
                context.log_event(dg.AssetMaterialization(asset_key=RAMP_STEPS, metadata=_metadata(step)))

    @dg.job(
        name=RAMP,
        description="Raise the share of a flag by the next step of its ramp: when a loss would have been seen by now, the "
        "guard sees none, and a person approved (who launches it with actor and reason does). Read back and recorded.",
        tags=_TAGS,
        executor_def=dg.in_process_executor,
        config=_form(settings),
    )
    def ramp_flag() -> None:
        record_step(read_share_back(write_share(begin_step())))

    return ramp_flag


def ramp_request(
    instance: dg.DagsterInstance, store: OpsStore, settings: Settings, guard: Guard, now_us: int
) -> tuple[str, dg.RunRequest | None]:
    """The ramp's line, and the request of a run when its next step can be taken, was begun by a run that was killed, or waits
    for nothing but approval, of which people are notified once.

    The flag is as the stream worker last saw it; the run asks the provider itself.
    """
    seen = store.flag_state(guard.key)
    flag = None if seen is None else FlagState(seen.enabled, seen.share, seen.fingerprint, "as last seen")
    standing = ramp_standing(store, settings, guard, flag, now_us)
    at = "no single share" if standing.share is None else percent(standing.share)
    line = f"{guard.key}: {at}"
    if standing.next_share is None or not standing.id:
        return f"{line}, the ramp is complete", None
    if not standing.ready and not standing.intended:
        waits = "; ".join(wait.text for wait in standing.waits)
        return f"{line}, {percent(standing.next_share)} waits: {waits}", approval_request(store, settings, standing)
    id = standing.id
    attempt = next_attempt(attempts(instance, id), now_us / 1e6)
    if isinstance(attempt, str):
        return f"{line}; {attempt}", None
    request = dg.RunRequest(
        run_key=f"{id}-{attempt}",
        job_name=RAMP,
        run_config={"ops": {"begin_step": {"config": {"guard": guard.key, "step": id}}}},
        tags={**_TAGS, "gtm/guard": guard.key, "gtm/flag": guard.flag, "gtm/episode": id},
    )
    return f"{line}; asking for {percent(standing.next_share)}, attempt {attempt}", request


def _form(settings: Settings) -> dict[str, Any]:
    """What the Launchpad shows before anything is typed: the first guard with a ramp."""
    name = next((guard.flag for guard in settings.guards if guard.ramp), "FLAG")
    return {"ops": {"begin_step": {"config": {"guard": name, "actor": "", "reason": ""}}}}


def _tag(context: dg.OpExecutionContext, ramped: GuardContext, step: str = "") -> None:
    """Name the process that really runs: a run whose process is gone is marked failed by the next tick."""
    tags = {**process_tags(context.run_id), "gtm/guard": ramped.guard.key, "gtm/flag": ramped.guard.flag}
    context.instance.add_run_tags(context.run_id, tags | ({"gtm/episode": step} if step else {}))


def _outputs(context: dg.OpExecutionContext, ramped: GuardContext, step: StepResult) -> Iterator[dg.Output]:
    context.log.info(f"{ramped.guard.key}: {step.outcome}: {step.reason}")
    if step.proceed:
        yield dg.Output({"guard": ramped.guard.key, "step": step.episode})


def _metadata(step: RampStepRow) -> dict[str, Any]:
    """A step as the UI shows it: two sentences first, then the shares as numbers."""
    return {
        "taken": step_text(step),
        "ready": readiness_text(step),
        "share": step.to_share,
        "from_share": step.from_share or 0.0,
        "guard": step.guard,
        "epoch": step.epoch,
        "step": step.number,
        "approved_by": step.approved_by or "",
        "approval_reason": step.approval_reason or "",
        "taken_at": moment(step.taken_us) or "",
        "evidence": dg.MetadataValue.json(evidence_of(step)),
        "id": step.id,
    }
