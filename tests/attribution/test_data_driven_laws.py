"""What holds for every model that reads all paths together."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from path_tables import path_counts, path_rows

from gtm_dagster.attribution import models
from gtm_dagster.attribution.declaration import Options

VARIANTS = [
    *(("markov", Options(order=order)) for order in (1, 2, 4)),
    ("markov", Options(nulls=False)),
    ("markov", Options(removal="fail")),
    *(("markov", Options(order=2, nulls=nulls, removal="refit")) for nulls in (True, False)),
    *(("markov", Options(order=3, nulls=nulls, removal="detour")) for nulls in (True, False)),
    ("shapley", Options(game="volume")),
    ("shapley", Options(game="rate")),
    ("shapley_ordered", Options()),
    ("leave_one_out", Options()),
]
every_variant = pytest.mark.parametrize(
    ("name", "options"),
    VARIANTS,
    ids=[f"{n} {o.order} {o.nulls} {o.removal}" if n == "markov" else f"{n} {o.game}" for n, o in VARIANTS],
)
few = settings(max_examples=15, deadline=None)


def credit(name, options, rows):
    """Conversions and value by channel."""
    counts = path_counts(rows)
    found = models.model(name).credit_of_paths(counts, options)
    return {
        channel: (float(conversions), float(value))
        for channel, conversions, value in zip(counts.channels, found.conversions, found.value, strict=True)
    }


def assert_equal(one, other):
    assert one.keys() == other.keys()
    for channel in one:
        assert one[channel] == pytest.approx(other[channel], abs=1e-8, rel=1e-9), channel


@every_variant
@few
@given(rows=path_rows)
def test_credit_adds_up_to_conversions_and_value(name, options, rows):
    found = credit(name, options, rows)
    assert sum(c for c, _ in found.values()) == pytest.approx(sum(row[1] for row in rows), abs=1e-9)
    assert sum(v for _, v in found.values()) == pytest.approx(sum(row[2] for row in rows), abs=1e-9)


@every_variant
@few
@given(rows=path_rows, data=st.data())
def test_the_order_of_rows_does_not_matter(name, options, rows, data):
    shuffled = data.draw(st.permutations(rows))
    assert_equal(credit(name, options, shuffled), credit(name, options, rows))


@every_variant
@few
@given(rows=path_rows)
def test_a_path_told_in_two_rows_is_one_path(name, options, rows):
    halves = [(path, c / 2, v / 2, n / 2) for path, c, v, n in rows]
    assert_equal(credit(name, options, [*halves, *halves]), credit(name, options, rows))


@every_variant
@few
@given(rows=path_rows, data=st.data())
def test_names_of_channels_do_not_matter(name, options, rows, data):
    names = dict(zip("abcde", data.draw(st.permutations("vwxyz")), strict=True))
    renamed = [(tuple(names[channel] for channel in path), *rest) for path, *rest in rows]
    expected = {names[channel]: both for channel, both in credit(name, options, rows).items()}
    assert_equal(dict(sorted(credit(name, options, renamed).items())), dict(sorted(expected.items())))


@every_variant
@few
@given(rows=path_rows, factor=st.floats(1e-3, 1e3))
def test_value_scales_and_leaves_conversions_alone(name, options, rows, factor):
    scaled = credit(name, options, [(path, c, v * factor, n) for path, c, v, n in rows])
    expected = {channel: (c, v * factor) for channel, (c, v) in credit(name, options, rows).items()}
    assert_equal(scaled, expected)


@every_variant
@few
@given(rows=path_rows, times=st.integers(2, 50))
def test_twice_the_persons_are_twice_the_credit(name, options, rows, times):
    more = credit(name, options, [(path, c * times, v * times, n * times) for path, c, v, n in rows])
    assert_equal(more, {ch: (c * times, v * times) for ch, (c, v) in credit(name, options, rows).items()})


@every_variant
@few
@given(rows=path_rows)
def test_without_values_conversions_are_the_same_and_value_is_absent(name, options, rows):
    counts = path_counts(rows)
    found = models.model(name).credit_of_paths(replace(counts, value=None), options)
    assert found.value is None
    with_values = models.model(name).credit_of_paths(counts, options)
    assert np.allclose(found.conversions, with_values.conversions, atol=1e-12)
