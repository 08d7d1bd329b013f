"""`gtm dash`: the dashboard alone."""

from __future__ import annotations

from typing import Annotated

import typer

from gtm_dagster.commands.command import Command
from gtm_dagster.commands.output import invocation


def dash(
    context: typer.Context,
    host: Annotated[str | None, typer.Option(help="Address to listen on; default: dashboard.host.")] = None,
    port: Annotated[int | None, typer.Option(min=0, max=65535, help="Default: dashboard.port.")] = None,
) -> None:
    """Show the dashboard until Ctrl-C: pages over the serving copy and the ops store; it writes nothing."""
    from gtm_dagster.dashboard.web_server import serve_dashboard

    settings = invocation(context).settings
    at = settings.dashboard
    serve_dashboard(settings, host or at.host, at.port if port is None else port)


COMMANDS = (Command("dash", dash, order=25),)
