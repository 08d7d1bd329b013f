"""A rule as it is written in `triggers.yaml`: the keys, their types and their defaults."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct, field

Duration = Annotated[
    str, Meta(pattern=r"^[1-9][0-9]{0,5}[smhd]$(?!\n)", description="a duration such as 90s, 30m, 24h or 7d")
]
ClockTime = Annotated[
    str, Meta(pattern=r"^([01][0-9]|2[0-3]):[0-5][0-9]$(?!\n)", description='a time of day such as "21:00"; quote it')
]
Scalar = bool | int | float | str
Channel = Literal["email", "webhook", "slack", "in_app"]
CHANNELS: tuple[Channel, ...] = ("email", "webhook", "slack", "in_app")
Weekday = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
WEEKDAYS: tuple[Weekday, ...] = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
Name = Annotated[str, Meta(min_length=1, max_length=128, description="a name of 1 to 128 characters")]


class ConditionForm(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What the value at a path has to be; all that is given has to hold. A value that is absent holds for `not_in` alone."""

    in_: tuple[Scalar, ...] | None = field(name="in", default=None)
    not_in: tuple[Scalar, ...] | None = None
    min: float | None = None
    max: float | None = None
    present: bool | None = None


class AbsentForm(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`event` does not happen `within` a time from the start.

    `grace`: how much later it may still arrive. `blind`: what happens while its senders are not heard.
    """

    event: Name
    within: Duration
    where: dict[str, ConditionForm] = {}
    grace: Duration = "2m"
    blind: Literal["hold", "expire"] = "hold"


class CountForm(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`n` events in a rolling window (now - within, now]."""

    n: Annotated[int, Meta(ge=2, le=500, description="a whole number from 2 to 500")]
    within: Duration


class ReentryForm(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The least time between two actions of the rule for one person and key."""

    cooldown: Duration


class CapForm(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """At most `n` actions of `channel`, of all rules, in a rolling window (now - per, now] of one person."""

    channel: Channel
    n: Annotated[int, Meta(ge=1, le=1000, description="a whole number from 1 to 1000")]
    per: Duration


class GoalForm(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What a message is meant to bring about: `event`, `within` a time from the decision."""

    event: Name
    within: Duration = "7d"


class QuietForm(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Local hours in which nothing is sent; a window over midnight belongs to the day it starts on.

    `zone`: an IANA name, or `person`: the zone of the person's last event, else that of a country with one zone, else
    `default_zone`. `days`: days on which a window starts. `max_hold`: the longest wait for the end of a window.
    """

    from_: ClockTime = field(name="from")
    to: ClockTime
    zone: Name = "person"
    default_zone: Name | None = None
    days: tuple[Weekday, ...] = WEEKDAYS
    max_hold: Duration = "14h"


class DoForm(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The one channel of the action, and its template (e-mail, in-app, Slack) or destination (webhook)."""

    email: Name | None = None
    webhook: Name | None = None
    slack: Name | None = None
    in_app: Name | None = None


class RuleForm(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One rule. Without `absent` and `count` every event `on` that satisfies `where` starts an action.

    `key`: a property; each of its values is an occurrence of its own. `reentry`: always (the default), never, or a cooldown
    (the default of a count: its window). `holdout`: the share of persons, of 1, who get nothing, for comparison.
    `expires`: after which a late action is worth nothing. `goal`: the event by which its effect is counted (the default of an
    absence: its event within 7 days). `on_change`: what an edit does to what is open. `bots`: whether
    programs start it too. `servers`: whether events of a backend (device_type api) start a marketing rule.
    """

    on: Name
    do: DoForm
    purpose: Name
    where: dict[str, ConditionForm] = {}
    key: Name | None = None
    absent: AbsentForm | None = None
    count: CountForm | None = None
    cancel_on: tuple[Name, ...] = ()
    reentry: Literal["always", "never"] | ReentryForm | None = None
    cap: CapForm | None = None
    quiet: QuietForm | None = None
    priority: Annotated[int, Meta(ge=0, le=100, description="a whole number from 0 to 100")] = 50
    holdout: Annotated[float, Meta(ge=0, lt=1, description="a share from 0 to below 1")] = 0.0
    expires: Duration = "24h"
    goal: GoalForm | None = None
    on_change: Literal["rebase", "drain", "cancel"] = "rebase"
    bots: bool = False
    servers: bool = False


class RulesForm(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The file: `version` of its format, and the rules by name."""

    version: Literal[1] = 1
    rules: dict[str, RuleForm]
