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
from gtm_dagster.rollout.control import acting, arming
from gtm_dagster.rollout.control import evidence as bundle
from gtm_dagster.rollout.control import messages as notify
from gtm_dagster.rollout.control.chart import curves, inline, picture
from gtm_dagster.rollout.control.context import ActionFailed, Post, Step
from gtm_dagster.settings import Settings

ROLLBACK, MANUAL, REARM, PAGE = "rollback_flag", "manual_rollback", "rearm_guard", "page_guard"
ROLLBACKS = dg.AssetKey(["ops", "rollbacks"])
URGENT = {"dagster/priority": "100", "dagster/max_retries": "0"}
"""Before anything else in the queue; a failed run is asked again by the sensor, which counts the attempts."""
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
    """A guard that cannot see, or whose arms cannot be compared."""

    guard: str = Field(description="The guard's key.")
    state: str = Field(description="BLIND or SRM_HOLD.")
    since_us: int = Field(description="When it was first seen in that state, microseconds UTC.")
    reason: str = Field(description="What is missing, with figures.")


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
def _posted(settings: Settings, name: str) -> Iterator[Post]:
    """The post of a guard. What a person asked wrongly, and what could not be proven off, fails the run with its words."""
    with OpsStore.of(settings) as store:
        try:
            yield Post.of(settings, store, arming.named(settings, name), os.environ)
        except (arming.Refused, ActionFailed) as error:
            raise dg.Failure(description=str(error), allow_retries=False) from error


def guard_jobs(settings: Settings) -> GuardJobs:
    """The jobs; each op is one step of `rollout.acting`, and may be run again."""

    def tagged(context: dg.OpExecutionContext, post: Post, episode: str = "") -> None:
        # The process that really runs: a run whose process is gone is marked failed by the next tick.
        told = {**process_tags(context.run_id), "gtm/guard": post.guard.key, "gtm/flag": post.guard.flag}
        context.instance.add_run_tags(context.run_id, told | ({"gtm/episode": episode} if episode else {}))

    def went(context: dg.OpExecutionContext, post: Post, step: Step) -> Iterator[dg.Output]:
        context.log.info(f"{post.guard.key}: {step.outcome}: {step.reason}")
        if step.go_on:
            yield dg.Output({"guard": post.guard.key, "episode": step.episode})
        elif step.episode:
            _deliver(context, post, step.episode)

    step_out = dg.Out(
        dict, is_required=False, description="Guard and episode; absent when there is nothing more to do."
    )

    @dg.op(name="claim", out=step_out)
    def claim(context: dg.OpExecutionContext, config: Claim) -> Iterator[dg.Output]:
        """Counts again, asks the provider, and takes the episode by compare-and-swap; ends the run when it may not."""
        with _posted(settings, config.guard) as post:
            tagged(context, post, config.episode)
            step = acting.claim(post, config.episode, config.attempt, config.decided_us, context.run_id)
            yield from went(context, post, step)

    @dg.op(name="claim_by_hand", out=step_out)
    def claim_by_hand(context: dg.OpExecutionContext, config: Person) -> Iterator[dg.Output]:
        """Takes an episode because a person says so; no evidence is needed."""
        with _posted(settings, config.guard) as post:
            tagged(context, post)
            step = arming.manual(post, config.actor, config.reason, context.run_id)
            tagged(context, post, step.episode)
            yield from went(context, post, step)

    @dg.op(name="turn_off", out=step_out)
    def turn_off(context: dg.OpExecutionContext, held: dict[str, Any]) -> Iterator[dg.Output]:
        """Turns the flag off at its provider; retries for 30 s, then the kill list holds the old flow."""
        with _posted(settings, held["guard"]) as post:
            with _told(context, post, held["episode"]):
                step = acting.turn_off(post, held["episode"])
            yield from went(context, post, step)

    @dg.op(name="verify", out=step_out)
    def verify(context: dg.OpExecutionContext, held: dict[str, Any]) -> Iterator[dg.Output]:
        """Reads the flag back and evaluates sampled units until all are served the old flow; latches the guard."""
        with _posted(settings, held["guard"]) as post:
            with _told(context, post, held["episode"]):
                step = acting.verify(post, held["episode"], context.run_id)
            yield from went(context, post, step)

    @dg.op(name="record", out=dg.Out(dg.Nothing))
    def record(context: dg.OpExecutionContext, held: dict[str, Any]) -> None:
        """Tells people, then materialises `ops/rollbacks` with evidence and pictures."""
        with _posted(settings, held["guard"]) as post:
            _deliver(context, post, held["episode"])
            row = post.store.rollback(held["episode"])
            if row is not None and _mine(context, row):
                context.log_event(dg.AssetMaterialization(asset_key=ROLLBACKS, metadata=metadata(context, row)))

    @dg.op(name="rearm", out=dg.Out(dg.Nothing))
    def rearm(context: dg.OpExecutionContext, config: Person) -> None:
        """Arms the guard with a new epoch; the flag stays as it is."""
        with _posted(settings, config.guard) as post:
            tagged(context, post)
            epoch = arming.rearm(post, config.actor, config.reason)
            context.log.info(
                f"{post.guard.key}: armed, epoch {epoch}; the flag stays as it is at {post.guard.provider}"
            )

    @dg.op(name="page", out=dg.Out(dg.Nothing))
    def page(context: dg.OpExecutionContext, config: Page) -> None:
        """Tells people, once an occurrence."""
        with _posted(settings, config.guard) as post:
            tagged(context, post)
            occurrence = f"{config.guard}:{config.state}:{config.since_us}"
            text = f"the guard {config.guard} is {config.state} since {notify.moment(config.since_us)}: {config.reason}"
            figures = {"flag": post.guard.flag, "since": notify.moment(config.since_us)}
            message = notify.Message(config.state.lower(), config.guard, text, figures)
            notify.enqueue(post.store, settings, occurrence, config.state.lower(), message, post.now_us())
            _deliver(context, post, occurrence)

    def job(name: str, description: str) -> Any:
        return dg.job(name=name, description=description, tags=URGENT, executor_def=dg.in_process_executor)

    @job(ROLLBACK, "Turn a flag off on the guard's evidence, prove it, tell people. Asked for by `conversion_guard`.")
    def rollback_flag() -> None:
        record(verify(turn_off(claim())))

    @job(MANUAL, "Turn a guarded flag off because a person says so: actor and reason are required.")
    def manual_rollback() -> None:
        record(verify(turn_off(claim_by_hand())))

    @job(REARM, "Arm a guard with a new epoch: actor and reason are required. Never switches a flag on.")
    def rearm_guard() -> None:
        rearm()

    @job(PAGE, "Tell people that a guard has been blind, or held by a broken split, for two minutes.")
    def page_guard() -> None:
        page()

    return GuardJobs(rollback_flag, manual_rollback, rearm_guard, page_guard)


@contextmanager
def _told(context: dg.OpExecutionContext, post: Post, episode: str) -> Iterator[None]:
    """People hear of a failure before the run ends."""
    try:
        yield
    except ActionFailed:
        _deliver(context, post, episode)
        raise


def _deliver(context: dg.OpExecutionContext, post: Post, episode: str) -> None:
    """Try the outbox now; what is not taken is tried again by the stream worker."""
    told = deliver_due(post.store, post.settings, post.now_us(), os.environ, only=episode)
    for each in told:
        outcome = "delivered" if each.error is None else f"not delivered yet: {each.error}"
        context.log.info(f"message to {each.sink}: {outcome}")
    if not post.settings.notify:
        context.log.warning("nobody is told: there is no [[notify]] in gtm.toml")


def _mine(context: dg.OpExecutionContext, row: RollbackRow) -> bool:
    """Whether this run records the episode: the one that latched it does, unless it ended before it could."""
    if row.run_id in (None, "", context.run_id):
        return True
    other = context.instance.get_run_by_id(row.run_id)
    if other is None or other.status in _ENDED:
        return True
    context.log.info(f"recorded by run {row.run_id}")
    return False


def metadata(context: dg.OpExecutionContext, row: RollbackRow) -> dict[str, Any]:
    """Figures of an episode as the UI shows them; a picture that cannot be drawn is left out and told."""
    told: dict[str, Any] = {
        "flag": row.flag,
        "guard": row.guard,
        "episode": row.episode,
        "outcome": row.outcome or "",
        "verified": row.verified,
        "decided_at": notify.moment(row.decided_us) or "",
        "actor": row.actor or "",
        "reason": row.reason or "",
        **_seconds(row),
    }
    if row.estimate is not None:
        told["estimate"] = row.estimate
        told["loss"] = notify.loss_text(row)
    if row.log_e is not None:
        told["log_e"] = row.log_e
    if row.last_exposure_us is not None:
        told["last_new_exposure_at"] = notify.moment(row.last_exposure_us)
    if row.bundle:
        told["bundle_sha256"] = bundle.digest(row.bundle)
        told["replay"] = f"gtm guard replay {row.episode}"
        try:
            held = bundle.from_json(row.bundle)
            drawn = curves(held.counts, held.rule, held.verdict.log_budget)
            title = f"{row.flag}: conversion and evidence"
            told["above_threshold_minutes"] = held.verdict.above_minutes
            told["chart"] = dg.MetadataValue.md(inline(title, drawn))
            told["picture"] = dg.MetadataValue.md(picture(title, drawn))
        except Exception as error:  # noqa: BLE001 - the flag is off already; a picture must not fail its run
            context.log.warning(f"no picture: {type(error).__name__}: {error}")
    return told


def _seconds(row: RollbackRow) -> dict[str, float]:
    """Seconds per stage, where both ends are known."""
    stages = {
        "seconds_decision_to_intent": (row.decided_us, row.intent_us),
        "seconds_intent_to_off": (row.intent_us, row.acked_us),
        "seconds_off_to_verified": (row.acked_us, row.effective_us),
        "seconds_decision_to_verified": (row.decided_us, row.effective_us),
    }
    return {name: (end - start) / 1e6 for name, (start, end) in stages.items() if start is not None and end is not None}
