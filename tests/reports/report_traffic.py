"""A small shop whose channels are known: search opens, direct and mail close, one channel is rare, some is not attributed.

One payment is given back; ads cost money in two channels, one of which brought nobody.
"""

from __future__ import annotations

import json
from datetime import date, timedelta

import pyarrow as pa
from warehouse_cases import DAY, MINUTE, START, event, land, refresh, settings_for

from gtm_dagster.importing.spend import SPEND_SCHEMA
from gtm_dagster.settings import Settings
from gtm_dagster.warehouse.landing.landed_spend import SpendLanding

FIRST, LAST = "2026-01-01", "2026-02-09"
"""Days of the traffic, UTC."""
PERSONS = 160
WINDOWS = json.dumps(
    [{"model": name, "lookback_hours": 480} for name in ("first_touch", "last_touch", "linear", "markov", "shapley")]
)


def visit(person: int, day: float, source: str | None, medium: str | None = None, campaign: str | None = None) -> dict:
    """A page view that begins a session."""
    return event(
        f"v{person}-{day}", START + int(day * DAY) + person * MINUTE, anonymous_id=f"a{person}", source=source, medium=medium,
        campaign=campaign, session_id=f"s{person}-{day}",
    )  # fmt: skip


def payment(person: int, day: float, amount: float, currency: str) -> dict:
    """A payment told by a server, two minutes after a visit of the same day."""
    return event(
        f"p{person}-{day}", START + int(day * DAY) + (person + 2) * MINUTE, anonymous_id=f"a{person}",
        event_name="payment_completed", device_type="api",
        properties=json.dumps({"amount": amount, "currency": currency, "payment_id": f"p{person}-{day}"}),
    )  # fmt: skip


def refund(person: int, day: float, of: str, amount: float) -> dict:
    """Money given back of a payment."""
    properties = {"amount": amount, "currency": "EUR", "payment_id": of}
    row = event(f"r{person}-{day}", START + int(day * DAY), anonymous_id=f"a{person}", device_type="api")
    return {**row, "event_name": "payment_refunded", "properties": json.dumps(properties)}


def spend() -> list[dict]:
    """Ten days of search at 10 EUR, and one day of display at 50 EUR that brought nobody."""
    empty = dict.fromkeys(SPEND_SCHEMA.names)
    search = [
        {**empty, "write_key": "ads", "day": date(2026, 1, 10) + timedelta(days=i), "source": "google", "medium": "cpc",
         "campaign": "c0", "currency": "EUR", "cost": 10.0, "clicks": 5}
        for i in range(10)
    ]  # fmt: skip
    display = {
        **empty,
        "write_key": "ads",
        "day": date(2026, 1, 12),
        "channel": "Display",
        "currency": "EUR",
        "cost": 50.0,
    }
    return [{**row, "row_no": i} for i, row in enumerate([*search, display])]


def shop() -> list[dict]:
    """Search opens everybody's path; Direct or mail closes it after ten days; three came by a rare channel, two by nobody."""
    rows = []
    for person in range(PERSONS):
        start = person % 30
        rows += [
            visit(person, start, "google", "cpc", f"c{person % 3}"),
            visit(person, start + 9, "newsletter", "email") if person % 4 == 0 else visit(person, start + 9, None),
            payment(person, start + 9, 20.0 + person % 7, "USD" if person % 10 == 0 else "EUR"),
        ]
    for person in range(PERSONS, PERSONS + 3):
        rows += [visit(person, 12, "partner", "affiliate"), payment(person, 12, 99.0, "EUR")]
    rows += [payment(person, 15, 10.0, "EUR") for person in (PERSONS + 3, PERSONS + 4)]
    rows.append(refund(1, 20, "p1-10", 21.0))
    return rows


def deployment(folder, **environ: str) -> Settings:  # type: ignore[no-untyped-def]
    """The shop in a warehouse of its own, refreshed."""
    settings = settings_for(folder, GTM_ATTRIBUTION__WINDOWS=WINDOWS, **environ)
    land(settings, shop(), "import-1")
    table = pa.Table.from_pylist(spend(), schema=SPEND_SCHEMA)
    SpendLanding(settings.landing_dir).write(table, "spend-1", file="spend.csv", write_key="ads")
    refresh(settings)
    return settings
