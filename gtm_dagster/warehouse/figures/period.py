"""A period of whole days, as every report and picture counts it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

_FIRST_YEAR = 1970
_BACK = re.compile(r"([1-9][0-9]{0,4})([dw])")


class PeriodError(ValueError):
    """A period that cannot be read; the message says what is allowed."""


@dataclass(frozen=True)
class Period:
    """Days `since` to `until` in the report time zone, both included."""

    since: date
    until: date

    @property
    def days(self) -> int:
        """How many days it has."""
        return (self.until - self.since).days + 1

    @property
    def before(self) -> Period:
        """The same number of days just before it."""
        return Period(self.since - timedelta(days=self.days), self.since - timedelta(days=1))

    def __str__(self) -> str:
        return f"{self.since} to {self.until}"


def today_in(zone: str) -> date:
    """Today in a time zone."""
    return datetime.now(ZoneInfo(zone)).date()


def period_of(since: str, until: str | None, today: date) -> Period:
    """The period of `30d` (days), `4w` (weeks) or a day such as 2026-11-01, up to `until` (a day; None: today).

    30d are 30 days with today among them. Raises PeriodError.
    """
    last = today if until is None else _day(until, "until")
    back = _BACK.fullmatch(since.strip())
    if back:
        days = int(back[1]) * (7 if back[2] == "w" else 1)
        first = date.fromordinal(max(last.toordinal() - days + 1, 1))
    else:
        first = _day(since, "since")
    if first > last:
        raise PeriodError(f"since: {first} lies after {last}, the last day of the report")
    if first.year < _FIRST_YEAR:
        raise PeriodError(f"since: {first} lies before {_FIRST_YEAR}")
    return Period(first, last)


def _day(text: str, name: str) -> date:
    try:
        return date.fromisoformat(text.strip())
    except ValueError:
        raise PeriodError(f"{name}: {text!r} is no day; write 2026-11-01, 30d or 4w") from None
