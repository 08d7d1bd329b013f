"""The history gate: days are compared with their own weekday, and days far from the rest are no history."""

from __future__ import annotations

import random
from statistics import median

import pytest

from gtm_dagster.warehouse.marts.history_gate import history_verdict

MONDAY = 4  # 1970-01-05
EVERY_DAY = dict.fromkeys(range(31), 100)
BUSINESS = {MONDAY + day: 100 if day % 7 < 5 else 15 for day in range(31)}
CLOSED = {MONDAY + day: 100 for day in range(31) if day % 7 < 5}


@pytest.mark.parametrize(
    ("daily", "ready", "words"),
    [
        pytest.param({}, False, "no events yet", id="empty"),
        pytest.param(EVERY_DAY, True, "30 full days", id="30 full days and a day begun"),
        pytest.param(dict.fromkeys(range(30), 100), False, "29 full days of history", id="a day short"),
        pytest.param(EVERY_DAY | {12: 0}, False, "Tuesday 1970-01-13 holds 0 events, usual are 100: 1 of the last 30 full days", id="a day without events"),
        pytest.param(EVERY_DAY | {7: 19}, False, "1 of the last 30", id="a day below a fifth of its weekday"),
        pytest.param(EVERY_DAY | {7: 20}, True, "consistent", id="a fifth is enough"),
        pytest.param(EVERY_DAY | {9: 1, 7: 1}, False, "Thursday 1970-01-08 holds 1 events", id="the first thin day is named"),
        pytest.param(BUSINESS, True, "consistent", id="quiet weekends are compared with weekends"),
        pytest.param(BUSINESS | {MONDAY + 5: 2}, False, "Saturday 1970-01-10 holds 2 events, usual are 15", id="a weekend below its own fifth"),
        pytest.param(CLOSED, True, "consistent", id="nothing happens on weekends"),
        pytest.param({d: n for d, n in BUSINESS.items() if not 8 <= d - MONDAY < 15} | {MONDAY - d: 100 for d in range(1, 40)}, False, "7 of the last 30", id="a week without events"),
        pytest.param(EVERY_DAY | {-400: 3}, True, "consistent", id="one day a year before is no history"),
        pytest.param(EVERY_DAY | {400: 3}, True, "consistent", id="one day a year behind closes nothing"),
        pytest.param(EVERY_DAY | {38: 20}, True, "consistent", id="eight days behind and a fifth of a day"),
        pytest.param(EVERY_DAY | {38: 21}, False, "7 of the last 30", id="eight days behind and more than a fifth"),
        pytest.param(EVERY_DAY | {37: 3}, False, "6 of the last 30", id="seven days behind is not far"),
        pytest.param(dict.fromkeys(range(-700, 31, 100), 3), False, "full days", id="all days are far from each other"),
    ],
)  # fmt: skip
def test_history_gate(daily: dict[int, int], ready: bool, words: str) -> None:
    verdict, reason = history_verdict(list(daily.items()), 30)
    assert words in reason
    assert verdict is ready


@pytest.mark.parametrize(
    ("days", "needed", "ready"),
    [
        pytest.param([100, 0, 100, 100], 3, False, id="less than a week: a day beside all days"),
        pytest.param([100, 90, 80, 1], 3, True, id="less than a week"),
        pytest.param([100] * 5 + [1, 1] + [100] * 5 + [1, 1] + [5], 14, True, id="two weeks: each beside its weekday"),
        pytest.param([100] * 20, 0, True, id="off"),
    ],
)
def test_a_short_gate(days: list[int], needed: int, ready: bool) -> None:
    assert history_verdict(list(enumerate(days)), needed)[0] is ready


def ready_by_definition(daily: dict[int, int], needed: int) -> bool:
    """The same by the words of the definition, day by day, with nothing of the product."""
    if needed <= 0:
        return True
    clusters: list[dict[int, int]] = []
    for day in range(min(daily), max(daily) + 1) if daily else ():
        if day in daily:
            if not clusters or max(clusters[-1]) < day - 7:
                clusters.append({})
            clusters[-1][day] = daily[day]
    if not clusters:
        return False
    best = clusters[0]
    for one in clusters[1:]:
        if sum(one.values()) >= sum(best.values()):
            best = one
    usual = median(best.values())
    history: dict[int, int] = {}
    for one in clusters:
        if one is best or max(one.values()) > usual / 5:
            history.update(one)
    first, last = min(history), max(history)
    if last - first < needed:
        return False
    window = [day for day in range(last - max(needed, 28), last) if day >= first]
    for day in range(last - needed, last):
        number = history.get(day, 0)
        like = [history.get(other, 0) for other in window if other % 7 == day % 7]
        if len(like) == 1:
            if number == 0 or number * 5 < median([history.get(other, 0) for other in window]):
                return False
        elif number * 5 < median(like):
            return False
        if all(history.get(other, 0) == 0 for other in range(day - 6, day + 1)):
            return False
    return True


def series(rng: random.Random) -> dict[int, int]:
    """A random history: a weekly shape, noise, holes, stretches without events, stray days."""
    start, length = rng.randrange(-50, 50), rng.randrange(1, 90)
    shape = [rng.choice((100, 100, 100, 40, 10, 0)) for _ in range(7)]
    daily = {}
    for day in range(start, start + length):
        events = round(shape[day % 7] * rng.uniform(0.7, 1.3))
        if rng.random() < rng.choice((0, 0, 0.02)):
            events = rng.choice((0, 1, 19, 20, 21, 300))
        if events:
            daily[day] = events
    if rng.random() < 0.3:
        hole = rng.randrange(start, start + length)
        daily = {day: n for day, n in daily.items() if not hole <= day < hole + rng.choice((1, 6, 7, 8, 20))}
    for _ in range(rng.choice((0, 0, 1, 3))):
        daily[rng.choice((-1, 1)) * rng.randrange(0, 900)] = rng.choice((1, 2, 8, 20, 25, 200))
    return daily


@pytest.mark.parametrize("count", [pytest.param(300, id="fast"), pytest.param(4000, id="all", marks=pytest.mark.slow)])
def test_random_histories_against_the_definition(count: int) -> None:
    rng = random.Random(18)
    found = []
    for number in range(count):
        daily, needed = series(rng), rng.choice((0, 1, 3, 7, 14, 28, 30, 45))
        verdict = history_verdict(list(daily.items()), needed)[0]
        assert verdict is ready_by_definition(daily, needed), (number, daily, needed)
        found.append(verdict)
    assert 0.1 < sum(found) / count < 0.9
