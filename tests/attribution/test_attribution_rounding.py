"""Rounding for print: columns add up, and the largest remainders get the missing units."""

import math
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gtm_dagster.attribution import largest_remainder


@pytest.mark.parametrize(
    ("values", "digits", "expected"),
    [
        pytest.param([1 / 3] * 3, 2, [0.34, 0.33, 0.33], id="ties-to-the-earlier"),
        pytest.param([0.29, 0.71], 2, [0.29, 0.71], id="float-noise-is-not-a-remainder"),
        pytest.param([-0.125, -0.125, 0.5], 2, [-0.12, -0.13, 0.5], id="negative"),
        pytest.param([2.5, 2.5], 0, [3, 2], id="whole-numbers"),
        pytest.param([], 2, [], id="nothing"),
        pytest.param([2.0**53, 2.0**53 + 2], 2, [2.0**53, 2.0**53 + 2], id="above-the-integers-of-a-double"),
    ],
)
def test_largest_remainder(values, digits, expected):
    assert largest_remainder(values, digits) == pytest.approx(expected)


@given(st.lists(st.integers(0, 10**9).map(lambda n: n / 7000), max_size=50))
def test_rounded_columns_add_up(values):
    rounded = largest_remainder(values)
    assert sum(round(value * 100) for value in rounded) == round(round(math.fsum(values) * 100, 6))
    assert all(abs(a - b) < 0.01 + 1e-6 for a, b in zip(values, rounded, strict=True))


@pytest.mark.parametrize("size", [3e13, 1e12, 0.5])
@pytest.mark.parametrize("number", [7, 1000])
def test_large_values_add_up_too(size, number):
    values = [size / 7 * (1 + index % 13 / 13) for index in range(number)]
    units = [round(Fraction(value) * 100) for value in largest_remainder(values)]
    assert sum(units) == round(sum(map(Fraction, values)) * 100)
