"""Options that several guard commands take: a guard, numbers to try instead of those of its rule, who asks and why."""

from __future__ import annotations

import getpass
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from gtm_dagster.commands.output import Invocation, Problem

if TYPE_CHECKING:
    from gtm_dagster.rollout.guard.rule import Rule
    from gtm_dagster.settings import Guard

Threshold = Annotated[float | None, typer.Option(help="Relative drop, share of 1. Default: the guard's, else 0.15.")]
Hold = Annotated[float | None, typer.Option(help="Minutes a breach is held. Default: the guard's, else 5.")]
Budget = Annotated[float | None, typer.Option(help="Mean hours between false rollbacks. Default: the guard's, else 8760.")]  # fmt: skip

Reason = Annotated[str, typer.Option(help="Why; it is kept in the guard's history.")]
Actor = Annotated[str | None, typer.Option(help="Who asks; default: the login name.")]
GuardName = Annotated[str, typer.Argument(metavar="FLAG|KEY", help="A flag, or the key of a guard (flag:conversion:environment).")]  # fmt: skip


def checked(name: str, value: float, ok: bool, allowed: str) -> float:
    """The value of an option. Raises Problem (2), which says what is allowed, when it is not `ok`."""
    if not ok:
        raise Problem(f"{name}: {value:g} is not allowed; give {allowed}", 2)
    return value


def rule_from(
    declared: Guard | None,
    threshold: float | None,
    hold: float | None,
    budget: float | None,
    window: float | None = None,
) -> Rule:
    """The rule of a declared guard (without one: the defaults), each given number replacing that of the guard."""
    from gtm_dagster.rollout.guard.rule import Rule
    from gtm_dagster.settings import Guard

    base = declared or Guard("", "")
    drop = base.threshold if threshold is None else threshold
    minutes = base.hold_minutes if hold is None else hold
    hours = base.budget_hours if budget is None else budget
    horizon = base.conversion_window_minutes if window is None else window
    checked("--threshold", drop, 0.02 <= drop <= 0.9, "a share from 0.02 to 0.9")
    checked("--hold", minutes, 0 <= minutes <= 1440, "minutes from 0 to 1440")
    checked("--budget-hours", hours, 24 <= hours <= 1_000_000, "from 24 to 1000000")
    checked("--window", horizon, 1 <= horizon <= 10_080, "minutes from 1 to 10080")
    rule = Rule.of(base)
    slower = minutes if base.slower_minutes is None else base.slower_minutes
    return replace(
        rule, window_minutes=horizon, threshold=drop, hold_minutes=minutes, budget_hours=hours, slower_minutes=slower
    )


def declared_for(here: Invocation, flag: str, conversion: str | None = None) -> Guard | None:
    """The first declared guard of a flag (and conversion)."""
    declared = (g for g in here.settings.watched if g.flag == flag and conversion in (None, g.conversion))
    return next(declared, None)


def guard_named(here: Invocation, name: str) -> Guard:
    """The guard of a key or flag. Raises Problem (2) when there is none, or several."""
    watched = here.settings.watched
    found = [g for g in watched if g.key == name] or [g for g in watched if g.flag == name]
    if not found:
        known = ", ".join(g.key for g in here.settings.guards) or "none is declared; add [[guards]] to gtm.toml"
        raise Problem(f"{name}: there is no such guard; known: {known}", 2)
    if len(found) > 1:
        raise Problem(f"{name}: has {len(found)} guards; name one of {', '.join(g.key for g in found)}", 2)
    return found[0]


def actor_name(actor: str | None) -> str:
    """Who asks: as given, else the login name. Raises Problem (2) for a blank one."""
    if actor is not None and actor.strip():
        return actor.strip()
    if actor is not None:
        raise Problem("--actor: say who asks; it is kept in the guard's history", 2)
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        raise Problem("--actor: this login has no name; say who asks", 2) from None


def reason_given(reason: str) -> str:
    """The reason without blanks around it. Raises Problem (2) for a blank one."""
    if not reason.strip():
        raise Problem("--reason: say why; it is kept in the guard's history", 2)
    return reason.strip()
