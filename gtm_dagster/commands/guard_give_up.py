"""`gtm guard give-up`: a person ends a rollback that does not come to its end."""

from __future__ import annotations

import os
import time

import typer

from gtm_dagster.commands.command import Command
from gtm_dagster.commands.guard_options import Actor, GuardName, Reason, actor_name, guard_named, reason_given
from gtm_dagster.commands.output import Json, Problem, invocation, say, say_json, say_prose


def give_up(context: typer.Context, flag: GuardName, reason: Reason, actor: Actor = None, json: Json = False) -> None:
    """End a rollback that fails again and again: nobody asks the provider any more, the guard is latched, people are paged."""
    from gtm_dagster.delivery import deliver_due
    from gtm_dagster.opsstore import OpsStore
    from gtm_dagster.rollout.control.arming import Refused
    from gtm_dagster.rollout.control.arming import give_up as end
    from gtm_dagster.rollout.control.guard_context import GuardContext

    here = invocation(context)
    guard, who, why = guard_named(here, flag), actor_name(actor), reason_given(reason)
    with OpsStore.of(here.settings) as store:
        try:
            step = end(GuardContext.of(here.settings, store, guard, os.environ), who, why)
        except Refused as error:
            raise Problem(str(error)) from None
        deliver_due(store, here.settings, time.time_ns() // 1000, os.environ, only=step.episode)
    if json:
        say_json(
            {"guard": guard.key, "episode": step.episode, "outcome": step.outcome, "served": step.reason, "actor": who}
        )
        return
    say(f"{guard.key}: the rollback {step.episode} is given up, by {who}: {why}")
    say_prose(f"{step.reason}; `gtm guard rearm {guard.flag} --reason ...` watches it again")


COMMANDS = (Command("guard give-up", give_up, order=65),)
