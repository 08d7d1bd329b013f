"""Serving copies written by hand, in milliseconds, and the dashboard over them."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
from asgi_client import AsgiClient

from gtm_dagster.dashboard.page_access import PageAccess
from gtm_dagster.dashboard.pages import Pages
from gtm_dagster.dashboard.web_app import create_app
from gtm_dagster.settings import Attribution, Settings, Window
from gtm_dagster.warehouse.schema import tables

Cells = Mapping[str, Sequence[Mapping[str, Any]]]
LAST = date(2026, 11, 20)
CHANNELS = {
    "Paid Search": ("google", "cpc", "brand"),
    "Email": ("newsletter", "email", "november"),
    "Direct": ("direct", "(none)", None),
}
WINDOWS = (Window("last_touch", 24.0), Window("linear", 168.0), Window("time_decay", 168.0))
"""The results of `SMALL`; time_decay is not computed there."""


def settings_in(folder: Path, **changes: Any) -> Settings:
    return Settings(state_dir=folder, attribution=Attribution(windows=WINDOWS), **changes)


def publish(path: Path, cells: Cells, *, without: Sequence[str] = ()) -> None:
    """Put a serving copy with these rows in place, as a publisher does: written beside it, then renamed."""
    part = path.with_name(f".{path.name}.part")
    part.unlink(missing_ok=True)
    served = {
        table.name: [f"{column.name} {column.type}" for column in table.columns if column.served]
        for table in tables()
        if table.served and table.schema != "meta" and table.name not in without
    }
    schemas = [f"CREATE SCHEMA {schema}" for schema in ("core", "marts", "ops", "staging")]
    with duckdb.connect(str(part)) as con:
        made = [f"CREATE TABLE {name} ({', '.join(columns)})" for name, columns in served.items()]
        con.execute(";".join(["BEGIN", *schemas, *made]))
        for name in served:
            by_columns: dict[tuple[str, ...], list[Any]] = {}
            for row in cells.get(name, ()):
                by_columns.setdefault(tuple(row), []).extend(row.values())
            for columns, values in by_columns.items():
                marks = ", ".join([f"({', '.join('?' * len(columns))})"] * (len(values) // len(columns)))
                con.execute(f"INSERT INTO {name} ({', '.join(columns)}) VALUES {marks}", values)
        con.execute("COMMIT")
    os.replace(part, path)


def days(count: int, last: date = LAST) -> list[date]:
    return [last - timedelta(days=count - 1 - i) for i in range(count)]


def small(count: int = 60, names: Mapping[str, tuple[Any, Any, Any]] = CHANNELS) -> dict[str, list[dict[str, Any]]]:
    """Rows of 60 days: 10 visitors, 2 sign-ups, and one payment of 30 EUR a day credited to the channels in turn."""
    cells: dict[str, list[dict[str, Any]]] = {name: [] for name in ("marts.daily", "marts.channel_attribution", "marts.campaign_performance", "marts.funnel", "marts.retention", "marts.attribution_credits", "core.conversions")}  # fmt: skip
    for number, day in enumerate(days(count)):
        paid = {"conversion_type": "payment_completed", "currency": "EUR"}
        cells["marts.daily"] += [
            {"day": day, "visitors": 10, "sessions": 12, "sign_ups": 2},
            {"day": day, **paid, "conversions": 1, "value": 30.0, "unattributed": int(number % 10 == 0), "unattributed_share": 0.0},
            {"day": day, "conversion_type": "signup_completed", "conversions": 2, "unattributed": 0, "unattributed_share": 0.0},
        ]  # fmt: skip
        channel = list(names)[number % len(names)] if number % 10 else "(unattributed)"
        noon = datetime(day.year, day.month, day.day, 12, tzinfo=UTC)
        at_us = int(noon.timestamp() * 1e6)
        cells["core.conversions"].append(
            {"conversion_id": f"web:{number}", "person_id": f"person-{number}", "person_no": number, "day": day, **paid,
             "conversion_time": noon.replace(tzinfo=None), "conversion_us": at_us, "value": 30.0}
        )  # fmt: skip
        source, medium, campaign = names.get(channel, (None, None, None))
        for model, window in (("last_touch", 24.0), ("linear", 168.0)):
            cells["marts.attribution_credits"].append(
                {"conversion_id": f"web:{number}", "model": model, "window_hours": window, "channel": channel, "source": source,
                 "medium": medium, "campaign": campaign, "credit": 1.0, "value": 30.0, "net_value": 30.0, "person_no": number,
                 "person_id": f"person-{number}", "conversion_us": at_us}
            )  # fmt: skip
            spend = {"spend": 5.0, "spend_currency": "EUR", "cpa": 5.0, "roas": 6.0} if channel == "Paid Search" else {}
            earned = {"conversions": 1.0, "value": 30.0, "refunded": 0.0, "net_value": 30.0, **spend}
            result = {"day": day, **paid, "model": model, "window_hours": window, "channel": channel, **earned}
            cells["marts.channel_attribution"].append(result)
            cells["marts.campaign_performance"].append(
                {
                    **result,
                    "source": source,
                    "medium": medium,
                    "campaign": campaign,
                    "matched": "campaign" if spend else None,
                }
            )
        for stage_no, (stage, persons) in enumerate((("acquired", 10), ("signed_up", 2), ("onboarded", 1)), 1):
            cells["marts.funnel"].append(
                {"source": source, "medium": medium, "campaign": campaign, "channel": channel, "cohort_day": day,
                 "stage": stage, "stage_no": stage_no, "persons": persons}
            )  # fmt: skip
    cells["marts.attribution_status"] = [
        {
            "model": "last_touch",
            "window_hours": 24.0,
            "computed": True,
            "reason": "a single-touch model needs no history",
        },
        {"model": "linear", "window_hours": 168.0, "computed": True, "reason": "enough history"},
        {"model": "time_decay", "window_hours": 168.0, "computed": False, "reason": "12 of 30 full days of history"},
    ]
    return cells


HOSTILE = {
    '"><script>alert(1)</script>': ("=cmd|' /C calc'!A0", "'); DROP TABLE x; --", "\u202egpj.exe" + "x" * 10_000),
    "Email": ("{{ 7*7 }}", "&amp;", "\t+1+1"),
    "@SUM(A1)": (None, None, "a\x01b\r\nc"),
}


@contextmanager
def dashboard(
    settings: Settings, address: str = "127.0.0.1", environment: Mapping[str, str] | None = None
) -> Iterator[AsgiClient]:
    """A client of the whole app over a deployment."""
    pages = Pages(settings)
    try:
        app = create_app(pages, PageAccess(settings.dashboard, address, environment or {}))
        yield AsgiClient(app)
    finally:
        pages.close()
