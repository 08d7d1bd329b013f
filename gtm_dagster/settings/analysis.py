"""Settings of what is computed from events: sessions, conversions, attribution, funnel and retention."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct

from gtm_dagster.settings.choices import CreditModel
from gtm_dagster.settings.values import HalfLife, Name, NotNegative, Positive, PropertyName


class Sessions(Struct, frozen=True, forbid_unknown_fields=True):
    """What a session is. `timeout_minutes`: a gap longer than this ends one (`tracker` uses the id that was sent).

    `bots`: whether events of programs that say what they are open sessions (keep) or not (exclude).
    """

    definition: Literal["ga4", "ua", "tracker"] = "ga4"
    timeout_minutes: Positive = 30.0
    bots: Literal["exclude", "keep"] = "exclude"


class Refunds(Struct, frozen=True, forbid_unknown_fields=True):
    """The event that takes a conversion's value back; its properties: value, currency, and the payment it is `of`."""

    event: Name
    value: PropertyName = "amount"
    currency: PropertyName | None = "currency"
    of: PropertyName = "payment_id"


class Conversion(Struct, frozen=True, forbid_unknown_fields=True):
    """An event that counts as a conversion, and the properties its value and currency are read from.

    `where`: values that properties of the event must have, such as {plan = "pro"}. `unique`: the property that is the
    same where one conversion is told by several events. `refunds`: the event that takes value back. `count`: every
    conversion of a person, or the first alone.
    """

    event: Name
    value: PropertyName | None = None
    currency: PropertyName | None = None
    where: dict[str, str | bool | float] = {}
    unique: PropertyName | None = None
    refunds: Refunds | None = None
    count: Literal["all", "first"] = "all"


Transform = Annotated[
    str,
    Meta(
        pattern=r"^(unique|exposure|first|last|newest:[1-9][0-9]{0,5}|remove_if_not_all:.+|remove_if_last_and_not_all:.+)$",
        description="a transform of paths: unique, exposure, first, last, newest:N, remove_if_not_all:CHANNEL or "
        "remove_if_last_and_not_all:CHANNEL",
    ),
]


class Window(Struct, frozen=True, forbid_unknown_fields=True):
    """One attribution result: a model, how many hours back a touch may lie, and which touches count.

    `name`: what the result is called in the column `model`; None is the model's name. `channel_hours`: hours for single
    channels in place of `lookback_hours`. `only`, `without`: channels that count, or do not, before anything is weighted.
    `transforms`: what is done to a path, in order. `weights`: shares of first, middle and last touch (position_based).
    `half_life_hours`: of time_decay in place of the common one. `order`, `nulls`, `removal`: of markov. `game`: of shapley.
    """

    model: CreditModel
    lookback_hours: Positive
    name: Name | None = None
    channel_hours: dict[str, Positive] = {}
    only: tuple[Name, ...] = ()
    without: tuple[Name, ...] = ()
    transforms: tuple[Transform, ...] = ()
    weights: tuple[NotNegative, ...] = ()
    half_life_hours: HalfLife | None = None
    order: Annotated[int, Meta(ge=1, le=4)] = 1
    nulls: bool = True
    removal: Literal["null", "fail", "refit", "detour"] = "null"
    game: Literal["volume", "rate"] = "volume"

    @property
    def label(self) -> str:
        """What tables call the result in the column `model`."""
        return self.name or self.model

    @property
    def longest_hours(self) -> float:
        """The longest lookback of any channel."""
        return max(self.lookback_hours, *self.channel_hours.values(), 0.0)


class Attribution(Struct, frozen=True, forbid_unknown_fields=True):
    """Which credits are computed; the gate keeps multi-touch models absent until there is enough history.

    `grain`: a touch is a session, or every browsing event. `max_touches`: newest touches that are kept of one conversion
    beside the oldest. `stages`: events whose touches w_shaped and full_path weigh most.
    """

    windows: tuple[Window, ...] = (Window("first_touch", 72.0), Window("last_touch", 24.0))
    half_life_hours: HalfLife = 168.0
    min_history_days: Annotated[int, Meta(ge=0)] = 30
    max_touches: Annotated[int, Meta(ge=2, le=100_000)] = 1000
    grain: Literal["session", "event"] = "session"
    stages: tuple[Name, ...] = ("signup_completed", "trial_started")


class FunnelStep(Struct, frozen=True, forbid_unknown_fields=True):
    """A stage and the events that reach it, not earlier than `after_hours` after the stage before."""

    stage: Name
    events: Annotated[tuple[Name, ...], Meta(min_length=1)]
    after_hours: NotNegative = 0.0


class Funnel(Struct, frozen=True, forbid_unknown_fields=True):
    """The ordered stages a person passes."""

    # At least one is given; of the defaults none is left where the plan knows none of their events.
    steps: Annotated[tuple[FunnelStep, ...], Meta(description="a list of at least one step")] = (
        FunnelStep("acquired", ("page_viewed",)),
        FunnelStep("signed_up", ("signup_completed",)),
        FunnelStep("onboarded", ("onboarding_completed",)),
        FunnelStep("first_value", ("first_value_reached",)),
        FunnelStep("retained", ("feature_used",), 168.0),
    )


class Retention(Struct, frozen=True, forbid_unknown_fields=True):
    """Cohort periods, and the events that count as coming back (empty: any event on web or mobile; server events such as `churn_flagged` are not activity)."""

    unit: Literal["day", "week", "month"] = "week"
    activity: tuple[Name, ...] = ()
