"""The tables of a guard's further metrics and of its segments. Columns named `*_us` are microseconds UTC."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Index, Table, Text

from gtm_dagster.opsstore.ops_tables import metadata


def _text(name: str) -> Column[str]:
    return Column(name, Text, primary_key=True)


def _int(name: str, *, key: bool = False) -> Column[int]:
    return Column(name, BigInteger, primary_key=key, nullable=False, autoincrement=False)


guard_metric_events = Table(
    "guard_metric_events",
    metadata,
    _text("guard"),
    _text("metric"),
    _text("unit"),
    _int("event_us", key=True),
    _int("value", key=True),
    Index("guard_metric_events_age", "guard", "event_us"),
    Index("guard_metric_events_unit", "guard", "unit"),
    sqlite_with_rowid=False,
)

guard_metric_counts = Table(
    "guard_metric_counts",
    metadata,
    _text("guard"),
    _int("epoch", key=True),
    _text("metric"),
    _int("slot", key=True),
    _text("arm"),
    _int("age", key=True),
    _int("n"),
    sqlite_with_rowid=False,
)

guard_segments = Table(
    "guard_segments",
    metadata,
    _text("guard"),
    _int("epoch", key=True),
    _text("kind"),
    _text("segment"),
    _text("arm"),
    _int("exposed"),
    _int("converted"),
)
