"""A small shop whose channels are known: search opens, direct and mail close, one channel is rare, some is not attributed."""

from __future__ import annotations

import json

from warehouse_cases import DAY, MINUTE, START, event, land, refresh, settings_for

from gtm_dagster.settings import Settings

FIRST, LAST = "2026-01-01", "2026-02-09"
"""Days of the traffic, UTC."""
PERSONS = 160


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
        event_name="payment_completed", properties=json.dumps({"amount": amount, "currency": currency}), device_type="api",
    )  # fmt: skip


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
    return rows


def deployment(folder, **environ: str) -> Settings:  # type: ignore[no-untyped-def]
    """The shop in a warehouse of its own, refreshed."""
    windows = [{"model": name, "lookback_hours": 480} for name in ("first_touch", "last_touch", "linear")]
    settings = settings_for(folder, GTM_ATTRIBUTION__WINDOWS=json.dumps(windows), **environ)
    land(settings, shop(), "import-1")
    refresh(settings)
    return settings
