"""Days of an ad account as days of reports, and the channel that spend belongs to."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

from gtm_dagster.channels.classify import touch_of

Place = tuple[str | None, str | None, str | None, str]
"""Source, medium, campaign and channel."""


def day_shares(day: date, account_zone: str, report_zone: str) -> list[tuple[date, float]]:
    """The report days that a day of the account's time zone lies in, each with its share of the hours; shares add up to 1.

    A day that a time zone leaves out (Samoa, 2011-12-30) is the report day of its one moment.
    """
    begin, end = _begin(day, account_zone), _begin(day + timedelta(days=1), account_zone)
    zone = ZoneInfo(report_zone)
    shares: list[tuple[date, float]] = []
    at = begin
    while at < end:
        report_day = at.astimezone(zone).date()
        until = min(end, max(_begin(report_day + timedelta(days=1), report_zone), at + timedelta(minutes=1)))
        shares.append((report_day, (until - at) / (end - begin)))
        at = until
    return shares or [(begin.astimezone(zone).date(), 1.0)]


def _begin(day: date, zone: str) -> datetime:
    """The moment a day begins; where clocks skip midnight, the moment they do."""
    return datetime(day.year, day.month, day.day, tzinfo=ZoneInfo(zone)).astimezone(UTC)


def place_of(source: str | None, medium: str | None, campaign: str | None, channel: str | None) -> Place:
    """Source, medium and campaign by the names that visits have, and the channel: as given, else as a visit would have it.

    Spend without a medium is paid for by click (cpc) where a channel is asked for; its medium stays unknown.
    """
    if source is None:
        return None, None, None, channel or "Unassigned"
    touch = touch_of(source, medium or "cpc", campaign, None, None, None, ())
    return touch.source, touch.medium if medium else None, touch.campaign, channel or touch.channel
