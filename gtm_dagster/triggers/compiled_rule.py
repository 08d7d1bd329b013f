"""A rule ready to run: durations in microseconds, defaults filled in, event names as the plan has them."""

from __future__ import annotations

from datetime import time
from typing import Any, Literal

from msgspec import Struct

from gtm_dagster.triggers.rule_form import (
    CHANNELS,
    WEEKDAYS,
    Channel,
    ConditionForm,
    QuietForm,
    ReentryForm,
    RuleForm,
    Scalar,
)

SECOND_US = 1_000_000
_UNITS = {"s": SECOND_US, "m": 60 * SECOND_US, "h": 3600 * SECOND_US, "d": 86_400 * SECOND_US}
Kind = Literal["event", "count", "absent"]


class Condition(Struct, frozen=True):
    """What the value at a path (`properties.plan`, `context.country`) has to be."""

    path: str
    within: tuple[Scalar, ...] | None = None
    without: tuple[Scalar, ...] | None = None
    least: float | None = None
    most: float | None = None
    present: bool | None = None


class QuietHours(Struct, frozen=True):
    """Local hours without sending; `days` count from 0 (Monday), `zone` None is the person's."""

    begin: time
    end: time
    zone: str | None
    default_zone: str | None
    days: frozenset[int]
    max_hold_us: int


class Cap(Struct, frozen=True):
    """At most `n` actions of `channel` in (now - per_us, now]."""

    channel: Channel
    n: int
    per_us: int


class Rule(Struct, frozen=True):
    """A rule ready to run. `cooldown_us` 0 is none; `once` lets a person and key have one action for ever."""

    name: str
    on: str
    kind: Kind
    channel: Channel
    target: str
    purpose: str
    where: tuple[Condition, ...] = ()
    key: str | None = None
    n: int = 1
    within_us: int = 0
    grace_us: int = 0
    hold_while_blind: bool = True
    absent_event: str | None = None
    absent_where: tuple[Condition, ...] = ()
    cancel_on: tuple[str, ...] = ()
    cooldown_us: int = 0
    once: bool = False
    cap: Cap | None = None
    quiet: QuietHours | None = None
    priority: int = 50
    holdout_of_10000: int = 0
    expires_us: int = 86_400 * SECOND_US
    goal: str | None = None
    goal_within_us: int = 7 * 86_400 * SECOND_US
    on_change: Literal["rebase", "drain", "cancel"] = "rebase"
    bots: bool = False
    servers: bool = False

    @property
    def cancelling(self) -> tuple[str, ...]:
        """Every event that ends what is open."""
        return self.cancel_on if self.absent_event is None else (self.absent_event, *self.cancel_on)

    @property
    def events(self) -> frozenset[str]:
        """Every event the rule looks at."""
        return frozenset((self.on, *self.cancelling))

    @property
    def condition(self) -> tuple[Any, ...]:
        """What decides when the rule is due; a change of anything else keeps what is open as it is."""
        return (
            self.on, self.kind, self.where, self.key, self.n, self.within_us, self.grace_us,
            self.absent_event, self.absent_where, self.cancel_on,
        )  # fmt: skip


def drains(before: Rule, rule: Rule) -> bool:
    """Whether what is open of `before` ends by it under `rule`, which says so: it still hears every event that ends it."""
    absence_gone = before.kind == "absent" and rule.kind != "absent"
    return rule.on_change == "drain" and not absence_gone and _hears_ends_of(rule, before)


def rebases(before: Rule, rule: Rule) -> bool:
    """Whether what is open of `before` ends by `rule`, which says so: `before` has heard every event that ends it."""
    return rule.on_change == "rebase" and rule.kind == before.kind and _hears_ends_of(before, rule)


def _hears_ends_of(listening: Rule, other: Rule) -> bool:
    """Whether one rule hears every event that ends a start of the other."""
    heard = set(listening.cancel_on) | ({listening.absent_event} if not listening.absent_where else set())
    absence = (other.absent_event, other.absent_where)
    is_heard = other.absent_event in (None, *heard) or absence == (listening.absent_event, listening.absent_where)
    return listening.key == other.key and is_heard and set(other.cancel_on) <= heard


def microseconds(duration: str) -> int:
    """The microseconds of a duration such as 24h."""
    return int(duration[:-1]) * _UNITS[duration[-1]]


def compiled(name: str, form: RuleForm, canonical: dict[str, str]) -> Rule:
    """The rule `name`, which the lint passes; `canonical`: event names of the plan by those of the file."""
    channel = next(channel for channel in CHANNELS if getattr(form.do, channel) is not None)
    within = form.absent.within if form.absent else form.count.within if form.count else None
    cooldown = form.reentry.cooldown if isinstance(form.reentry, ReentryForm) else None
    if cooldown is None and form.reentry is None and form.count:
        cooldown = form.count.within
    return Rule(
        name=name,
        on=canonical.get(form.on, form.on),
        kind="absent" if form.absent else "count" if form.count else "event",
        channel=channel,
        target=getattr(form.do, channel),
        purpose=form.purpose,
        where=conditions(form.where),
        key=None if form.key in (None, "person") else str(form.key).removeprefix("properties."),
        n=form.count.n if form.count else 1,
        within_us=microseconds(within) if within else 0,
        grace_us=microseconds(form.absent.grace) if form.absent else 0,
        hold_while_blind=form.absent is None or form.absent.blind == "hold",
        absent_event=canonical.get(form.absent.event, form.absent.event) if form.absent else None,
        absent_where=conditions(form.absent.where) if form.absent else (),
        cancel_on=tuple(canonical.get(event, event) for event in form.cancel_on),
        cooldown_us=microseconds(cooldown) if cooldown else 0,
        once=form.reentry == "never",
        cap=Cap(form.cap.channel, form.cap.n, microseconds(form.cap.per)) if form.cap else None,
        quiet=_quiet_hours(form.quiet) if form.quiet else None,
        priority=form.priority,
        holdout_of_10000=round(form.holdout * 10_000),
        expires_us=microseconds(form.expires),
        goal=canonical.get(goal, goal) if (goal := _goal(form)) else None,
        goal_within_us=microseconds(form.goal.within) if form.goal else 7 * 86_400 * SECOND_US,
        on_change=form.on_change,
        bots=form.bots,
        servers=form.servers,
    )


def _goal(form: RuleForm) -> str | None:
    return form.goal.event if form.goal else form.absent.event if form.absent else None


def conditions(where: dict[str, ConditionForm]) -> tuple[Condition, ...]:
    """The conditions of a `where`, by path."""
    return tuple(
        Condition(path, each.in_, each.not_in, each.min, each.max, each.present) for path, each in sorted(where.items())
    )


def _quiet_hours(form: QuietForm) -> QuietHours:
    return QuietHours(
        time.fromisoformat(form.from_),
        time.fromisoformat(form.to),
        None if form.zone == "person" else form.zone,
        form.default_zone,
        frozenset(WEEKDAYS.index(day) for day in form.days),
        microseconds(form.max_hold),
    )
