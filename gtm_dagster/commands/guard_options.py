"""What several guard commands take: a declared guard, and the numbers of its rule to try instead."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from gtm_dagster.commands.output import Invocation, Problem

if TYPE_CHECKING:
    from gtm_dagster.rollout.guard.rule import Rule
    from gtm_dagster.settings import Guard

Threshold = Annotated[float | None, typer.Option(help="Relative drop, share of 1. Default: the guard's, else 0.15.")]
Hold = Annotated[float | None, typer.Option(help="Minutes a breach is held. Default: the guard's, else 5.")]
Budget = Annotated[float | None, typer.Option(help="Mean hours between false rollbacks. Default: the guard's, else 8760.")]  # fmt: skip


def checked(name: str, value: float, ok: bool, allowed: str) -> float:
    if not ok:
        raise Problem(f"{name}: {value:g} is not allowed; give {allowed}", 2)
    return value


def rule_told(
    declared: Guard | None,
    threshold: float | None,
    hold: float | None,
    budget: float | None,
    window: float | None = None,
) -> Rule:
    """The rule of a declared guard (default: of a guard without settings) with what the command line says instead."""
    from gtm_dagster.rollout.guard.rule import Rule
    from gtm_dagster.settings import Guard

    base = declared or Guard("", "")
    told = {
        "threshold": base.threshold if threshold is None else threshold,
        "hold": base.hold_minutes if hold is None else hold,
        "budget hours": base.budget_hours if budget is None else budget,
        "window": base.conversion_window_minutes if window is None else window,
    }
    checked("--threshold", told["threshold"], 0.02 <= told["threshold"] <= 0.9, "a share from 0.02 to 0.9")
    checked("--hold", told["hold"], 0 <= told["hold"] <= 1440, "minutes from 0 to 1440")
    checked("--budget-hours", told["budget hours"], 24 <= told["budget hours"] <= 1_000_000, "from 24 to 1000000")
    checked("--window", told["window"], 1 <= told["window"] <= 10_080, "minutes from 1 to 10080")
    return Rule(told["window"], told["threshold"], told["hold"], told["budget hours"])


def declared_for(here: Invocation, flag: str, conversion: str | None = None) -> Guard | None:
    """The first declared guard of a flag (and conversion)."""
    held = [g for g in here.settings.watched if g.flag == flag and conversion in (None, g.conversion)]
    return held[0] if held else None
