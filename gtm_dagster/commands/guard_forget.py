"""`gtm guard forget`: a producer that is gone for good holds no guard any more."""

from __future__ import annotations

import time
from typing import Annotated

import typer

from gtm_dagster.commands.command import Command
from gtm_dagster.commands.guard_options import Actor, actor_name, reason_given
from gtm_dagster.commands.output import Json, Problem, invocation, say, say_json


def forget(
    context: typer.Context,
    producer: Annotated[str, typer.Argument(help="The name it sends heartbeats under; `gtm guard status` shows it.")],
    reason: Annotated[str, typer.Option(help="Why; it is kept in the history of each guard it served.")] = "it is gone",
    actor: Actor = None,
    json: Json = False,
) -> None:
    """Wait no more for a producer that vanished. With its next heartbeat it is back."""
    from gtm_dagster.opsstore import OpsStore
    from gtm_dagster.rollout.control.arming import Refused
    from gtm_dagster.rollout.control.arming import forget as forget_producer
    from gtm_dagster.rollout.control.evaluation import store_exists

    here = invocation(context)
    who, why = actor_name(actor), reason_given(reason)
    if not store_exists(here.settings):
        raise Problem(f"{producer}: no heartbeat was ever counted here; `gtm stream` counts them", 2)
    with OpsStore.of(here.settings) as store:
        try:
            guards = forget_producer(store, here.settings, producer, who, why, time.time_ns() // 1000)
        except Refused as error:
            raise Problem(str(error), 2) from None
    if json:
        say_json({"producer": producer, "guards": list(guards), "actor": who, "reason": why})
        return
    say(
        f"{producer} is not waited for any more, by {who}: {why}; {', '.join(guards) or 'no armed guard'} waited for it"
    )


COMMANDS = (Command("guard forget", forget, order=55),)
