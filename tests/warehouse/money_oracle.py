"""What money must come to, in plain Python: no SQL, no code of the library but the classifier of sources.

Conversions: each payment once, by its earliest event; refunds taken off; a person's first alone where asked for. Spend:
the newest import of each key, account days divided into report days minute by minute.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Iterable
from datetime import UTC, date, datetime, timedelta
from fractions import Fraction
from typing import NamedTuple
from zoneinfo import ZoneInfo

from gtm_dagster.channels.classify import classify


class Paid(NamedTuple):
    """A conversion as it must be."""

    conversion_id: str
    person: str
    conversion_type: str
    value: float | None
    refunded: float | None
    currency: str | None
    n_events: int


def persons_of(events: Iterable[dict]) -> Callable[[dict], str]:
    """Who an event belongs to: its user, else the user its anonymous id was first seen with, else that id."""
    owner: dict[str, tuple] = {}
    for e in events:
        if e["user_id"] and e["anonymous_id"]:
            seen = (e["event_us"], e["event_id"], e["write_key"], e["user_id"])
            owner[e["anonymous_id"]] = min(owner.get(e["anonymous_id"], seen), seen)
    return lambda e: e["user_id"] or (owner[e["anonymous_id"]][3] if e["anonymous_id"] in owner else e["anonymous_id"])


def number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def alike(sent: object, wanted: object) -> bool:
    """Equal as JSON values: true is no 1, and "1" neither."""
    if isinstance(sent, bool) or isinstance(wanted, bool):
        return sent is wanted
    return isinstance(sent, str) == isinstance(wanted, str) and sent is not None and sent == wanted


def conversions(events: list[dict], kinds: list[dict]) -> list[Paid]:
    """The conversions of distinct events by the settings `kinds`, in order of id."""
    person = persons_of(events)
    found: list[Paid] = []
    for kind in kinds:
        groups: dict[object, list[dict]] = defaultdict(list)
        payments: dict[object, str | None] = {}
        for e in events:
            sent = json.loads(e["properties"])
            if e["event_name"] != kind["event"]:
                continue
            if not all(name in sent and alike(sent[name], value) for name, value in kind.get("where", {}).items()):
                continue
            payment = sent.get(kind.get("unique") or kind.get("refunds", {}).get("of", "payment_id")) or None
            alone = (e["write_key"], e["event_id"])
            key = ("payment", payment) if payment and kind.get("unique") else ("event", alone)
            groups[key].append(e)
            payments[key] = payment
        winners = {
            key: min(group, key=lambda e: (e["event_us"], e["event_id"], e["write_key"]))
            for key, group in groups.items()
        }
        refunded = _refunded(events, kind, winners, payments)
        if kind.get("count") == "first":
            first: dict[str, tuple] = {}
            for key, e in winners.items():
                place = (e["event_us"], e["event_id"], e["write_key"])
                who = person(e)
                if who not in first or place < first[who][0]:
                    first[who] = (place, key)
            winners = {key: winners[key] for _, key in first.values()}
        for key, e in winners.items():
            sent = json.loads(e["properties"])
            value = number(sent.get(kind.get("value")))
            found.append(
                Paid(
                    f"{e['write_key']}:{e['event_id']}", person(e), kind["event"], value,
                    None if value is None else refunded.get(key, 0.0), sent.get(kind.get("currency")), len(groups[key]),
                )
            )  # fmt: skip
    return sorted(found)


def _refunded(events: list[dict], kind: dict, winners: dict, payments: dict) -> dict[object, float]:
    """What is given back of each conversion: of the conversions of a payment in one currency the earliest first."""
    rule = kind.get("refunds")
    if not rule:
        return {}
    of_payment: dict[str, list[object]] = defaultdict(list)
    for key in sorted(winners, key=lambda k: (winners[k]["event_us"], winners[k]["event_id"], winners[k]["write_key"])):
        if payments[key]:
            of_payment[payments[key]].append(key)
    totals: dict[tuple, float] = defaultdict(float)
    for e in sorted(events, key=lambda e: (e["event_us"], e["event_id"], e["write_key"])):
        sent = json.loads(e["properties"])
        payment = sent.get(rule.get("of", "payment_id"))
        amount = number(sent.get(rule.get("value", "amount")))
        if e["event_name"] != rule["event"] or amount is None or payment not in of_payment:
            continue
        earliest = json.loads(winners[of_payment[payment][0]]["properties"]).get(kind.get("currency"))
        currency = (sent.get(rule.get("currency", "currency")) if kind.get("currency") else None) or earliest
        totals[payment, currency] += amount
    found = {}
    for payment, keys in of_payment.items():
        left = {currency: total for (of, currency), total in totals.items() if of == payment}
        for key in keys:
            sent = json.loads(winners[key]["properties"])
            currency, value = sent.get(kind.get("currency")), number(sent.get(kind.get("value"))) or 0.0
            taken = max(min(left.get(currency, 0.0), value), 0.0)
            left[currency] = left.get(currency, 0.0) - max(value, 0.0)
            found[key] = taken
    return found


class Spent(NamedTuple):
    """A row of spend as it must be."""

    day: date
    source: str | None
    medium: str | None
    campaign: str | None
    channel: str
    currency: str


def spend(imports: list[list[dict]], report_zone: str) -> dict[Spent, float]:
    """Cost by report day and names; `imports` from the oldest to the newest, each a list of rows of texts and a cost."""
    newest: dict[tuple, int] = {}
    for number_, rows in enumerate(imports):
        for row in rows:
            newest[_key(row)] = number_
    found: dict[Spent, Fraction] = defaultdict(Fraction)
    for number_, rows in enumerate(imports):
        for row in rows:
            if newest[_key(row)] == number_:
                for day, share in _shares(row["day"], row.get("timezone") or report_zone, report_zone).items():
                    found[Spent(day, *_place(row), row["currency"])] += share * Fraction(row["cost"])
    return {key: float(cost) for key, cost in found.items()}


def _key(row: dict) -> tuple:
    names = ("write_key", "day", "source", "medium", "campaign", "currency")
    return (*(row.get(name) for name in names), None if row.get("source") else row.get("channel"))


def _place(row: dict) -> tuple[str | None, str | None, str | None, str]:
    if not row.get("source"):
        return None, None, None, row["channel"]
    touch = classify(row["source"], row.get("medium") or "cpc", row.get("campaign"), None)
    return (
        touch.source,
        touch.medium if row.get("medium") else None,
        touch.campaign,
        row.get("channel") or touch.channel,
    )


def _shares(day: date, account_zone: str, report_zone: str) -> dict[date, Fraction]:
    """Counts the quarters of an hour of the account's day by the report day they lie in."""
    at = datetime(day.year, day.month, day.day, tzinfo=UTC) - timedelta(hours=30)
    counted: dict[date, int] = defaultdict(int)
    for step in range(4 * 84):
        moment = at + timedelta(minutes=15 * step)
        if moment.astimezone(ZoneInfo(account_zone)).date() == day:
            counted[moment.astimezone(ZoneInfo(report_zone)).date()] += 1
    return {of: Fraction(n, sum(counted.values())) for of, n in counted.items()}
