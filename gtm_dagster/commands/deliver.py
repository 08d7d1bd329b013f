"""`gtm deliver`: the messages of triggers, sent by a process of their own."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Annotated

import typer

from gtm_dagster.commands.command import Command
from gtm_dagster.commands.message_delivery import worker_maker
from gtm_dagster.commands.output import Problem, invocation, note
from gtm_dagster.commands.stream import asked_to_stop


def deliver(
    context: typer.Context,
    once: Annotated[bool, typer.Option("--once", help="Send what is due now, then end.")] = False,
    metrics_port: Annotated[
        int, typer.Option(min=0, max=65535, help="Serve metrics at this port of stream.metrics_host. Default: nowhere.")
    ] = 0,
) -> None:
    """Send the messages of triggers until Ctrl-C. `gtm stream` does so itself; several at once send each message once."""
    from gtm_dagster.opsstore import OpsStore
    from gtm_dagster.triggers.trigger_db import TriggerDbError

    settings = invocation(context).settings
    if settings.triggers_file is None:
        raise Problem("triggers_file is not set: there is nothing to deliver; name a file of rules in gtm.toml", 2)
    with OpsStore.of(settings) as store, ExitStack() as stack:
        registry = None
        if metrics_port:
            from gtm_dagster.monitoring import process_registry
            from gtm_dagster.monitoring.metrics_page import metrics_page

            registry = process_registry("deliver")
            address = stack.enter_context(metrics_page(registry, settings.stream.metrics_host, metrics_port))
            note(f"deliver: metrics at {address}")
        try:
            worker = worker_maker(settings, store, registry)()
        except TriggerDbError as error:
            raise Problem(str(error)) from None
        stack.callback(worker.close)
        if once:
            worker.drain()
            return
        with asked_to_stop() as stop:
            note(f"deliver: {len(settings.destinations)} destinations")
            worker.run(stop)


COMMANDS = (Command("deliver", deliver, order=45),)
