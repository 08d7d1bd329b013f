"""Shapley values against all orders of joining, and leave-one-out path by path."""

from itertools import combinations, permutations
from math import comb

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from path_tables import CHANNELS, path_counts, path_rows

from gtm_dagster.attribution import models
from gtm_dagster.attribution.coalitions import shapley_values, shared_evenly
from gtm_dagster.attribution.declaration import Options
from gtm_dagster.attribution.rate_games import rate_credit


def by_all_orders(players, game):
    values = dict.fromkeys(players, 0.0)
    orders = list(permutations(players))
    for order in orders:
        for place, player in enumerate(order):
            values[player] += (game(frozenset(order[: place + 1])) - game(frozenset(order[:place]))) / len(orders)
    return values


games = st.dictionaries(
    st.frozensets(st.sampled_from(CHANNELS)), st.floats(-100, 100), min_size=1, max_size=20
)  # some of the 32 coalitions


@settings(deadline=None)
@given(games)
def test_a_game_equals_the_mean_over_all_orders(game):
    found = shapley_values(game, CHANNELS)
    brute = by_all_orders(CHANNELS, lambda coalition: game.get(coalition, 0.0))
    assert found.values == pytest.approx(brute, abs=1e-9)
    assert found.standard_error is None
    whole = game.get(frozenset(CHANNELS), 0.0) - game.get(frozenset(), 0.0)
    assert sum(found.values.values()) == pytest.approx(whole, abs=1e-9)
    as_function = shapley_values(lambda coalition: game.get(coalition, 0.0), CHANNELS)
    assert as_function.values == pytest.approx(brute, abs=1e-9)


def test_a_game_of_two_by_hand():
    found = shapley_values({("x",): 10, ("y",): 20, ("x", "y"): 60})
    assert found.values == pytest.approx({"x": 25, "y": 35})


def test_a_sampled_game_says_its_error_and_keeps_to_it():
    players = [f"p{number}" for number in range(8)]

    def game(coalition):
        return len(coalition) ** 2 + 5 * ("p0" in coalition and "p1" in coalition)

    exact = shapley_values(game, players).values
    sampled = shapley_values(game, players, exact_players=4, samples=2000, seed=7)
    again = shapley_values(game, players, exact_players=4, samples=2000, seed=7)
    assert sampled == again
    for player in players:
        assert 0 < sampled.standard_error[player] < 0.2
        assert abs(sampled.values[player] - exact[player]) < 5 * sampled.standard_error[player]
    assert sum(sampled.values.values()) == pytest.approx(game(frozenset(players)))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (({("x",): 1}, ["y"]), "x of the game"),
        ((len,), "does not say who plays"),
        ((len, ["x", "x"]), "there twice"),
        (({("x", "y"): 1, ("y", "x"): 2},), "x, y is there twice"),
    ],
)
def test_a_game_that_cannot_be_solved_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        shapley_values(*arguments)


@settings(deadline=None)
@given(path_rows)
def test_the_closed_form_equals_the_game_of_volume(rows):
    counts = path_counts(rows)

    def game(coalition):
        return sum(conversions for path, conversions, *_ in rows if set(path) <= coalition)

    brute = by_all_orders(counts.channels, game)
    assert dict(zip(counts.channels, shared_evenly(counts, counts.conversions), strict=True)) == pytest.approx(brute)


def first_touches(path, *, ordered):
    once = tuple(dict.fromkeys(path))
    return once if ordered else tuple(sorted(once))


def rate_brute_force(rows, *, ordered):
    """The rate game of each path, all coalitions of it by the factorial definition."""
    seen = {}
    for path, conversions, value, nulls in rows:
        entry = seen.setdefault(first_touches(path, ordered=ordered), np.zeros(3))
        entry += conversions, value, nulls

    def rate(path):
        conversions, _, nulls = seen.get(path, (0, 0, 0))
        return conversions / (conversions + nulls) if conversions + nulls else 0.0

    credit = {}
    for path, (conversions, value, _) in seen.items():
        for player in path if conversions else ():
            others = [one for one in path if one != player]
            worth = 0.0
            for size in range(len(path)):
                for some in combinations(others, size):
                    without = tuple(one for one in path if one in some)
                    with_it = tuple(one for one in path if one in some or one == player)
                    worth += (rate(with_it) - rate(without)) / (len(path) * comb(len(path) - 1, size))
            entry = credit.setdefault(player, np.zeros(2))
            entry += worth / rate(path) * np.array([conversions, value])
    return credit


@pytest.mark.parametrize("ordered", [False, True])
@settings(deadline=None)
@given(rows=path_rows)
def test_the_game_of_rates_equals_all_coalitions(ordered, rows):
    counts = path_counts(rows)
    name, options = ("shapley_ordered", Options()) if ordered else ("shapley", Options(game="rate"))
    found = models.model(name).credit_of_paths(counts, options)
    brute = rate_brute_force(rows, ordered=ordered)
    for number, channel in enumerate(counts.channels):
        conversions, value = brute.get(channel, (0, 0))
        assert found.conversions[number] == pytest.approx(conversions, abs=1e-9)
        assert found.value[number] == pytest.approx(value, abs=1e-9)


def test_a_path_with_too_many_coalitions_is_sampled_and_says_its_error():
    random = np.random.default_rng(3)
    paths = [tuple(channel for at, channel in enumerate(CHANNELS) if mask >> at & 1) for mask in range(1, 32)]
    rows = [
        (path, int(random.integers(1, 9)), 1.0, int(nulls))
        for path, nulls in zip(paths, random.integers(0, 9, 31), strict=True)
    ]
    counts = path_counts(rows)
    amounts = np.column_stack([counts.conversions, counts.value])
    exact = rate_credit(counts, amounts, ordered=False)
    sampled = rate_credit(counts, amounts, ordered=False, most_coalitions=10, seed=11)
    assert exact.sampled_paths == 0
    assert not exact.standard_error.any()
    assert sampled.sampled_paths == 6  # those of four and five channels have 15 and 31 coalitions
    assert (sampled.standard_error > 0).all()
    assert (np.abs(sampled.credit - exact.credit) < 5 * sampled.standard_error).all()
    assert sampled.credit.sum(axis=0) == pytest.approx(amounts.sum(axis=0))
    # a path is split from its neighbours before it is sampled: those that fit stay exact
    split = rate_credit(counts, amounts, ordered=False, most_coalitions=31)
    assert np.allclose(split.credit, exact.credit, rtol=1e-12)


def leave_one_out_brute_force(rows):
    seen = {path: (conversions, value, nulls) for path, conversions, value, nulls in rows}

    def rate(path):
        conversions, _, nulls = seen.get(path, (0, 0, 0))
        return conversions / (conversions + nulls) if conversions + nulls else 0.0

    credit = {}
    for path, (conversions, value, _) in seen.items():
        more = [max(rate(path) - rate(path[:at] + path[at + 1 :]), 0.0) for at in range(len(path))]
        if not sum(more):
            more[-1] = 1.0
        for channel, share in zip(path, more, strict=True):
            credit.setdefault(channel, np.zeros(2))
            credit[channel] += share / sum(more) * np.array([conversions, value])
    return credit


@settings(deadline=None)
@given(path_rows)
def test_leave_one_out_equals_its_definition_path_by_path(rows):
    counts = path_counts(rows)
    found = models.model("leave_one_out").credit_of_paths(counts, Options())
    brute = leave_one_out_brute_force(rows)
    for number, channel in enumerate(counts.channels):
        assert found.conversions[number] == pytest.approx(brute[channel][0], abs=1e-9)
        assert found.value[number] == pytest.approx(brute[channel][1], abs=1e-9)


def test_leave_one_out_by_hand():
    """x > y converts 1 of 2, x alone 1 of 10, y alone 2 of 5: x adds 0.1, y adds 0.4."""
    rows = [(("x", "y"), 1, 10.0, 1), (("x",), 1, 5.0, 9), (("y",), 2, 8.0, 3)]
    found = models.model("leave_one_out").credit_of_paths(path_counts(rows), Options())
    assert found.conversions == pytest.approx([1 + 0.2, 2 + 0.8])
    assert found.value == pytest.approx([5 + 2, 8 + 8])
