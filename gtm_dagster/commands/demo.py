"""`gtm demo`: planted traffic through everything."""

from __future__ import annotations

from typing import Annotated

import typer

from gtm_dagster.commands.command import Command
from gtm_dagster.commands.output import invocation


def demo(
    context: typer.Context,
    events: Annotated[int, typer.Option(min=1000, help="Events to simulate.")] = 60_000,
    days: Annotated[int, typer.Option(min=2, help="Full days of history; the traffic spans one day more.")] = 30,
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same traffic.")] = 7,
) -> int:
    """Planted traffic through the whole pipeline, in a state directory of its own, and a report beside the truth.

    Exit 1: something did not agree.
    """
    here = invocation(context).demo(make=True)

    from gtm_dagster.definitions import build_defs
    from gtm_dagster.demo.run import run_demo
    from gtm_dagster.orchestration.guard_tick import guard_once
    from gtm_dagster.orchestration.refresh_run import run_refresh

    return run_demo(
        here.settings,
        lambda settings: run_refresh(settings, build_defs, trigger="demo"),
        lambda settings: guard_once(settings, build_defs),
        events=events,
        days=days,
        seed=seed,
    )


COMMANDS = (Command("demo", demo, order=10),)
