"""`gtm guard rollback`: a person turns the flag of a guard off."""

from __future__ import annotations

import os
import time

import typer

from gtm_dagster.commands.command import Command
from gtm_dagster.commands.guard_options import Actor, GuardName, Reason, actor_name, guard_named, reason_given
from gtm_dagster.commands.output import Json, Problem, invocation, say, say_json


def rollback(context: typer.Context, flag: GuardName, reason: Reason, actor: Actor = None, json: Json = False) -> int:
    """Turn a guard's flag off now, without evidence; verified and latched as the guard does it. Exit 1: not proven off."""
    from gtm_dagster.delivery import deliver_due
    from gtm_dagster.opsstore import OpsStore
    from gtm_dagster.rollout.control.acting import turn_off, verify
    from gtm_dagster.rollout.control.arming import Refused, claim_by_hand
    from gtm_dagster.rollout.control.guard_context import ActionFailed, GuardContext

    here = invocation(context)
    guard, who, why = guard_named(here, flag), actor_name(actor), reason_given(reason)
    with OpsStore.of(here.settings) as store:
        guarded = GuardContext.of(here.settings, store, guard, os.environ)
        problem = None
        try:
            step = claim_by_hand(guarded, who, why)
            episode = step.episode
            if step.proceed:
                step = turn_off(guarded, episode)
            if step.proceed:
                step = verify(guarded, episode)
        except Refused as error:
            raise Problem(str(error)) from None
        except ActionFailed as error:
            problem = str(error)
        deliver_due(store, here.settings, time.time_ns() // 1000, os.environ, only=episode)
        record = store.rollback(episode)
    if problem is not None:
        raise Problem(problem)
    done = bool(record and (record.verified or record.dry_run))
    if json:
        say_json(
            {"guard": guard.key, "episode": episode, "outcome": step.outcome, "verified": bool(record and record.verified),
             "reason": step.reason, "actor": who}
        )  # fmt: skip
    else:
        say(f"{guard.key}: {step.outcome} ({step.reason}), episode {episode}, by {who}: {why}")
    return 0 if done else 1


COMMANDS = (Command("guard rollback", rollback, order=60),)
