"""The calendar of retention: numbers of periods, which of them hold the data, and which are not over yet."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, timedelta

FAR_DAYS = 366
_SHARE_OF_REST = 0.1
_EPOCH = date(1970, 1, 1)
_MONTHS = 12

NUMBER = {
    "day": "n",
    "week": "CAST(floor((n + 3) / 7.0) AS INTEGER)",
    "month": "CAST(year(d) * 12 + month(d) - 1 AS INTEGER)",
}
"""The number of the period that holds the day d, which is n days after 1970-01-01; weeks begin on Monday."""
START = {
    "day": "DATE '1970-01-01' + period_no",
    "week": "DATE '1970-01-01' + (7 * period_no - 3)",
    "month": "make_date(period_no // 12, period_no % 12 + 1, 1)",
}
"""The first day of a period."""


@dataclass(frozen=True)
class Span:
    """Numbers of the first and last period of the data, and of the first period that is not over."""

    first: int
    last: int
    open_from: int


def number_of(unit: str, day: date) -> int:
    """The number of the period that holds a day, as NUMBER has it."""
    days = (day - _EPOCH).days
    if unit == "month":
        return day.year * _MONTHS + day.month - 1
    return days if unit == "day" else (days + 3) // 7


def start_of(unit: str, number: int) -> date:
    """The first day of a period, as START has it."""
    if unit == "month":
        return date(number // _MONTHS, number % _MONTHS + 1, 1)
    return _EPOCH + timedelta(days=number if unit == "day" else 7 * number - 3)


def span_of(active: Iterable[tuple[date, int]], unit: str, newest: date) -> Span:
    """The periods that hold the data; `active` gives the start of each period with activity and how many were active.

    Periods more than 366 days beyond the rest are far from it, unless they hold at least a tenth of its activity: a clock
    that ran wrong makes no row but its own. `newest` is the newest day of the data; its period and those behind it are open.
    """
    runs: list[list[tuple[date, int]]] = []
    for one in sorted(active):
        if runs and (one[0] - runs[-1][-1][0]).days <= FAR_DAYS:
            runs[-1].append(one)
        else:
            runs.append([one])
    sizes = [sum(count for _, count in run) for run in runs]
    near = [run for run, size in zip(runs, sizes, strict=True) if size >= _SHARE_OF_REST * max(sizes)]
    days = [day for run in near for day, _ in run]
    return Span(number_of(unit, min(days)), number_of(unit, max(days)), number_of(unit, newest))


def newest_day(daily: Iterable[tuple[date, int]]) -> date:
    """The newest day of the data, days far from the rest aside; `daily` is events by day, of which there is one at least."""
    found = sorted(daily)
    span = span_of(found, "day", found[-1][0])
    return start_of("day", span.last)
