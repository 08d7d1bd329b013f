"""`gtm collect`: the collector alone."""

from __future__ import annotations

from typing import Annotated

import typer

from gtm_dagster.commands.command import Command
from gtm_dagster.commands.output import invocation


def collect(
    context: typer.Context,
    host: Annotated[str | None, typer.Option(help="Address to listen on; default: collector.host.")] = None,
    port: Annotated[int | None, typer.Option(min=0, max=65535, help="Default: collector.port.")] = None,
) -> None:
    """Run the collector: POST /ingest until Ctrl-C."""
    from gtm_dagster.collector.serve import serve
    from gtm_dagster.taxonomy.plan_in_use import record_plan

    here = invocation(context)
    settings = here.settings
    record_plan(settings.state_dir, here.plan, "gtm collect")
    serve(settings, host or settings.collector.host, settings.collector.port if port is None else port)


COMMANDS = (Command("collect", collect, order=30),)
