"""Local hours as moments: quiet hours that are exact where clocks move, and the zone a person lives in."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from functools import cache
from importlib import resources
from zoneinfo import ZoneInfo, available_timezones

from gtm_dagster.triggers.compiled_rule import QuietHours

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def instant_us(day: date, clock: time, zone: ZoneInfo) -> int:
    """Microseconds UTC at which the clocks of `zone` show `clock` on `day`.

    A time they skip is the first moment after the gap; of one they show twice the first.
    """
    local = datetime.combine(day, clock, tzinfo=zone)
    moment = local.astimezone(UTC)
    if moment.astimezone(zone).replace(tzinfo=None) != local.replace(tzinfo=None):
        moment = _end_of_gap(local.replace(fold=1).astimezone(UTC), moment, zone)
    return (moment - _EPOCH) // _MICROSECOND


def _end_of_gap(before: datetime, after: datetime, zone: ZoneInfo) -> datetime:
    """The moment of the one change of offset in (before, after], by bisection to the second."""
    offset = after.astimezone(zone).utcoffset()
    while after - before > timedelta(seconds=1):
        middle = before + timedelta(seconds=(after - before) // timedelta(seconds=2))
        if middle.astimezone(zone).utcoffset() == offset:
            after = middle
        else:
            before = middle
    return after


def quiet_until(now_us: int, quiet: QuietHours, zone: ZoneInfo) -> int | None:
    """The end of the quiet window [from, to) that `now_us` lies in; None outside. Adjoining windows are one."""
    until: int | None = None
    while end := _window_end(now_us if until is None else until, quiet, zone):
        until = end
    return until


def _window_end(now_us: int, quiet: QuietHours, zone: ZoneInfo) -> int | None:
    today = (_EPOCH + now_us * _MICROSECOND).astimezone(zone).date()
    for day in (today - timedelta(days=1), today):
        if day.weekday() not in quiet.days:
            continue
        last = day if quiet.begin < quiet.end else day + timedelta(days=1)
        if instant_us(day, quiet.begin, zone) <= now_us < (end := instant_us(last, quiet.end, zone)):
            return end
    return None


def zone_of(quiet: QuietHours, timezone: str | None, country: str | None) -> ZoneInfo | None:
    """The zone in which `quiet` is read for a person whose last event said `timezone` and `country`; None when nothing says.

    In this order: the rule's zone, the person's, that of a country with one, the rule's default.
    """
    for name in (quiet.zone, timezone, _only_zone().get(country or ""), quiet.default_zone):
        if name is not None and is_zone(name):
            return ZoneInfo(name)
    return None


@cache
def _zones() -> frozenset[str]:
    return frozenset(available_timezones())


def is_zone(name: str) -> bool:
    """Whether `name` is a time zone of the IANA list."""
    return name in _zones()


def zone_names() -> list[str]:
    """The names of the IANA list."""
    return sorted(_zones())


@cache
def _only_zone() -> dict[str, str]:
    """The zone of each country (ISO 3166) that has one, from the list of the tzdata package; empty without it."""
    try:
        text = (resources.files("tzdata.zoneinfo") / "zone.tab").read_text("utf-8")
    except (ModuleNotFoundError, FileNotFoundError):
        return {}
    found: dict[str, set[str]] = {}
    for line in text.splitlines():
        if line and not line.startswith("#"):
            country, _, zone = line.split("\t")[:3]
            found.setdefault(country, set()).add(zone)
    return {country: next(iter(zones)) for country, zones in found.items() if len(zones) == 1}
