"""From visits to simulated events: what a person does in a visit, and what servers report later, as parallel arrays."""

from dataclasses import dataclass, fields

import numpy as np

from gtm_dagster.simulator.visits import DAY, HOUR, NEVER, Visits, arrival_table

SECOND = 1_000_000
KINDS: tuple[str, ...] = (
    "page_viewed", "campaign_clicked", "pricing_viewed", "demo_requested", "signup_started", "signup_completed",
    "user_identified", "consent_updated", "onboarding_started", "onboarding_completed", "first_value_reached",
    "feature_used", "flag_exposed", "checkout_started", "trial_started", "trial_expired", "payment_completed",
    "payment_refunded", "subscription_cancelled", "churn_flagged", "lead_created",
)  # fmt: skip
CODE: dict[str, int] = {name: code for code, name in enumerate(KINDS)}
WEB, MOBILE, API = 0, 1, 2
CURRENCIES: tuple[str, ...] = ("USD", "EUR")
PRICES = np.array([19.0, 49.0, 99.0, 249.0])
SIGNED_UP = 7
"""Place of `signup_completed` among the events of a visit; from here on the user is known."""


@dataclass(frozen=True)
class SimulatedEvents:
    """A row an event.

    `visit`: -1 for server events. `arrival`: an index of the arrival table on landings and campaign clicks, else -1.
    `device`: WEB, MOBILE or API. `anonymous`: 0 no anonymous id, 1 that of the first device, 2 that of the second.
    `known`: the event carries the user id. `amount`: NaN but for payments and refunds. `paid_us`: when the payment that a
    payment or a refund is about was reported; its payment_id derives from it.
    """

    person: np.ndarray
    visit: np.ndarray
    at_us: np.ndarray
    kind: np.ndarray
    arrival: np.ndarray
    device: np.ndarray
    anonymous: np.ndarray
    known: np.ndarray
    amount: np.ndarray
    currency: np.ndarray
    paid_us: np.ndarray

    def take(self, index: np.ndarray) -> "SimulatedEvents":
        """The rows at `index` (positions or a mask)."""
        return SimulatedEvents(*(getattr(self, field.name)[index] for field in fields(self)))

    def __len__(self) -> int:
        return len(self.person)


def concatenate(parts: list[SimulatedEvents]) -> SimulatedEvents:
    """The rows of all parts, one after the other."""
    return SimulatedEvents(
        *(np.concatenate([getattr(part, field.name) for part in parts]) for field in fields(SimulatedEvents))
    )


def events_of_visits(rng: np.random.Generator, visits: Visits, first_visit: int, end_us: int) -> SimulatedEvents:
    """The events of `visits` before `end_us`, in order of person and time. Visits are numbered from `first_visit`."""
    browsing = _browsing_events(rng, visits, first_visit)
    events = concatenate([browsing, *_server_events(rng, visits, browsing, first_visit)])
    events = events.take(events.at_us < end_us)
    return events.take(np.lexsort((events.at_us, events.person)))


def replace_unlinked_devices(events: SimulatedEvents) -> SimulatedEvents:
    """`events` with first-device ids where no login links the second device to its person (the data ends before it)."""
    second = events.anonymous == 2
    linked = np.zeros(int(events.person.max(initial=-1)) + 1, dtype=bool)
    linked[events.person[second & events.known]] = True
    unlinked = second & ~linked[events.person]
    values = {field.name: getattr(events, field.name) for field in fields(SimulatedEvents)}
    return SimulatedEvents(**{**values, "anonymous": np.where(unlinked, 1, events.anonymous).astype(np.int8)})


def _drawn_events(rng: np.random.Generator, v: Visits) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Which events each visit has, in order: for each event its visit, kind and place in the visit (SIGNED_UP, ...)."""
    n = len(v.person)
    signup = v.ordinal == v.signup_at
    onboarding = v.ordinal == v.onboarded_at
    checkout = (v.ordinal == v.checkout_at) & v.pays
    using = (v.ordinal >= v.onboarded_at) & (v.onboarded_at < NEVER)
    anonymous = v.signup_at > v.ordinal
    has_campaign = np.array([arrival.campaign is not None for arrival in arrival_table()[0]])
    pieces: list[tuple[np.ndarray, int, int]] = []

    def add(mask: np.ndarray, name: str, place: int, times: np.ndarray | None = None) -> None:
        index = np.flatnonzero(mask)
        if times is not None:
            index = np.repeat(index, times[index])
        pieces.append((index, CODE[name], place))

    def some(share: float) -> np.ndarray:
        return rng.random(n) < share

    every_visit = np.ones(n, dtype=bool)
    add(every_visit, "page_viewed", 0)
    add(has_campaign[v.arrival] & some(0.3), "campaign_clicked", 1)
    add(v.second_device, "user_identified", 2)
    add(every_visit, "page_viewed", 3, rng.poisson(np.where(using, 1.0, 1.7)))
    add(anonymous & some(0.12), "pricing_viewed", 4)
    add(anonymous & some(0.015), "demo_requested", 5)
    add(signup | (anonymous & some(0.05)), "signup_started", 6)
    add(signup, "signup_completed", SIGNED_UP)
    add(signup, "user_identified", 8)
    add(signup & some(0.4), "consent_updated", 9)
    add(signup & ((v.onboarded_at < NEVER) | some(0.5)), "onboarding_started", 10)
    add(onboarding, "onboarding_completed", 11)
    add(v.ordinal == v.value_at, "first_value_reached", 12)
    add(using, "feature_used", 13, rng.poisson(np.where(v.value_at < NEVER, 2.6, 0.7)))
    add(checkout, "flag_exposed", 14)
    add(checkout, "checkout_started", 15)
    add(checkout & v.on_trial, "trial_started", 16)

    visit = np.concatenate([index for index, _, _ in pieces])
    kind = np.concatenate([np.full(len(index), code, dtype=np.int8) for index, code, _ in pieces])
    place = np.concatenate([np.full(len(index), at, dtype=np.int64) for index, _, at in pieces])
    order = np.argsort(visit * 32 + place, kind="stable")
    return visit[order], kind[order], place[order]


def _browsing_events(rng: np.random.Generator, v: Visits, first_visit: int) -> SimulatedEvents:
    """What persons do on pages and in the app, in order of visit and time."""
    n = len(v.person)
    visit, kind, place = _drawn_events(rng, v)
    signup = v.ordinal == v.signup_at
    opens = np.r_[True, visit[1:] != visit[:-1]] if len(visit) else np.zeros(0, dtype=bool)
    pause = np.minimum(2 * SECOND + rng.exponential(40 * SECOND, len(visit)), 1_200 * SECOND).astype(np.int64)
    pause[opens] = 0
    passed = np.cumsum(pause)
    at_us = v.start_us[visit] + passed - np.repeat(passed[opens], np.bincount(visit, minlength=n) if n else 0)
    signed_here = signup[visit] & (place >= SIGNED_UP)
    signed_before = v.ordinal[visit] > v.signup_at[visit]
    return SimulatedEvents(
        person=v.person[visit],
        visit=visit + first_visit,
        at_us=at_us,
        kind=kind,
        arrival=np.where(opens | (kind == CODE["campaign_clicked"]), v.arrival[visit], -1).astype(np.int16),
        device=np.where(v.mobile[visit], MOBILE, WEB).astype(np.int8),
        anonymous=np.where(v.second_device[visit], 2, 1).astype(np.int8),
        known=signed_here | (signed_before & ~(opens & v.anonymous_landing[visit])),
        amount=np.full(len(visit), np.nan),
        currency=np.zeros(len(visit), dtype=np.int8),
        paid_us=np.zeros(len(visit), dtype=np.int64),
    )


def _server_events(
    rng: np.random.Generator, v: Visits, browsing: SimulatedEvents, first_visit: int
) -> list[SimulatedEvents]:
    """Payments, refunds and other events that a server reports: with a user id, without device and session."""

    def report(
        name: str, cause: SimulatedEvents, delay: np.ndarray, amount: np.ndarray | None = None
    ) -> SimulatedEvents:
        n = len(cause)
        at_us = cause.at_us + delay.astype(np.int64) + 1
        return SimulatedEvents(
            person=cause.person,
            visit=np.full(n, -1, dtype=cause.visit.dtype),
            at_us=at_us,
            kind=np.full(n, CODE[name], dtype=np.int8),
            arrival=np.full(n, -1, dtype=np.int16),
            device=np.full(n, API, dtype=np.int8),
            anonymous=np.zeros(n, dtype=np.int8),
            known=np.ones(n, dtype=bool),
            amount=np.full(n, np.nan) if amount is None else amount,
            # A person pays in one currency, one in three in euro.
            currency=(cause.person % 3 == 0).astype(np.int8),
            paid_us=cause.at_us if name == "payment_refunded" else at_us,
        )

    def sample(cause: SimulatedEvents, share: float) -> SimulatedEvents:
        return cause.take(rng.random(len(cause)) < share)

    checkout = browsing.take(browsing.kind == CODE["checkout_started"])
    n = len(checkout)
    trial = v.on_trial[checkout.visit - first_visit]
    price = rng.choice(PRICES, n, p=[0.4, 0.35, 0.18, 0.07])
    paid = report(
        "payment_completed", checkout, np.where(trial, 14 * DAY, 5 * SECOND + rng.exponential(300 * SECOND, n)), price
    )
    topup = sample(paid, 0.25)
    topup = report("payment_completed", topup, rng.uniform(2 * DAY, 12 * DAY, len(topup)), topup.amount)
    refund = sample(paid, 0.05)
    refund = report("payment_refunded", refund, rng.uniform(DAY, 6 * DAY, len(refund)), refund.amount)
    cancelled = sample(paid, 0.06)
    cancelled = report("subscription_cancelled", cancelled, rng.uniform(5 * DAY, 20 * DAY, len(cancelled)))
    valued = sample(browsing.take(browsing.kind == CODE["first_value_reached"]), 0.1)
    expired = report("trial_expired", valued, np.full(len(valued), 14 * DAY))
    churned = sample(expired, 0.5)
    churned = report("churn_flagged", churned, rng.uniform(DAY, 3 * DAY, len(churned)))
    signed = sample(browsing.take(browsing.kind == CODE["signup_completed"]), 0.2)
    lead = report("lead_created", signed, rng.uniform(HOUR / 60, HOUR, len(signed)))
    return [paid, topup, refund, cancelled, expired, churned, lead]
