"""The models one conversion at a time: shares, their sum, and rounding for print."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gtm_dagster.attribution import MODELS, largest_remainder, weights


@pytest.mark.parametrize(
    ("model", "ages", "direct", "expected"),
    [
        pytest.param("first_touch", [9, 5, 1], None, [1, 0, 0], id="first"),
        pytest.param("last_touch", [9, 5, 1], None, [0, 0, 1], id="last"),
        pytest.param("linear", [9, 5, 1, 0], None, [0.25] * 4, id="linear"),
        pytest.param("position_based", [9], None, [1], id="position-one"),
        pytest.param("position_based", [9, 1], None, [0.5, 0.5], id="position-two-is-half-half"),
        pytest.param("position_based", [9, 5, 3, 1], None, [0.4, 0.1, 0.1, 0.4], id="position-shares-the-middle"),
        pytest.param("time_decay", [168, 0], None, [1 / 3, 2 / 3], id="decay-halves-in-a-half-life"),
        pytest.param("inverse_age", [1, 0], None, [1 / 3, 2 / 3], id="inverse-age"),
        pytest.param("last_non_direct", [9, 5, 1], [False, False, True], [0, 1, 0], id="passes-over-direct"),
        pytest.param("last_non_direct", [9, 5], [True, True], [0, 1], id="all-direct-is-direct"),
        pytest.param("linear", [], None, [], id="no-touch-no-share"),
    ],
)
def test_shares(model, ages, direct, expected):
    assert weights(model, ages, 168, direct) == pytest.approx(expected)


@given(
    st.sampled_from(MODELS),
    st.lists(st.tuples(st.floats(0, 1e7), st.booleans()), min_size=1, max_size=40),
    st.floats(0.01, 1e5),
)
def test_shares_sum_to_one(model, touches, half_life):
    ages = sorted((age for age, _ in touches), reverse=True)
    shares = weights(model, ages, half_life, [direct for _, direct in touches])
    assert math.fsum(shares) == pytest.approx(1, abs=1e-12)
    assert min(shares) >= 0


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("markov", [1]), "not an attribution model"),
        (("linear", [-1]), r"ages_hours\[0\]"),
        (("linear", [1, 2]), "oldest first"),
        (("time_decay", [1], 0), "half_life"),
        (("last_non_direct", [2, 1], 168, [True]), "is_direct has 1"),
    ],
)
def test_wrong_input_is_named(arguments, says):
    with pytest.raises(ValueError, match=says):
        weights(*arguments)


@pytest.mark.parametrize(
    ("values", "digits", "expected"),
    [
        pytest.param([1 / 3] * 3, 2, [0.34, 0.33, 0.33], id="ties-to-the-earlier"),
        pytest.param([0.29, 0.71], 2, [0.29, 0.71], id="float-noise-is-not-a-remainder"),
        pytest.param([-0.125, -0.125, 0.5], 2, [-0.12, -0.13, 0.5], id="negative"),
        pytest.param([2.5, 2.5], 0, [3, 2], id="whole-numbers"),
        pytest.param([], 2, [], id="nothing"),
    ],
)
def test_largest_remainder(values, digits, expected):
    assert largest_remainder(values, digits) == pytest.approx(expected)


@given(st.lists(st.integers(0, 10**9).map(lambda n: n / 7000), max_size=50))
def test_rounded_columns_add_up(values):
    rounded = largest_remainder(values)
    assert sum(round(value * 100) for value in rounded) == round(round(math.fsum(values) * 100, 6))
    assert all(abs(a - b) < 0.01 + 1e-6 for a, b in zip(values, rounded, strict=True))
