"""Options that several guard commands take: a guard, numbers to try instead of those of its rule, who asks and why."""

from __future__ import annotations

import getpass
from typing import TYPE_CHECKING, Annotated

import typer

from gtm_dagster.commands.output import Invocation, Problem

if TYPE_CHECKING:
    from gtm_dagster.rollout.guard.rule import Rule
    from gtm_dagster.settings import Guard

Threshold = Annotated[float | None, typer.Option(help="Relative drop, share of 1. Default: the guard's, else 0.15.")]
Hold = Annotated[float | None, typer.Option(help="Minutes a breach is held. Default: the guard's, else 5.")]
Budget = Annotated[float | None, typer.Option(help="Mean hours between false rollbacks. Default: the guard's, else 8760.")]  # fmt: skip
Margin = Annotated[float | None, typer.Option(help="Share of the threshold that is no harm. Default: the guard's, else 0.5.")]  # fmt: skip
Slower = Annotated[float | None, typer.Option(help="Minutes later that are no loss. Default: the guard's, else its hold.")]  # fmt: skip
StartRisk = Annotated[float | None, typer.Option(help="Chance of a false rollback that a start may cost. Default: the guard's, else 0.01.")]  # fmt: skip

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
    *,
    margin: float | None = None,
    slower: float | None = None,
    start_risk: float | None = None,
) -> Rule:
    """The rule of a declared guard (without one: the defaults), each given number replacing that of the guard."""
    from msgspec.structs import replace

    from gtm_dagster.rollout.guard.rule import Rule
    from gtm_dagster.settings import Guard

    base = declared or Guard("", "")

    def given(option: float | None, setting: float) -> float:
        return setting if option is None else option

    tried = replace(
        base,
        threshold=given(threshold, base.threshold),
        hold_minutes=given(hold, base.hold_minutes),
        budget_hours=given(budget, base.budget_hours),
        conversion_window_minutes=given(window, base.conversion_window_minutes),
        margin=given(margin, base.margin),
        slower_minutes=base.slower_minutes if slower is None else slower,
        start_risk=given(start_risk, base.start_risk),
    )
    rule = Rule.of(tried)
    checked("--threshold", rule.threshold, 0.02 <= rule.threshold <= 0.9, "a share from 0.02 to 0.9")
    checked("--hold", rule.hold_minutes, 0 <= rule.hold_minutes <= 1440, "minutes from 0 to 1440")
    checked("--budget-hours", rule.budget_hours, 24 <= rule.budget_hours <= 1_000_000, "from 24 to 1000000")
    checked("--window", rule.window_minutes, 1 <= rule.window_minutes <= 10_080, "minutes from 1 to 10080")
    checked("--margin", rule.margin, 0 <= rule.margin < 1, "a share of the threshold from 0 to below 1")
    checked("--slower", rule.slower_minutes, 0 <= rule.slower_minutes <= 10_080, "minutes from 0 to 10080")
    checked("--start-risk", rule.start_risk, 0 <= rule.start_risk <= 0.2, "a probability from 0 to 0.2")
    return rule


def declared_for(here: Invocation, flag: str, conversion: str | None = None) -> Guard | None:
    """The first declared guard of a flag (and conversion)."""
    declared = (g for g in here.settings.watched if g.flag == flag and conversion in (None, g.conversion))
    return next(declared, None)


def guard_named(here: Invocation, name: str) -> Guard:
    """The guard of a key or flag. Raises Problem (2) when there is none, or several."""
    watched = here.settings.watched
    found = [g for g in watched if g.key == name] or [g for g in watched if g.flag == name]
    if not found:
        from gtm_dagster.settings.nearest import known_names

        keys = [g.key for g in here.settings.guards if ":" in name] or [g.flag for g in here.settings.guards]
        known = known_names(name, keys, "none is declared; add [[guards]] to gtm.toml")
        raise Problem(f"{name}: there is no such guard; {known}", 2)
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
