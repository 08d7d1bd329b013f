"""A gap of exactly the timeout does not end a visit, a microsecond more does: in one load, and by what comes later."""

from __future__ import annotations

from pathlib import Path

import pytest
from profiles import slow_but
from warehouse_cases import DAY, MINUTE, PLAN, START, event, land, refresh, rows_of, settings_for

from gtm_dagster.warehouse.verify import verify

TIMEOUT = 30 * MINUTE
NOON = START + DAY // 2
"""Far from midnight, which also ends a session under the definition `ua`."""
RECEIVED = START + 30 * DAY
LONG = 10 * MINUTE


def at(*event_us: int, event_id: str = "", **columns: object) -> list[dict]:
    """An event at each moment; its person is that of the case."""
    return [event(event_id, NOON + us, **columns) for us in event_us]


CAMPAIGN = "another campaign a while after a gap of the timeout"
# A person each: what is there, what comes later, and (start, end, events) of the sessions after both, from noon on.
CASES = {
    "the timeout behind: the same visit": (at(0, LONG), at(LONG + TIMEOUT), [(0, LONG + TIMEOUT, 3)]),
    "a microsecond more behind: another": (
        at(0, LONG), at(LONG + TIMEOUT + 1), [(0, LONG, 2), (LONG + TIMEOUT + 1, LONG + TIMEOUT + 1, 1)],
    ),
    "the timeout before: the same visit": (at(0, LONG), at(-TIMEOUT), [(-TIMEOUT, LONG, 3)]),
    "a microsecond more before: another": (
        at(0, LONG), at(-TIMEOUT - 1), [(-TIMEOUT - 1, -TIMEOUT - 1, 1), (0, LONG, 2)],
    ),
    "the timeout from both: one visit of the two": (at(0, 2 * TIMEOUT), at(TIMEOUT), [(0, 2 * TIMEOUT, 3)]),
    "the timeout from the first alone": (
        at(0, 2 * TIMEOUT + 1), at(TIMEOUT), [(0, TIMEOUT, 2), (2 * TIMEOUT + 1, 2 * TIMEOUT + 1, 1)],
    ),
    "the timeout from the second alone": (
        at(0, 2 * TIMEOUT + 1), at(TIMEOUT + 1), [(0, 0, 1), (TIMEOUT + 1, 2 * TIMEOUT + 1, 2)],
    ),
    "a microsecond more from both: three": (
        at(0, 2 * TIMEOUT + 2), at(TIMEOUT + 1),
        [(0, 0, 1), (TIMEOUT + 1, TIMEOUT + 1, 1), (2 * TIMEOUT + 2, 2 * TIMEOUT + 2, 1)],
    ),
    "the event between moves to the next day: two": (
        [*at(0, 2 * TIMEOUT), *at(TIMEOUT, event_id="moves")], at(DAY, event_id="moves", received_us=RECEIVED - 1),
        [(0, 0, 1), (2 * TIMEOUT, 2 * TIMEOUT, 1), (DAY, DAY, 1)],
    ),
    "the event at the end moves a microsecond away": (
        [*at(0), *at(TIMEOUT, event_id="moves")], at(TIMEOUT + 1, event_id="moves", received_us=RECEIVED - 1),
        [(0, 0, 1), (TIMEOUT + 1, TIMEOUT + 1, 1)],
    ),
    CAMPAIGN: (at(0, TIMEOUT), at(TIMEOUT + LONG, source="google", medium="cpc"), [(0, TIMEOUT + LONG, 3)]),
    "the event at the end comes a microsecond nearer": (
        [*at(0), *at(TIMEOUT + 1, event_id="moves")], at(TIMEOUT, event_id="moves", received_us=RECEIVED - 1),
        [(0, TIMEOUT, 2)],
    ),
}  # fmt: skip


def rows(part: int) -> list[dict]:
    """The events of all cases that are there (0) or come later (1)."""
    return [
        {**row, "event_id": f"{name}: {row['event_id'] or row['event_us']}", "anonymous_id": name}
        for name, case in CASES.items()
        for row in case[part]
    ]


def sessions(settings) -> dict[str, list[tuple[int, int, int]]]:
    found: dict[str, list[tuple[int, int, int]]] = {name: [] for name in CASES}
    sql = "SELECT person_id, start_us, end_us, n_events FROM core.sessions ORDER BY 1, 2"
    for name, start, end, events in rows_of(settings, sql):
        found[name].append((start - NOON, end - NOON, events))
    return found


EXPECTED = {
    "ga4": {name: case[2] for name, case in CASES.items()},
    # A campaign ends a session and not its visit: the gap inside the session is not its end.
    "ua": {name: case[2] for name, case in CASES.items()}
    | {CAMPAIGN: [(0, TIMEOUT, 2), (TIMEOUT + LONG, TIMEOUT + LONG, 1)]},
}


@pytest.mark.parametrize("definition", ["ga4", "ua"])
def test_the_boundary_in_one_load(tmp_path: Path, definition: str):
    settings = settings_for(tmp_path, GTM_SESSIONS__DEFINITION=definition)
    land(settings, rows(0) + rows(1), "import-all")
    refresh(settings)
    assert sessions(settings) == EXPECTED[definition]


@pytest.mark.parametrize("definition", slow_but(1, "ua", "ga4"))
def test_the_boundary_when_the_event_at_it_comes_later(tmp_path: Path, definition: str):
    """The visit it reaches is rebuilt with it, and the tables are those of a rebuild."""
    settings = settings_for(tmp_path, GTM_SESSIONS__DEFINITION=definition)
    land(settings, rows(0), "import-1")
    refresh(settings)
    land(settings, rows(1), "import-2")
    refresh(settings)
    assert sessions(settings) == EXPECTED[definition]
    assert verify(settings, PLAN).ok
