"""Counting a whole history: one unit, one exposure, one outcome, whatever the order."""

import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gtm_dagster.rollout.guard.counts import SLOT_US, Counts, age_in_slots, count_units

MINUTE = 60_000_000
WINDOW = 60 * MINUTE


@pytest.mark.parametrize(
    ("exposures", "conversions", "rows", "reason"),
    [
        ([("a", 1, 0)], [], [(0, "treatment", -1, 1)], "an exposure"),
        ([("a", 1, 0)], [("a", 0)], [(0, "treatment", -1, 1), (0, "treatment", 0, 1)], "at the same moment"),
        ([("a", 0, 100)], [("a", 99)], [(0, "control", -1, 1)], "converted before it was exposed"),
        ([("a", 0, 0)], [("a", WINDOW)], [(0, "control", -1, 1), (0, "control", 239, 1)], "exactly the window counts"),
        ([("a", 0, 0)], [("a", WINDOW + 1)], [(0, "control", -1, 1)], "after the window"),
        ([("a", 0, 0)], [("b", 5)], [(0, "control", -1, 1)], "somebody who was not exposed"),
        (
            [("a", 1, SLOT_US), ("a", 0, 0)],
            [("a", SLOT_US)],
            [(0, "control", -1, 1), (0, "control", 1, 1)],
            "seen in both arms: the first stays",
        ),
        (
            [("a", 0, 0), ("a", 0, 9 * SLOT_US)],
            [("a", 3 * SLOT_US), ("a", 2 * SLOT_US), ("a", 2 * SLOT_US)],
            [(0, "control", -1, 1), (0, "control", 2, 1)],
            "many exposures, many conversions: one outcome, the first",
        ),
    ],
)
def test_scenario_27_one_unit_counts_once(exposures: list, conversions: list, rows: list, reason: str) -> None:
    assert count_units(exposures, conversions, WINDOW, MINUTE).rows() == rows, reason


units = st.integers(0, 5)
moments = st.integers(0, 90 * 60).map(lambda second: second * 1_000_000)


@given(st.lists(st.tuples(units, st.integers(0, 1), moments)), st.lists(st.tuples(units, moments)), st.randoms())
def test_order_and_duplicates_change_nothing(exposures: list, conversions: list, chance: random.Random) -> None:
    rows = count_units(exposures, conversions, WINDOW, MINUTE).rows()
    again = exposures + exposures[:3], conversions + conversions[:3]
    for part in again:
        chance.shuffle(part)
    assert count_units(*again, WINDOW, MINUTE).rows() == rows
    assert sum(n for _, _, age, n in rows if age < 0) == len({unit for unit, _, _ in exposures})


def test_rows_and_json_keep_everything() -> None:
    counts = Counts.from_rows(
        [(7, "treatment", -1, 5), (9, "control", -1, 2), (7, "treatment", 3, 1), (9, "control", 0, 2), (7, "treatment", -1, 1)],
        10 * SLOT_US,
    )  # fmt: skip
    assert counts.exposed.tolist() == [[0, 0, 2], [6, 0, 0]]
    assert Counts.from_json(counts.to_json()).rows() == counts.rows()
    with pytest.raises(ValueError, match="slot_us: 1 is not"):
        Counts.from_json({**counts.to_json(), "slot_us": 1})


def test_no_rows_are_no_units() -> None:
    counts = Counts.from_rows([], 5 * MINUTE)
    assert counts.exposed.shape == (2, 0) and counts.rows() == []


@pytest.mark.parametrize(("converted", "age"), [(-1, None), (0, 0), (SLOT_US, 1), (WINDOW, 239), (WINDOW + 1, None)])
def test_age_in_slots(converted: int, age: int | None) -> None:
    assert age_in_slots(0, converted, WINDOW) == age


def test_a_window_shorter_than_a_slot_has_one_age() -> None:
    assert age_in_slots(0, 10, 20) == 0
    assert np.all(count_units([("a", 0, 0)], [("a", 10)], 20, MINUTE).conv_age == 0)
