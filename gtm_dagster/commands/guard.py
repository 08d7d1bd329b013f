"""`gtm guard`: plan, watch, try and act on the guards of feature flags."""

from __future__ import annotations

import typer

from gtm_dagster.commands.drill import drill
from gtm_dagster.commands.guard_plan import plan
from gtm_dagster.commands.guard_state import rearm, rollback, status
from gtm_dagster.commands.guard_trial import backtest, replay, simulate

guard = typer.Typer(help="Guards of feature flags: what they promise, see and did.", no_args_is_help=True)
for command in (plan, status, simulate, backtest, rearm, rollback, drill, replay):
    guard.command(command.__name__)(command)
