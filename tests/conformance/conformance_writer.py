"""Landing rows of the traffic, one by one: the clock it starts at, what events carry, where people come from."""

from __future__ import annotations

import json

MINUTE = 60_000_000
HOUR = 60 * MINUTE
DAY = 24 * HOUR
START = 1_774_483_200_000_000  # 2026-03-26T00:00:00Z, three days before clocks change in Berlin
PROPERTIES: dict[str, dict] = {
    "payment_completed": {"amount": 10.1, "currency": "USD"},
    "payment_refunded": {"amount": 3.3, "currency": "EUR", "payment_id": "p0"},
    "signup_completed": {},
    "page_viewed": {},
    "onboarding_completed": {},
    "first_value_reached": {},
    "feature_used": {"feature": "board"},
    "user_identified": {"alias_of": "u7"},
}
SOURCES = [
    None, None, None, None,
    ("google", "cpc", "brand"), ("google", "cpc", "spring"), ("facebook", "paid_social", "spring"),
    ("newsletter", "email", None), ("direct", None, None),
]  # fmt: skip


class Writer:
    """Collects landing rows, numbering their ids."""

    def __init__(self, plan_version: str, received_us: int) -> None:
        self.rows: list[dict] = []
        self.plan_version = plan_version
        self.received_us = received_us

    def add(self, event_us: int, *, name: str = "page_viewed", touch: tuple | None = None, **columns: object) -> dict:
        """One accepted event; `touch` is (source, medium, campaign)."""
        source, medium, campaign = touch or (None, None, None)
        row = {
            "write_key": "w", "event_id": f"{self.received_us % 97}-{len(self.rows)}", "event_name": name,
            "event_us": event_us, "received_us": self.received_us, "properties": json.dumps(PROPERTIES[name]),
            "device_type": "web", "plan_version": self.plan_version, "verdict": "accepted", "origin": "import",
            "source": source, "medium": medium, "campaign": campaign, **columns,
        }  # fmt: skip
        self.rows.append(row)
        return row
