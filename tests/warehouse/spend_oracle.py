"""Credit beside spend, in plain Python: from the credits, the conversions and the spend of a warehouse to its two marts."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

Credit = dict[str, Any]
GRAINS = ("campaign", "campaign", "medium", "source", "channel")


class Sums:
    """Conversions, gross, net and spend of one row; None where nothing was added."""

    def __init__(self) -> None:
        self.conversions = 0.0
        self.value: float | None = None
        self.net: float | None = None
        self.spend: float | None = None

    def earn(self, credit: float, value: float | None, net: float | None) -> None:
        self.conversions += credit
        if value is not None and net is not None:
            self.value, self.net = (self.value or 0.0) + value, (self.net or 0.0) + net

    @property
    def row(self) -> tuple[float | None, ...]:
        """conversions, value, net_value, spend, cpa, roas"""
        cpa = self.spend / self.conversions if self.spend is not None and self.conversions > 0 else None
        roas = self.value / self.spend if self.spend and self.value is not None else None
        return self.conversions, self.value, self.net, self.spend, cpa, roas


def spend_currencies(conversions: Iterable[dict], spend: list[dict]) -> dict[tuple[str, str | None], str]:
    """The currency of the spend that a conversion type in a currency stands beside."""
    currencies = {row["currency"] for row in spend}
    known: dict[str, set[str]] = defaultdict(set)
    for row in conversions:
        known[row["conversion_type"]] |= {row["currency"]} - {None}
    found: dict[tuple[str, str | None], str] = {}
    for kind, of_type in known.items():
        for currency in currencies:
            if of_type:
                found[kind, currency] = currency
            elif len(currencies) == 1:
                found[kind, None] = currency
    return found


def by_channel(
    credits: list[Credit], conversions: list[dict], spend: list[dict], results: list[tuple]
) -> dict[tuple, tuple]:
    """Rows of marts.channel_attribution by (day, type, currency, model, window_hours, channel)."""
    found: dict[tuple, Sums] = defaultdict(Sums)
    of = {row["conversion_id"]: row for row in conversions}
    for credit in credits:
        c = of[credit["conversion_id"]]
        key = (
            c["day"],
            c["conversion_type"],
            c["currency"],
            credit["model"],
            credit["window_hours"],
            credit["channel"],
        )
        found[key].earn(credit["credit"], credit["value"], credit["net_value"])
    for (kind, currency), spent in spend_currencies(conversions, spend).items():
        for row in spend:
            for result in results if row["currency"] == spent else ():
                sums = found[row["day"], kind, currency, *result, row["channel"]]
                sums.spend = (sums.spend or 0.0) + row["cost"]
    return {key: sums.row for key, sums in found.items()}


def belongs(place: tuple, key: tuple) -> int | None:
    """How finely a visit's (source, medium, campaign, channel) belongs to a key of spend; 0 is the finest."""
    source, medium, campaign, channel = key
    if source is None:
        return 4 if place[3] == channel else None
    if place[0] != source or (medium is not None and place[1] != medium):
        return None
    if campaign is not None:
        return None if place[2] != campaign else 0 if medium is not None else 1
    if medium is not None:
        return 2
    return 3 if place[3] == channel else None


def by_campaign(
    credits: list[Credit], conversions: list[dict], spend: list[dict], results: list[tuple], sources: list[tuple]
) -> dict[tuple, tuple]:
    """Rows of marts.campaign_performance by (day, type, currency, model, window_hours, source, medium, campaign, channel, matched)."""
    found: dict[tuple, Sums] = defaultdict(Sums)
    of = {row["conversion_id"]: row for row in conversions}
    currencies = spend_currencies(conversions, spend)
    names = ("source", "medium", "campaign", "channel")
    keys = {(tuple(row[name] for name in names), row["currency"]) for row in spend}
    for credit in credits:
        c = of[credit["conversion_id"]]
        place = tuple(credit[name] for name in names)
        spent = currencies.get((c["conversion_type"], c["currency"]))
        fits = [
            (grain, key[3], key)
            for key, currency in keys
            if currency == spent and (grain := belongs(place, key)) is not None and place in sources
        ]
        grain, _, row_place = min(fits) if fits else (None, None, place)
        matched = None if grain is None else GRAINS[grain]
        head = (c["day"], c["conversion_type"], c["currency"], credit["model"], credit["window_hours"])
        found[*head, *row_place, matched].earn(credit["credit"], credit["value"], credit["net_value"])
    for (kind, currency), spent in currencies.items():
        for row in spend:
            key = tuple(row[name] for name in names)
            grains = [grain for place in sources if (grain := belongs(place, key)) is not None]
            matched = GRAINS[min(grains)] if grains else "(unmatched)"
            for result in results if row["currency"] == spent else ():
                sums = found[row["day"], kind, currency, *result, *key, matched]
                sums.spend = (sums.spend or 0.0) + row["cost"]
    return {key: sums.row for key, sums in found.items()}
