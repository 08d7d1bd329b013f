"""The stages that an amount of data supports."""

from __future__ import annotations

import pytest

from gtm_dagster.reports.stage_support import Amount, stage_line, supported


@pytest.mark.parametrize(
    ("days", "conversions", "stages"),
    [
        pytest.param(0, 0, ("pre_seed",), id="nothing"),
        pytest.param(29, 5000, ("pre_seed",), id="a day short of a month"),
        pytest.param(30, 29, ("pre_seed",), id="a conversion short"),
        pytest.param(30, 30, ("seed", "plg", "pre_seed"), id="a month and thirty"),
        pytest.param(89, 299, ("seed", "plg", "pre_seed"), id="not yet"),
        pytest.param(30, 300, ("series_a", "seed", "plg", "pre_seed"), id="three hundred"),
        pytest.param(90, 30, ("seed", "plg", "sales_led", "pre_seed"), id="a quarter"),
    ],
)
def test_supported(days: int, conversions: int, stages: tuple[str, ...]) -> None:
    assert supported(Amount(days, conversions, "signup_completed")) == stages


@pytest.mark.parametrize(
    ("stage", "words"),
    [
        pytest.param(None, "none is set; the data would support seed (or plg, by how you sell): 40 days", id="none set"),
        pytest.param("seed", "seed, which the data supports: 40 days", id="right"),
        pytest.param("plg", "plg, which the data supports: 40 days", id="another way to sell"),
        pytest.param("pre_seed", "pre_seed, which the data supports; the data would support seed (or plg", id="grown out of it"),
        pytest.param("series_a", "series_a, for which there is not enough data yet; the data would support seed", id="too early"),
    ],
)  # fmt: skip
def test_what_the_doctor_says(stage: str | None, words: str) -> None:
    assert stage_line(stage, Amount(40, 157, "signup_completed")).startswith(words)  # type: ignore[arg-type]


def test_without_a_conversion() -> None:
    assert stage_line(None, Amount(3, 0, None)).endswith("3 days of sessions, no conversion in the last 30")
