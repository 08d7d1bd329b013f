"""The table a marketing mix model reads: spend and sessions by day and channel, outcomes by day; long, a row a figure.

Such a model explains the outcomes of a day by what was spent, so outcomes are totals of the day, whichever touch went
before: their channel is `(all)`. The model itself is not here: pymc-marketing, Meridian and Robyn fit it.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from datetime import date, datetime, timedelta
from datetime import time as day_time
from zoneinfo import ZoneInfo

import duckdb

from gtm_dagster.warehouse.figures.period import Period
from gtm_dagster.warehouse.literals import literal

ALL = "(all)"
COLUMNS = {
    "day": "Day in the report time zone",
    "channel": "Channel of sessions and spend; (all) for outcomes",
    "variable": "spend, impressions, clicks, sessions, conversions, value (gross) or net_value (refunds taken off)",
    "conversion_type": "Of an outcome; NULL for what goes in",
    "currency": "ISO 4217 of spend, value and net_value, and of conversions that have one; figures of two are never added",
    "amount": "The figure; 0 where nothing happened, NULL where nothing is known",
}
"""Columns of the table and what they mean."""
Row = tuple[date, str, str, str | None, str | None, float | None]
_SPEND = """SELECT day, channel, currency, sum(cost), sum(impressions), sum(clicks) FROM core.spend
WHERE day BETWEEN ? AND ? GROUP BY ALL"""
_SESSIONS = """SELECT CAST($local AS DATE) AS day, channel, count(*) FROM core.sessions
WHERE start_us >= ? AND start_us < ? GROUP BY ALL"""
_OUTCOMES = """SELECT day, conversion_type, currency, count(*), sum(value), sum(net_value) FROM core.conversions
WHERE day BETWEEN ? AND ? GROUP BY ALL"""
_KNOWN = """SELECT min(day), max(day) FROM (
  SELECT min(CAST($local AS DATE)) AS day FROM core.sessions UNION ALL SELECT max(CAST($local AS DATE)) FROM core.sessions
  UNION ALL SELECT min(day) FROM core.conversions UNION ALL SELECT max(day) FROM core.conversions)"""


def mmm_table(con: duckdb.DuckDBPyConnection, period: Period, zone: str) -> list[Row]:
    """Every day of the period with every channel, currency and type that occurs in it, by variable, channel and day.

    Sessions and outcomes are NULL on days before the first and after the last event. Spend is NULL on a day of which no
    import tells the channel's.
    """
    ends = (period.since, period.until)
    local = "session_start" if zone == "UTC" else f"timezone({literal(zone)}, timezone('UTC', session_start))"
    known = con.execute(_KNOWN.replace("$local", local)).fetchall()[0]
    days = [period.since + timedelta(days=i) for i in range(period.days)]
    bounds = [
        int(datetime.combine(day, day_time(), ZoneInfo(zone)).timestamp() * 1e6)
        for day in (period.since, period.until + timedelta(days=1))
    ]
    spend = con.execute(_SPEND, ends).fetchall()
    sessions = {
        (day, channel): n for day, channel, n in con.execute(_SESSIONS.replace("$local", local), bounds).fetchall()
    }
    outcomes = {tuple(row[:3]): row[3:] for row in con.execute(_OUTCOMES, ends).fetchall()}

    def seen(day: date) -> bool:
        return known[0] is not None and known[0] <= day <= known[1]

    rows: list[Row] = []
    for place, variable in ((3, "spend"), (4, "impressions"), (5, "clicks")):
        known_amounts = {(row[0], row[1], row[2]): row[place] for row in spend if row[place] is not None}
        keys = sorted({(channel, currency if variable == "spend" else None) for _, channel, currency in known_amounts})
        amounts: dict[tuple[date, str, str | None], float] = {}
        for (day, channel, currency), amount in known_amounts.items():
            key = (day, channel, currency if variable == "spend" else None)
            amounts[key] = amounts.get(key, 0.0) + amount
        rows += [
            (day, channel, variable, None, currency, amounts.get((day, channel, currency)))
            for channel, currency in keys
            for day in days
        ]
    for channel in sorted({channel for _, channel in sessions} | {row[1] for row in spend}):
        rows += [
            (day, channel, "sessions", None, None, float(sessions.get((day, channel), 0)) if seen(day) else None)
            for day in days
        ]
    for kind, currency in sorted({key[1:] for key in outcomes}, key=lambda key: (key[0], key[1] or "")):
        for place, variable in enumerate(("conversions", "value", "net_value")):
            if currency is None and variable != "conversions":
                continue
            for day in days:
                amount = outcomes.get((day, kind, currency), (0, 0.0, 0.0))[place]
                rows.append((day, ALL, variable, kind, currency, float(amount or 0.0) if seen(day) else None))
    return rows


def as_csv(rows: Sequence[Row]) -> bytes:
    """The table as CSV with a header line; NULL is an empty cell."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows(rows)
    return text.getvalue().encode()


def as_parquet(rows: Sequence[Row]) -> bytes:
    """The table as Parquet; each column carries its meaning."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    types = {"day": pa.date32(), "amount": pa.float64()}
    schema = pa.schema(
        [pa.field(name, types.get(name, pa.string()), metadata={"meaning": text}) for name, text in COLUMNS.items()]
    )
    columns = list(zip(*rows, strict=True)) if rows else [()] * len(COLUMNS)
    buffer = io.BytesIO()
    pq.write_table(
        pa.table([pa.array(column, field.type) for column, field in zip(columns, schema, strict=True)], schema=schema),
        buffer,
    )
    return buffer.getvalue()
