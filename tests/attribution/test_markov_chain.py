"""Removal effects against chains built and inverted the plain way, and figures worked out by hand."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from path_tables import path_counts, path_rows

from gtm_dagster.attribution import absorption, models
from gtm_dagster.attribution.declaration import Options
from gtm_dagster.attribution.markov_chain import REMOVALS, removal_effects


def states_of(path, order):
    if len(path) < order:
        return [path]
    return [path[at : at + order] for at in range(len(path) - order + 1)]


def expected(sequences, without=None):
    """Conversion and value a path of the chain of (states, conversions, value, nulls), by the explicit inverse;
    states that hold the channel `without` lead to no conversion."""
    names = sorted({state for states, *_ in sequences for state in states})
    place = {name: number + 1 for number, name in enumerate(names)}
    counts = np.zeros((len(names) + 1, len(names) + 1))
    ends = np.zeros((len(names) + 1, 3))
    for states, conversions, value, nulls in sequences:
        numbers = [0] + [place[state] for state in states]
        for one, other in pairwise(numbers):
            counts[one, other] += conversions + nulls
        ends[numbers[-1]] += conversions, value, nulls
    out = counts.sum(axis=1) + ends[:, 0] + ends[:, 2]
    out[out == 0] = 1
    moves = counts / out[:, None]
    gains = ends[:, :2] / out[:, None]
    for name, number in place.items():
        if without is not None and without in name:
            moves[number], gains[number] = 0, 0
    return (np.linalg.inv(np.eye(len(out)) - moves) @ gains)[0]


def brute_force(rows, order, nulls, removal):
    """Probability, mean value, and effects by channel: the definition of each removal, path by path."""
    rows = [(path, c, v, n if nulls else 0) for path, c, v, n in rows if c + (n if nulls else 0)]
    sequences = [(states_of(path, order), c, v, n) for path, c, v, n in rows]
    base = expected(sequences)
    effects = {}
    for channel in sorted({channel for path, *_ in rows for channel in path}):
        if removal == "null":
            left = expected(sequences, without=channel)
        elif removal == "detour":
            cut = [(tuple(one for one in path if one != channel), *rest) for path, *rest in rows]
            kept = [(states_of(path, order), *rest) for path, *rest in cut if path]
            left = expected(kept) if kept else np.zeros(2)
        else:
            cut = []
            for states, c, v, n in sequences:
                hit = any(channel in state for state in states)
                stay = [state for state in states if channel not in state]
                if stay or removal == "fail":
                    cut.append((stay, 0, 0, c + n) if hit else (stay, c, v, n))
            left = expected(cut) if cut else np.zeros(2)
        effects[channel] = 1 - left / base
    return base, effects


@pytest.mark.parametrize(
    ("removal", "step_by_step"),
    [*((removal, False) for removal in REMOVALS), ("null", True)],
    ids=[*REMOVALS, "null by following the paths"],
)
@pytest.mark.parametrize("order", [1, 2, 3, 4])
@settings(max_examples=25, deadline=None)
@given(rows=path_rows, nulls=st.booleans())
def test_effects_equal_those_of_an_explicit_inverse(removal, step_by_step, order, rows, nulls):
    if not any(conversions for _, conversions, *_ in rows):
        return
    usual = absorption.DENSE_STATES
    absorption.DENSE_STATES = 0 if step_by_step else usual
    try:
        found = removal_effects(path_counts(rows), order, nulls, removal)
    finally:
        absorption.DENSE_STATES = usual
    base, effects = brute_force(rows, order, nulls, removal)
    assert found.p_conversion == pytest.approx(base[0], abs=1e-12)
    assert found.mean_value == pytest.approx(base[1], rel=1e-12)
    by_channel = dict(zip(path_counts(rows).channels, zip(found.conversions, found.value, strict=True), strict=True))
    for channel, (conversions, value) in by_channel.items():
        assert conversions == pytest.approx(effects.get(channel, (0, 0))[0], abs=1e-9)
        assert value == pytest.approx(effects.get(channel, (0, 0))[1], abs=1e-9)
    assert found.error <= absorption.TOLERANCE


THREE = [(("x", "y", "z"), 2, 600.0, 0), (("x",), 0, 0.0, 2), (("y", "z"), 0, 0.0, 2)]
WORKED = [
    ("null", THREE, {}, (1 / 3, [0.5, 1, 1])),
    ("converting paths alone", THREE, {"nulls": False}, (1, [1, 1, 1])),
    ("fail", THREE, {"removal": "fail"}, (1 / 3, [1, 1, 1])),
    ("refit: without x two of the six paths are gone", THREE, {"removal": "refit"}, (1 / 3, [1, 1, 1])),
    ("detour: without x two of four convert, without y all keep their outcome", THREE, {"removal": "detour"}, (1 / 3, [-0.5, 0, 0])),
    ("one channel", [(("x",), 1, 5.0, 3)], {}, (0.25, [1])),
    ("a channel that repeats is left as often as others go on", [(("x", "x", "x"), 1, 5.0, 0), (("y",), 1, 5.0, 0)], {}, (1, [0.5, 0.5])),
    ("no conversions", [(("x",), 0, 0.0, 3)], {}, (0, [0])),
    ("a channel of paths that do not count", [(("x",), 1, 5.0, 0), (("y",), 0, 0.0, 3)], {"nulls": False}, (1, [1, 0])),
]  # fmt: skip


@pytest.mark.parametrize(("rows", "options", "answer"), [case[1:] for case in WORKED], ids=[case[0] for case in WORKED])
def test_worked_examples(rows, options, answer):
    found = removal_effects(path_counts(rows), **options)
    assert found.p_conversion == pytest.approx(answer[0])
    assert found.conversions == pytest.approx(answer[1])


def test_credit_is_the_effect_scaled_to_all_conversions_and_all_value():
    credit = models.model("markov").credit_of_paths(path_counts(THREE), Options())
    assert credit.conversions == pytest.approx([0.4, 0.8, 0.8])
    assert credit.value == pytest.approx([120, 240, 240])
    assert credit.columns["removal_effect"] == pytest.approx([0.5, 1, 1])
    assert credit.attrs["p_conversion"] == pytest.approx(1 / 3)


DEGENERATE = [
    ("no effect above 0: the channels of each path share it", [(("x", "y"), 4, 8.0, 0), (("y",), 1, 1.0, 0)], {"removal": "detour", "nulls": False}, [2, 3]),
    ("an effect below 0 earns nothing", [*THREE, (("w",), 1, 300.0, 0)], {"removal": "detour"}, [3, 0, 0, 0]),
    ("nothing converts", [(("x",), 0, 0.0, 3)], {}, [0]),
]  # fmt: skip


@pytest.mark.parametrize(
    ("rows", "options", "credit"), [case[1:] for case in DEGENERATE], ids=[case[0] for case in DEGENERATE]
)
def test_credit_of_degenerate_paths(rows, options, credit):
    found = models.model("markov").credit_of_paths(path_counts(rows), Options(**options))
    assert found.conversions == pytest.approx(credit)
    assert found.value.sum() == pytest.approx(sum(row[2] for row in rows))


@pytest.mark.parametrize(
    ("options", "message"),
    [({"order": 5}, "order: 5 is not"), ({"order": 0}, "order: 0 is not"), ({"removal": "drop"}, "'drop' is not one")],
)
def test_unknown_options_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        removal_effects(path_counts(THREE), **options)


def test_paths_that_run_in_circles_for_long_still_end():
    """Two channels in turn, a thousand times: the paths are followed for long, and the error that is left is stated."""
    rows = [(("x", "y") * 500, 1, 1.0, 0), (("z", "x"), 0, 0.0, 1)]
    dense = removal_effects(path_counts(rows), 2)
    usual = absorption.DENSE_STATES
    absorption.DENSE_STATES = 0
    try:
        followed = removal_effects(path_counts(rows), 2)
    finally:
        absorption.DENSE_STATES = usual
    assert 0 < followed.error < 1e-6
    assert followed.conversions == pytest.approx(dense.conversions, abs=1.01 * followed.error / dense.p_conversion)
