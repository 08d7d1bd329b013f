"""The runs that act on flags: `rollback_flag`, `manual_rollback`, `rearm_guard`, `page_guard`. None opens DuckDB."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import dagster as dg
from pydantic import Field

from gtm_dagster.delivery import deliver_due
from gtm_dagster.opsstore import OpsStore, RollbackRow
from gtm_dagster.orchestration.dead_runs import process_tags
from gtm_dagster.orchestration.rollback_metadata import rollback_metadata
from gtm_dagster.rollout.control import acting, arming
from gtm_dagster.rollout.control.guard_context import ActionFailed, GuardContext, StepResult
from gtm_dagster.rollout.control.harm_pages import HARM, page_harm
from gtm_dagster.rollout.control.messages import Message, enqueue, moment
from gtm_dagster.settings import Settings

ROLLBACK, MANUAL, REARM, PAGE = "rollback_flag", "manual_rollback", "rearm_guard", "page_guard"
RAMP_APPROVAL = "RAMP_APPROVAL"
"""What people are notified of when a step of a ramp waits for nothing but their approval."""
ROLLBACKS = dg.AssetKey(["ops", "rollbacks"])
URGENT = {"dagster/priority": "100", "dagster/max_retries": "0"}
"""Before anything else in the queue; a failed run is asked again by the sensor, which counts the attempts."""
_STEP_OUT = dg.Out(dict, is_required=False, description="Guard and episode; absent when there is nothing more to do.")
_ENDED = (dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED)


class Claim(dg.Config):
    """What the sensor decided."""

    guard: str = Field(description="The guard's key, FLAG:CONVERSION:ENVIRONMENT.")
    episode: str = Field(description="Name of the one rollback the guard can make in its epoch.")
    attempt: int = Field(default=1, description="1 for the first run of the episode.")
    decided_us: int = Field(
        description="Watermark of the decision, microseconds UTC; the counts are read again up to it."
    )


class Person(dg.Config):
    """Who asks for what, and why."""

    guard: str = Field(description="The guard's key, or its flag when the flag has one guard.")
    actor: str = Field(description="Who asks; kept in the guard's history.")
    reason: str = Field(description="Why; kept in the guard's history.")


class Page(dg.Config):
    """A guard that cannot see, whose arms cannot be compared, or whose ramp waits for a person."""

    guard: str = Field(description="The guard's key.")
    state: str = Field(description="BLIND, SRM_HOLD, HARM or RAMP_APPROVAL.")
    since_us: int = Field(description="When it was first seen in that state, microseconds UTC.")
    reason: str = Field(description="What is missing, or what harm is proven, with figures.")
    epoch: int = Field(default=0, description="Of a page for HARM: the guard's epoch, which is paged for once.")
    step: str = Field(default="", description="Of a step that waits for approval: its id; it is notified of once.")


@dataclass(frozen=True)
class GuardJobs:
    """The jobs over one deployment's settings."""

    rollback: dg.JobDefinition
    manual: dg.JobDefinition
    rearm: dg.JobDefinition
    page: dg.JobDefinition

    @property
    def all(self) -> list[dg.JobDefinition]:
        """Every job."""
        return [self.rollback, self.manual, self.rearm, self.page]


@contextmanager
def _guarded(settings: Settings, name: str) -> Iterator[GuardContext]:
    """The context of a guard. What a person asked wrongly, and what could not be proven off, fails the run with its words."""
    with OpsStore.of(settings) as store:
        try:
            yield GuardContext.of(settings, store, arming.find_guard(settings, name), os.environ)
        except (arming.Refused, ActionFailed) as error:
            raise dg.Failure(description=str(error), allow_retries=False) from error


def guard_jobs(settings: Settings) -> GuardJobs:
    """The jobs; each op is one step of `rollout.control.acting`, and may be run again."""
    claim, claim_by_hand = _claim_ops(settings)
    turn_off, verify, record = _rollback_ops(settings)
    rearm, page = _guard_ops(settings)

    def job(name: str, description: str, form: dict[str, Any] | None = None) -> Any:
        config: dict[str, Any] = {"config": form} if form else {}
        return dg.job(name=name, description=description, tags=URGENT, executor_def=dg.in_process_executor, **config)

    @job(ROLLBACK, "Turn a flag off on the guard's evidence, prove it, notify people. Asked for by `conversion_guard`.")
    def rollback_flag() -> None:
        record(verify(turn_off(claim())))

    @job(
        MANUAL,
        "Turn a guarded flag off because a person says so: actor and reason are required.",
        _asked(settings, "claim_by_hand"),
    )
    def manual_rollback() -> None:
        record(verify(turn_off(claim_by_hand())))

    @job(
        REARM,
        "Arm a guard with a new epoch: actor and reason are required. Never switches a flag on.",
        _asked(settings, "rearm"),
    )
    def rearm_guard() -> None:
        rearm()

    @job(
        PAGE,
        "Send people a message (not a web page): a guard has been blind, or stopped by a broken split, for two minutes, or has proven harm that rolls nothing back, "
        "or a step of its ramp waits for nothing but approval. Asked for by `conversion_guard` and `guard_ramp`.",
    )
    def page_guard() -> None:
        page()

    return GuardJobs(rollback_flag, manual_rollback, rearm_guard, page_guard)


def page_occurrence(guard: str, state: str, of: str) -> str:
    """The name of what people are notified of once: `of` is a step, an epoch or a moment."""
    return f"{guard}:{state}:{of}"


def _asked(settings: Settings, op: str) -> dict[str, Any]:
    """What the Launchpad shows before anything is typed: the first declared guard; who asks and why are left to be given."""
    name = settings.guards[0].flag if settings.guards else "FLAG"
    return {"ops": {op: {"config": {"guard": name, "actor": "", "reason": ""}}}}


def _claim_ops(settings: Settings) -> tuple[dg.OpDefinition, dg.OpDefinition]:
    """What begins an episode: the guard's evidence, or a person."""

    @dg.op(name="claim", out=_STEP_OUT)
    def claim(context: dg.OpExecutionContext, config: Claim) -> Iterator[dg.Output]:
        """Counts again, asks the provider, and takes the episode by compare-and-swap; ends the run when it may not."""
        with _guarded(settings, config.guard) as guarded:
            _tag(context, guarded, config.episode)
            step = acting.claim(guarded, config.episode, config.attempt, config.decided_us, context.run_id)
            yield from _outputs(context, guarded, step)

    @dg.op(name="claim_by_hand", out=_STEP_OUT)
    def claim_by_hand(context: dg.OpExecutionContext, config: Person) -> Iterator[dg.Output]:
        """Takes an episode because a person says so; no evidence is needed."""
        with _guarded(settings, config.guard) as guarded:
            _tag(context, guarded)
            step = arming.claim_by_hand(guarded, config.actor, config.reason, context.run_id)
            _tag(context, guarded, step.episode)
            yield from _outputs(context, guarded, step)

    return claim, claim_by_hand


def _rollback_ops(settings: Settings) -> tuple[dg.OpDefinition, dg.OpDefinition, dg.OpDefinition]:
    """What follows on a claim: off, proven, recorded."""

    @dg.op(name="turn_off", out=_STEP_OUT)
    def turn_off(context: dg.OpExecutionContext, claimed: dict[str, Any]) -> Iterator[dg.Output]:
        """Turns the flag off at its provider; retries for 30 s, then the kill list holds the old flow."""
        with _guarded(settings, claimed["guard"]) as guarded:
            with _failure_delivered(context, guarded, claimed["episode"]):
                step = acting.turn_off(guarded, claimed["episode"])
            yield from _outputs(context, guarded, step)

    @dg.op(name="verify", out=_STEP_OUT)
    def verify(context: dg.OpExecutionContext, claimed: dict[str, Any]) -> Iterator[dg.Output]:
        """Reads the flag back and evaluates sampled units until all are served the old flow; latches the guard."""
        with _guarded(settings, claimed["guard"]) as guarded:
            with _failure_delivered(context, guarded, claimed["episode"]):
                step = acting.verify(guarded, claimed["episode"], context.run_id)
            yield from _outputs(context, guarded, step)

    @dg.op(name="record", out=dg.Out(dg.Nothing))
    def record(context: dg.OpExecutionContext, claimed: dict[str, Any]) -> None:
        """Sends the messages, then materialises `ops/rollbacks` with evidence and pictures."""
        with _guarded(settings, claimed["guard"]) as guarded:
            _deliver(context, guarded, claimed["episode"])
            row = guarded.store.rollback(claimed["episode"])
            if row is not None and _mine(context, row):
                context.log_event(
                    dg.AssetMaterialization(asset_key=ROLLBACKS, metadata=rollback_metadata(context, row))
                )

    return turn_off, verify, record


def _guard_ops(settings: Settings) -> tuple[dg.OpDefinition, dg.OpDefinition]:
    """What does not touch the flag: arming a guard, and paging people about one."""

    @dg.op(name="rearm", out=dg.Out(dg.Nothing))
    def rearm(context: dg.OpExecutionContext, config: Person) -> None:
        """Arms the guard with a new epoch; the flag stays as it is."""
        with _guarded(settings, config.guard) as guarded:
            _tag(context, guarded)
            epoch = arming.rearm(guarded, config.actor, config.reason)
            context.log.info(
                f"{guarded.guard.key}: armed, epoch {epoch}; the flag stays as it is at {guarded.guard.provider}"
            )

    @dg.op(name="page", out=dg.Out(dg.Nothing))
    def page(context: dg.OpExecutionContext, config: Page) -> None:
        """Sends a message, once an occurrence."""
        with _guarded(settings, config.guard) as guarded:
            _tag(context, guarded)
            occurrence = page_occurrence(
                config.guard, config.state, config.step or str(config.epoch or config.since_us)
            )
            text = (
                config.reason
                if config.step
                else f"the guard {config.guard} is {config.state} since {moment(config.since_us)}: {config.reason}"
            )
            figures = {"flag": guarded.guard.flag, "since": moment(config.since_us)}
            message = Message(config.state.lower(), config.guard, text, figures)
            if config.state != HARM:
                enqueue(guarded.store, settings, occurrence, config.state.lower(), message, guarded.now_us())
            elif not page_harm(guarded, config.epoch, occurrence, message):
                context.log.info(f"{config.guard}: people were notified of epoch {config.epoch} before, or it is over")
                return
            _deliver(context, guarded, occurrence)

    return rearm, page


def _tag(context: dg.OpExecutionContext, guarded: GuardContext, episode: str = "") -> None:
    """Name the process that really runs: a run whose process is gone is marked failed by the next tick."""
    tags = {**process_tags(context.run_id), "gtm/guard": guarded.guard.key, "gtm/flag": guarded.guard.flag}
    context.instance.add_run_tags(context.run_id, tags | ({"gtm/episode": episode} if episode else {}))


def _outputs(context: dg.OpExecutionContext, guarded: GuardContext, step: StepResult) -> Iterator[dg.Output]:
    """The episode for the next op, while there is something to do; its messages otherwise."""
    context.log.info(f"{guarded.guard.key}: {step.outcome}: {step.reason}")
    if step.proceed:
        yield dg.Output({"guard": guarded.guard.key, "episode": step.episode})
    elif step.episode:
        _deliver(context, guarded, step.episode)


@contextmanager
def _failure_delivered(context: dg.OpExecutionContext, guarded: GuardContext, episode: str) -> Iterator[None]:
    """Messages about a failure are sent before the run ends."""
    try:
        yield
    except ActionFailed:
        _deliver(context, guarded, episode)
        raise


def _deliver(context: dg.OpExecutionContext, guarded: GuardContext, episode: str) -> None:
    """Try the outbox now; what is not taken is tried again by the stream worker."""
    for each in deliver_due(guarded.store, guarded.settings, guarded.now_us(), os.environ, only=episode):
        outcome = "delivered" if each.error is None else f"not delivered yet: {each.error}"
        context.log.info(f"message to {each.sink}: {outcome}")
    if not guarded.settings.notify:
        context.log.warning("no message is sent: there is no [[notify]] in gtm.toml")


def _mine(context: dg.OpExecutionContext, row: RollbackRow) -> bool:
    """Whether this run records the episode: the one that latched it does, unless it ended before it could."""
    if row.run_id in (None, "", context.run_id):
        return True
    other = context.instance.get_run_by_id(row.run_id)
    if other is None or other.status in _ENDED:
        return True
    context.log.info(f"recorded by run {row.run_id}")
    return False
