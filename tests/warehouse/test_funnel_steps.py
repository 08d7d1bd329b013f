"""Every stage of the funnel needs an event of its own."""

from __future__ import annotations

import json
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st
from profiles import examples
from warehouse_cases import DAY, MINUTE, PLAN, START, event, land, refresh, rows_of, settings_for

from gtm_dagster.warehouse.verify import verify

NAMES = ("page_viewed", "signup_completed", "onboarding_completed")


def steps_of(*lists: str, after: tuple[float, ...] = ()) -> list[dict]:
    """Stages s1, s2, ... of the events by their initials."""
    by_initial = {name[0]: name for name in NAMES}
    hours = [*after, *([0.0] * (len(lists) - len(after)))]
    return [
        {"stage": f"s{number}", "events": [by_initial[initial] for initial in initials], "after_hours": hours[number - 1]}
        for number, initials in enumerate(lists, start=1)
    ]  # fmt: skip


def reached(life: list[tuple[int, str, str]], steps: list[dict]) -> int:
    """Stages a person reaches with events of (microseconds, id, name), one event after the other."""
    used: set[str] = set()
    at = None
    for number, step in enumerate(steps):
        after = at if at is None or not number else at + round(step["after_hours"] * 60 * MINUTE)
        fitting = [
            (us, name) for us, name, kind in sorted(life) if kind in step["events"] and name not in used and (after is None or us >= after)
        ]  # fmt: skip
        if not fitting:
            return number
        at, name = fitting[0]
        used.add(name)
    return len(steps)


def persons(settings) -> list[int]:
    query = "SELECT sum(persons)::INT FROM marts.funnel GROUP BY stage_no ORDER BY stage_no"
    return [row[0] for row in rows_of(settings, query)]


@pytest.mark.parametrize(
    ("steps", "lives", "expected"),
    [
        pytest.param(steps_of("p", "p", "p"), ["p", "p p"], [2, 1], id="the same event in three stages"),
        pytest.param(steps_of("p", "p", "p"), ["pp", "ppp"], [2, 2, 1], id="other events of the same moment count"),
        pytest.param(steps_of("p", "s", "p"), ["ps", "ps p"], [2, 2, 1], id="not the one of the stage before the last"),
        pytest.param(steps_of("ps", "sp"), ["p", "ps", "s p"], [3, 2], id="lists that overlap"),
        pytest.param(steps_of("p", "s"), ["ps", "s p", "p s"], [3, 2], id="lists that do not"),
        pytest.param(steps_of("p", "p", after=(0, 1)), ["p p", "p  p"], [2, 1], id="no sooner than that"),
    ],
)
def test_an_event_reaches_one_stage(tmp_path: Path, steps: list, lives: list[str], expected: list[int]) -> None:
    """A life is a text: an event a letter, half an hour a blank."""
    settings = settings_for(tmp_path, GTM_FUNNEL__STEPS=json.dumps(steps))
    by_initial = {name[0]: name for name in NAMES}
    rows = []
    for who, life in enumerate(lives):
        moments = life.split(" ")
        rows += [
            event(f"{who}-{at}-{number}", START + at * 30 * MINUTE, user_id=str(who), event_name=by_initial[letter])
            for at, letters in enumerate(moments)
            for number, letter in enumerate(letters)
        ]
    land(settings, rows, "import-1")
    refresh(settings)
    assert persons(settings) == expected


LIST = st.lists(st.sampled_from("pso"), min_size=1, max_size=3, unique=True).map("".join)
LIFE = st.lists(st.tuples(st.sampled_from([0, 0, 1, MINUTE, DAY]), st.sampled_from(NAMES)), min_size=1, max_size=6)


@pytest.mark.slow
@examples(6, deadline=None)
@given(lists=st.lists(LIST, min_size=2, max_size=5), lives=st.lists(LIFE, min_size=1, max_size=20))
def test_stages_are_those_of_a_walk_through_the_events(lists: list[str], lives: list) -> None:
    steps = steps_of(*lists)
    rows, depth = [], []
    for who, life in enumerate(lives):
        named = [(us, f"{'cab'[number % 3]}{who}-{number}", name) for number, (us, name) in enumerate(life)]
        depth.append(reached(named, steps))
        rows += [event(name, START + us, user_id=str(who), event_name=kind) for us, name, kind in named]
    with TemporaryDirectory() as folder:
        settings = settings_for(Path(folder), GTM_FUNNEL__STEPS=json.dumps(steps))
        for part in range(2):
            if rows[part::2]:
                land(settings, rows[part::2], f"import-{part}")
                refresh(settings)
        expected = [sum(most >= number for most in depth) for number in range(1, len(steps) + 1)]
        assert persons(settings) == [n for n in expected if n]
        assert verify(settings, PLAN).ok
