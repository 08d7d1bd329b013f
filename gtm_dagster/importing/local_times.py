"""Local times of a zone as UTC, whole columns at once."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import cache
from zoneinfo import ZoneInfo

import numpy as np

_FIRST_YEAR, _LAST_YEAR = 1989, 2102
"""Events lie well between these years; a time outside is refused whatever its zone, so it is taken for UTC."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SECOND = timedelta(seconds=1)
_DAY = 86_400


def local_to_utc(local_us: np.ndarray, zone: str) -> np.ndarray:
    """Microseconds UTC of local microseconds (int64) of `zone`.

    A local time that occurs twice, because clocks go back, is the first of both. One that clocks skip is the first moment
    after the gap, whatever its size.
    """
    years = local_us.astype("datetime64[us]").astype("datetime64[Y]").astype(np.int64) + 1970
    known = (years > _FIRST_YEAR) & (years < _LAST_YEAR)
    if not known.any():
        return local_us
    changes: list[tuple[int, int]] = []
    for year in range(int(years[known].min()) - 1, int(years[known].max()) + 2):
        changes += _changes(zone, year)
    first = _offset(ZoneInfo(zone), _start(int(years[known].min()) - 1))
    before = np.array([first, *(offset for _, offset in changes)], dtype=np.int64) * 1_000_000
    at = np.array([moment for moment, _ in changes], dtype=np.int64) * 1_000_000
    passed = np.searchsorted(at + before[:-1], local_us, side="right")
    utc = local_us - before[passed]
    if len(at):
        utc = np.where(passed > 0, np.maximum(utc, at[np.maximum(passed - 1, 0)]), utc)
    return np.where(known, utc, local_us)


@cache
def _changes(zone: str, year: int) -> tuple[tuple[int, int], ...]:
    """(second UTC, new offset in seconds) of every change of the offset in `year`, to the second.

    Two changes within one day would hide each other; the nearest two of any zone are a week apart.
    """
    rules = ZoneInfo(zone)
    found = []
    start, end = _start(year), _start(year + 1)
    offset = _offset(rules, start)
    for day in range(start, end, _DAY):
        later = _offset(rules, min(day + _DAY, end))
        if later != offset:
            low, high = day, min(day + _DAY, end)
            while high - low > 1:
                middle = (low + high) // 2
                low, high = (middle, high) if _offset(rules, middle) == offset else (low, middle)
            found.append((high, later))
            offset = later
    return tuple(found)


def _start(year: int) -> int:
    return (datetime(year, 1, 1, tzinfo=UTC) - _EPOCH) // _SECOND


def _offset(rules: ZoneInfo, second: int) -> int:
    ahead = (_EPOCH + timedelta(seconds=second)).astimezone(rules).utcoffset()
    return ahead // _SECOND if ahead is not None else 0
