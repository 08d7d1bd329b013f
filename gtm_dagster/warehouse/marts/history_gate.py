"""Whether there is enough history for multi-touch models: full days of consistent volume, each beside its own weekday."""

from __future__ import annotations

from datetime import date, timedelta
from statistics import median

CONSISTENT_SHARE = 0.2
_FAR_DAYS = 7
_COMPARED_DAYS = 28
_WEEK = 7
_EPOCH = date(1970, 1, 1)
_TWICE = 2

Daily = dict[int, int]
"""Events by day, as the number of the day from 1970-01-01."""


def history_verdict(daily: list[tuple[int, int]], min_days: int) -> tuple[bool, str]:
    """Whether there are `min_days` days of consistent volume; `daily` is (day number, events) for days with events.

    Each of the last `min_days` full days (the newest day with events is not full) has to hold at least 20 % of the median
    of its own weekday over the last `max(min_days, 28)` full days, so that a quiet Sunday is compared with Sundays. A
    weekday that comes once is compared with the median of all days. A weekday on which nothing happens is quiet, not
    thin; seven days in a row without an event are thin. Days far from the rest (`without_far_days`) are no history.
    """
    if min_days <= 0:
        return True, "the history gate is off (attribution.min_history_days = 0)"
    if not daily:
        return False, f"no events yet; {min_days} days of consistent volume are needed"
    volume = without_far_days(dict(daily))
    oldest, newest = min(volume), max(volume)
    full_days = newest - oldest
    if full_days < min_days:
        return (
            False,
            f"{full_days} full day{'' if full_days == 1 else 's'} of history; {min_days} days of consistent volume are needed (attribution.min_history_days)",
        )
    compared = range(max(oldest, newest - max(min_days, _COMPARED_DAYS)), newest)
    usual = {day: _usual(volume, compared, day) for day in range(newest - min_days, newest)}
    thin = [day for day, of_day in usual.items() if _is_thin(volume, day, of_day)]
    if thin:
        first = thin[0]
        return (
            False,
            f"{_words(first)} holds {volume.get(first, 0)} events, usual are {usual[first]:g}: {len(thin)} of the last "
            f"{min_days} full days hold less than {CONSISTENT_SHARE:.0%} of the median of their weekday (attribution.min_history_days)",
        )
    middle = median(volume.get(day, 0) for day in range(newest - min_days, newest))
    return True, f"the last {min_days} full days hold consistent volume (median {middle:g} events a day)"


def without_far_days(volume: Daily) -> Daily:
    """The days without those that lie more than 7 days from the rest and hold at most 20 % of a usual day each.

    The rest is the run of days, without 7 days between, that has the most events; a usual day is its median.
    """
    runs = runs_of(volume, _FAR_DAYS)
    rest = max(runs, key=lambda run: (sum(volume[day] for day in run), run[-1]))
    most = CONSISTENT_SHARE * median(volume[day] for day in rest)
    return {day: volume[day] for run in runs if run is rest or any(volume[d] > most for d in run) for day in run}


def runs_of(days: Daily, gap_days: int) -> list[list[int]]:
    """The days in order, cut where the next lies more than `gap_days` behind."""
    runs: list[list[int]] = []
    for day in sorted(days):
        if runs and day - runs[-1][-1] <= gap_days:
            runs[-1].append(day)
        else:
            runs.append([day])
    return runs


def _usual(volume: Daily, compared: range, day: int) -> float:
    alike = [volume.get(other, 0) for other in compared if (other - day) % _WEEK == 0]
    if len(alike) < _TWICE:
        alike = [volume.get(other, 0) for other in compared]
        return max(median(alike), 1)  # a day without events is thin where nothing like it is known
    return median(alike)


def _is_thin(volume: Daily, day: int, usual: float) -> bool:
    if volume.get(day, 0) < CONSISTENT_SHARE * usual:
        return True
    return not any(volume.get(day - back, 0) for back in range(_WEEK))


def _words(day: int) -> str:
    return f"{_EPOCH + timedelta(days=day):%A %Y-%m-%d}"
