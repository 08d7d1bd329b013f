"""What several guard commands take: a declared guard, and the numbers of its rule to try instead."""

from __future__ import annotations

import getpass
from typing import TYPE_CHECKING, Annotated

import typer

from gtm_dagster.commands.output import Invocation, Problem

if TYPE_CHECKING:
    from gtm_dagster.rollout.guard.detector import Rule
    from gtm_dagster.settings import Guard

Threshold = Annotated[float | None, typer.Option(help="Relative drop, share of 1. Default: the guard's, else 0.15.")]
Hold = Annotated[float | None, typer.Option(help="Minutes a breach is held. Default: the guard's, else 5.")]
Budget = Annotated[float | None, typer.Option(help="Mean hours between false rollbacks. Default: the guard's, else 8760.")]  # fmt: skip

Reason = Annotated[str, typer.Option(help="Why; it is kept in the guard's history.")]
Actor = Annotated[str | None, typer.Option(help="Who asks; default: the login name.")]
GuardName = Annotated[str, typer.Argument(metavar="FLAG|KEY", help="A flag, or the key of a guard (flag:conversion:environment).")]  # fmt: skip


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
    from gtm_dagster.rollout.guard.detector import Rule
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


def guard_named(here: Invocation, name: str) -> Guard:
    """The guard of a key or flag; wrong usage when there is none, or several."""
    watched = here.settings.watched
    found = [g for g in watched if g.key == name] or [g for g in watched if g.flag == name]
    if not found:
        known = ", ".join(g.key for g in here.settings.guards) or "none is declared; add [[guards]] to gtm.toml"
        raise Problem(f"{name}: there is no such guard; known: {known}", 2)
    if len(found) > 1:
        raise Problem(f"{name}: has {len(found)} guards; name one of {', '.join(g.key for g in found)}", 2)
    return found[0]


def actor_name(actor: str | None) -> str:
    if actor is not None and actor.strip():
        return actor.strip()
    if actor is not None:
        raise Problem("--actor: say who asks; it is kept in the guard's history", 2)
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        raise Problem("--actor: this login has no name; say who asks", 2) from None


def reason_given(reason: str) -> str:
    if not reason.strip():
        raise Problem("--reason: say why; it is kept in the guard's history", 2)
    return reason.strip()
