"""`gtm guard drill`: whether the guard turns a flag off here and now, and in how many seconds."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from gtm_dagster.commands.command import Command
from gtm_dagster.commands.output import Invocation, Json, Problem, invocation, note, say, say_json


def drill(
    context: typer.Context,
    drop: Annotated[float, typer.Option(min=0.2, max=1.0, help="Planted relative drop of the new flow.")] = 0.6,
    visitors_per_minute: Annotated[float, typer.Option(min=10, max=2000, help="Both arms together.")] = 200.0,
    seed: Annotated[int, typer.Option(min=0, help="The same seed draws the same visitors.")] = 7,
    json: Json = False,
) -> int:
    """Plant a drop on a canary flag and wait until its flag is verified off; seconds per stage. Exit 1: it is not off."""
    here = invocation(context)
    settings = here.settings  # first: the definitions read the settings too, when they are imported
    _check_plan(here)
    from gtm_dagster.definitions import build_defs
    from gtm_dagster.demo.canary import DrillError, drill_lines, run_drill
    from gtm_dagster.orchestration.guard_tick import guard_once

    try:
        result = run_drill(
            settings,
            lambda settings: guard_once(settings, build_defs),
            drop=drop,
            per_minute=visitors_per_minute,
            seed=seed,
            tell=note if not json else lambda _: None,
        )
    except DrillError as error:
        raise Problem(str(error)) from None
    if json:
        say_json(asdict(result))
    else:
        for line in drill_lines(result):
            say(line)
    return 0 if result.verified and result.served_new_after == 0 else 1


def _check_plan(here: Invocation) -> None:
    """The drill sends events: a plan without them would have them refused, and the drill wait for nothing."""
    from gtm_dagster.gate.exposures import EXPOSED
    from gtm_dagster.settings import DRILL_EVENT

    lacking = [name for name in (EXPOSED, DRILL_EVENT) if name not in here.plan.events]
    if lacking:
        raise Problem(
            f"the drill sends {' and '.join(lacking)}, which plan {here.plan.version} ({here.plan_name}) does not have; "
            "copy them from `gtm plan init`"
        )


COMMANDS = (Command("guard drill", drill, order=70),)
