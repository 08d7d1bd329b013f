"""Quiet hours in local time, where clocks move, and whose zone counts."""

from __future__ import annotations

from datetime import UTC, date, datetime, time
from zoneinfo import ZoneInfo

import pytest

from gtm_dagster.triggers.compiled_rule import QuietHours
from gtm_dagster.triggers.local_time import instant_us, quiet_until, zone_of

EVERY_DAY = frozenset(range(7))


def utc(text: str) -> int:
    return round(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * 1_000_000


def quiet(begin: str, end: str, days: frozenset[int] = EVERY_DAY, zone: str | None = None) -> QuietHours:
    return QuietHours(time.fromisoformat(begin), time.fromisoformat(end), zone, "Europe/Berlin", days, 10**12)


@pytest.mark.parametrize(
    ("zone", "day", "clock", "expected"),
    [
        pytest.param("America/New_York", date(2026, 3, 8), "09:00", "2026-03-08T13:00", id="after the clocks moved that night"),
        pytest.param("America/New_York", date(2026, 3, 8), "02:30", "2026-03-08T07:00", id="in the gap: its end"),
        pytest.param("America/New_York", date(2026, 11, 1), "01:30", "2026-11-01T05:30", id="shown twice: the first"),
        pytest.param("Australia/Lord_Howe", date(2026, 10, 4), "02:15", "2026-10-03T15:30", id="a gap of half an hour"),
        pytest.param("Pacific/Apia", date(2011, 12, 30), "10:00", "2011-12-30T10:00", id="a day that never was"),
        pytest.param("Africa/Cairo", date(2026, 4, 24), "00:00", "2026-04-23T22:00", id="a gap at midnight"),
    ],
)  # fmt: skip
def test_a_local_time_is_a_moment(zone: str, day: date, clock: str, expected: str) -> None:
    assert instant_us(day, time.fromisoformat(clock), ZoneInfo(zone)) == utc(expected)


BERLIN = "Europe/Berlin"


@pytest.mark.parametrize(
    ("hours", "zone", "now", "until"),
    [
        pytest.param(quiet("21:00", "08:00"), BERLIN, "2026-12-02T20:17", "2026-12-03T07:00", id="over midnight"),
        pytest.param(quiet("21:00", "08:00"), BERLIN, "2026-12-02T20:00", "2026-12-03T07:00", id="at its begin"),
        pytest.param(quiet("21:00", "08:00"), BERLIN, "2026-12-03T07:00", None, id="at its end it is over"),
        pytest.param(quiet("21:00", "08:00"), BERLIN, "2026-12-02T19:59", None, id="before"),
        pytest.param(quiet("12:00", "13:00"), BERLIN, "2026-12-02T11:30", "2026-12-02T12:00", id="within a day"),
        pytest.param(quiet("21:00", "08:00"), BERLIN, "2026-03-28T20:30", "2026-03-29T06:00", id="the night is an hour shorter"),
        pytest.param(quiet("21:00", "08:00"), BERLIN, "2026-10-24T19:30", "2026-10-25T07:00", id="the night is an hour longer"),
        pytest.param(quiet("22:00", "06:00", frozenset({5})), BERLIN, "2026-12-06T02:00", "2026-12-06T05:00",
                     id="Sunday 03:00 belongs to Saturday's window"),
        pytest.param(quiet("22:00", "06:00", frozenset({5})), BERLIN, "2026-12-05T02:00", None, id="Saturday 03:00 belongs to Friday's"),
        pytest.param(quiet("00:00", "23:00", frozenset({4})), "Asia/Tokyo", "2026-12-03T15:30", "2026-12-04T14:00",
                     id="the weekday is that of the local date"),
    ],
)  # fmt: skip
def test_quiet_hours(hours: QuietHours, zone: str, now: str, until: str | None) -> None:
    assert quiet_until(utc(now), hours, ZoneInfo(zone)) == (until and utc(until))


@pytest.mark.parametrize(
    ("hours", "timezone", "country", "expected"),
    [
        (quiet("21:00", "08:00", zone="Asia/Tokyo"), "Europe/Paris", "FR", "Asia/Tokyo"),
        (quiet("21:00", "08:00"), "Europe/Paris", "JP", "Europe/Paris"),
        (quiet("21:00", "08:00"), "nowhere", "JP", "Asia/Tokyo"),
        (quiet("21:00", "08:00"), None, "US", "Europe/Berlin"),
        (quiet("21:00", "08:00"), None, None, "Europe/Berlin"),
    ],
    ids=["the rule's", "the person's", "a country with one zone", "a country with many: the default", "nothing known"],
)
def test_whose_zone_counts(hours: QuietHours, timezone: str | None, country: str | None, expected: str) -> None:
    assert zone_of(hours, timezone, country) == ZoneInfo(expected)
