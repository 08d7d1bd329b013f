"""What a message says of a changed setting: the fields that tell before from now, and no others."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from gtm_dagster.settings import Window
from gtm_dagster.warehouse.changed_values import changed_values


def windows(*given: Window) -> str:
    return json.dumps(msgspec.to_builtins(list(given)), sort_keys=True)


FIRST, LAST = Window("first_touch", 168.0), Window("last_touch", 24.0)


@pytest.mark.parametrize(
    ("before", "now", "expected"),
    [
        pytest.param("30", "10", ("30", "10"), id="a number"),
        pytest.param("[]", '["own.example"]', ("[]", '["own.example"]'), id="names"),
        pytest.param(None, "x", ("None", "x"), id="a key that was not there"),
        pytest.param(
            windows(FIRST, LAST), windows(FIRST, Window("linear", 336.0)),
            (
                '[{"lookback_hours": 168, "model": "first_touch"}, {"lookback_hours": 24, "model": "last_touch"}]',
                '[{"lookback_hours": 168, "model": "first_touch"}, {"lookback_hours": 336, "model": "linear"}]',
            ),
            id="windows by model and hours",
        ),
        pytest.param(
            windows(FIRST), windows(Window("first_touch", 168.0, name="week", without=("Direct",))),
            ("[{}]", '[{"name": "week", "without": ["Direct"]}]'), id="a field that was left out before",
        ),
        pytest.param(
            windows(), windows(Window("markov", 168.5)),
            ("[]", '[{"game": "volume", "lookback_hours": 168.5, "model": "markov", "nulls": true, "order": 1, "removal": "null"}]'),
            id="one alone with all it says",
        ),
    ],
)  # fmt: skip
def test_values(before: str | None, now: str, expected: Any) -> None:
    assert changed_values(before, now) == expected
