"""`gtm guard rearm`: a person arms a guard."""

from __future__ import annotations

import os

import typer

from gtm_dagster.commands.command import Command
from gtm_dagster.commands.guard_options import Actor, GuardName, Reason, actor_name, guard_named, reason_given
from gtm_dagster.commands.output import Json, Problem, invocation, say, say_json, say_prose


def rearm(context: typer.Context, flag: GuardName, reason: Reason, actor: Actor = None, json: Json = False) -> None:
    """Arm a guard, the first time or after a rollback: a new epoch without any evidence. Never switches the flag on."""
    from gtm_dagster.opsstore import OpsStore
    from gtm_dagster.rollout.control.arming import Refused
    from gtm_dagster.rollout.control.arming import rearm as arm
    from gtm_dagster.rollout.control.guard_context import GuardContext

    here = invocation(context)
    guard, who, why = guard_named(here, flag), actor_name(actor), reason_given(reason)
    with OpsStore.of(here.settings) as store:
        try:
            epoch = arm(GuardContext.of(here.settings, store, guard, os.environ), who, why)
        except Refused as error:
            raise Problem(str(error)) from None
        state = store.flag_state(guard.key)
    enabled = state.enabled if state else None
    if json:
        say_json({"guard": guard.key, "epoch": epoch, "actor": who, "reason": why, "flag_enabled": enabled})
        return
    say(f"{guard.key} is armed, epoch {epoch}, by {who}: {why}")
    if guard.ramp is not None:
        say_prose(f"its ramp begins at what the flag serves now: `gtm guard ramp {guard.flag}`")
    elif enabled is False:
        say(f"the flag is off at {guard.provider}; switch it on there when you are ready")


COMMANDS = (Command("guard rearm", rearm, order=50),)
