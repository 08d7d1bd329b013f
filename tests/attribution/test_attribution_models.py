"""Every registered model in two forms: the definition by hand and the vectorised one.

A new model needs a row in CASES; the tests below then run it, and fail without it. That the statements of the warehouse
equal the definitions is in tests/warehouse/test_attribution_credits.py.
"""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gtm_dagster.attribution import models, weights
from gtm_dagster.attribution.declaration import Options, PathTouches
from gtm_dagster.attribution.models import TOUCH_MODELS

HALF_LIFE = 168.0

# model, ages in hours (oldest first), what else is known of the touches, shares worked out by hand
CASES = [
    pytest.param("first_touch", [9, 5, 1], {}, [1, 0, 0], id="first_touch-the-oldest"),
    pytest.param("last_touch", [9, 5, 1], {"is_direct": [0, 0, 1]}, [0, 0, 1], id="last_touch-direct-or-not"),
    pytest.param("linear", [9, 5, 1, 0], {}, [0.25] * 4, id="linear-the-same"),
    pytest.param("position_based", [9], {}, [1], id="position_based-one-touch-gets-all"),
    pytest.param("position_based", [9, 1], {}, [0.5, 0.5], id="position_based-two-touches-half-half"),
    pytest.param("position_based", [9, 5, 3, 1], {}, [0.4, 0.1, 0.1, 0.4], id="position_based-shares-the-middle"),
    pytest.param("position_based", [9], {"position_weights": [0, 1, 0]}, [1], id="position_based-one-whatever-weights"),
    pytest.param("position_based", [9, 1], {"position_weights": [3, 9, 1]}, [0.75, 0.25], id="position_based-two-3-1"),
    pytest.param(
        "position_based", [9, 1], {"position_weights": [0, 1, 0]}, [0.5, 0.5], id="position_based-two-of-none"
    ),
    pytest.param(
        "position_based",
        [9, 5, 1],
        {"position_weights": [1, 2, 5]},
        [1 / 8, 2 / 8, 5 / 8],
        id="position_based-any-weights",
    ),
    pytest.param("time_decay", [168, 0], {}, [1 / 3, 2 / 3], id="time_decay-halves-in-a-half-life"),
    pytest.param("time_decay", [9e6, 9e6 - 168], {}, [1 / 3, 2 / 3], id="time_decay-of-old-paths-does-not-underflow"),
    pytest.param("inverse_age", [1, 0], {}, [1 / 3, 2 / 3], id="inverse_age-counts-hours-from-one"),
    pytest.param(
        "last_non_direct", [9, 5, 1], {"is_direct": [0, 0, 1]}, [0, 1, 0], id="last_non_direct-not-the-direct"
    ),
    pytest.param("last_non_direct", [9, 5], {"is_direct": [1, 1]}, [0, 1], id="last_non_direct-all-direct-is-direct"),
    pytest.param("first_paid", [9, 5, 1], {"is_paid": [0, 1, 1]}, [0, 1, 0], id="first_paid-the-oldest-paid"),
    pytest.param("first_paid", [9, 5, 1], {}, [1, 0, 0], id="first_paid-none-paid-is-the-oldest"),
    pytest.param(
        "first_paid", [9, 5, 1], {"channels": ["Email", "Display", "Paid Other"]}, [0, 1, 0], id="first_paid-by-name"
    ),
    pytest.param("last_paid", [9, 5, 1], {"is_paid": [1, 1, 0]}, [0, 1, 0], id="last_paid-the-newest-paid"),
    pytest.param("last_paid", [9, 5, 1], {}, [0, 0, 1], id="last_paid-none-paid-is-the-newest"),
    pytest.param("linear_unique", [9, 5, 1], {"channels": "aba"}, [0.25, 0.5, 0.25], id="linear_unique-by-channel"),
    pytest.param("linear_unique", [9, 5], {}, [0.5, 0.5], id="linear_unique-no-names-are-all-different"),
    pytest.param("participation", [9, 5, 1], {"channels": "aba"}, [0.5, 1, 0.5], id="participation-a-whole-each"),
    pytest.param("j_shaped", [9], {}, [1], id="j_shaped-one-touch-gets-all"),
    pytest.param("j_shaped", [9, 5], {}, [0.25, 0.75], id="j_shaped-two"),
    pytest.param("j_shaped", [9, 5, 3, 1], {}, [0.2, 0.1, 0.1, 0.6], id="j_shaped-the-newest-most"),
    pytest.param("inverse_j", [9, 5], {}, [0.75, 0.25], id="inverse_j-two"),
    pytest.param("inverse_j", [9, 5, 3, 1], {}, [0.6, 0.1, 0.1, 0.2], id="inverse_j-the-oldest-most"),
    pytest.param("w_shaped", [9, 7, 5, 3, 1], {"stages": [0, 1, 0, 1, 0]}, [0.3, 0.3, 0.05, 0.3, 0.05], id="w_shaped"),
    pytest.param("w_shaped", [9, 5, 1], {"stages": [0, 2, 0]}, [0.3, 0.6, 0.1], id="w_shaped-two-stages-one-touch"),
    pytest.param("w_shaped", [9, 5, 1], {"stages": [1, 1, 0]}, [0.6, 0.3, 0.1], id="w_shaped-the-first-is-a-stage"),
    pytest.param("w_shaped", [9, 5, 1], {"stages": [0, 1, 0]}, [3 / 7, 3 / 7, 1 / 7], id="w_shaped-one-stage-missing"),
    pytest.param("w_shaped", [9, 5], {}, [0.75, 0.25], id="w_shaped-both-stages-missing"),
    pytest.param("w_shaped", [9, 5], {"stages": [0, 1]}, [0.5, 0.5], id="w_shaped-nothing-left-for-a-tenth"),
    pytest.param("w_shaped", [9], {"stages": [2]}, [1], id="w_shaped-one-touch-gets-all"),
    pytest.param(
        "full_path", [9, 7, 5, 3, 1], {"stages": [0, 1, 0, 1, 0]}, [0.225, 0.225, 0.1, 0.225, 0.225], id="full_path"
    ),
    pytest.param("full_path", [9, 5, 1], {}, [0.225 / 0.55, 0.1 / 0.55, 0.225 / 0.55], id="full_path-stages-missing"),
    pytest.param("full_path", [9, 5], {"stages": [0, 2]}, [0.25, 0.75], id="full_path-the-newest-is-all-stages"),
]


@pytest.mark.parametrize("name", TOUCH_MODELS)
def test_every_model_has_a_case_worked_out_by_hand(name):
    assert any(case.values[0] == name for case in CASES), f"give {name} a row in CASES"


@pytest.mark.parametrize(("name", "ages", "more", "expected"), CASES)
def test_shares_by_hand(name, ages, more, expected):
    assert weights(name, ages, HALF_LIFE, **more) == pytest.approx(expected)


@pytest.mark.parametrize("name", TOUCH_MODELS)
def test_no_touch_no_share(name):
    assert weights(name, []) == []


paths = st.lists(
    st.lists(
        st.tuples(st.floats(0, 1e6), st.booleans(), st.booleans(), st.integers(0, 3), st.integers(0, 2)),
        min_size=1,
        max_size=8,
    ),
    min_size=1,
    max_size=15,
)
some_weights = st.tuples(*[st.sampled_from([0.0, 0.1, 1.0, 7.0])] * 3).filter(any)


@pytest.mark.parametrize("name", TOUCH_MODELS)
@given(rows=paths, half_life=st.floats(1, 1e4), position=some_weights)
def test_the_vectorised_form_equals_the_definition_and_adds_up(name, rows, half_life, position):
    declared = models.model(name)
    rows = [list(zip(*row, strict=True)) for row in rows]
    expected = []
    for row in rows:
        row[0] = tuple(sorted(row[0], reverse=True))
        ages, direct, paid, channels, stages = row
        known = {"is_direct": direct, "is_paid": paid, "channels": channels, "stages": stages}
        shares = weights(name, ages, half_life, **known, position_weights=position)
        assert math.fsum(shares) == pytest.approx(1 if declared.conserves else len(set(channels)), abs=1e-12)
        assert min(shares) >= 0
        if not declared.multi_touch:
            assert sorted(shares)[-1] == 1.0, "a single-touch model gives all credit to one touch"
        expected += shares
    ages, direct, paid, channels, stages = (np.concatenate([row[at] for row in rows]) for at in range(5))
    touches = PathTouches(
        lengths=np.array([len(row[0]) for row in rows]),
        position=np.concatenate([np.arange(len(row[0])) for row in rows]),
        channel=channels,
        ages_hours=ages,
        is_direct=direct,
        is_paid=paid,
        stages=stages,
        options=Options(half_life, position),
    )
    assert declared.vectorised(touches) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("name", TOUCH_MODELS)
@pytest.mark.parametrize(
    ("need", "more"),
    [
        pytest.param("needs_ages", {"ages_hours": [0.0] * 3}, id="ages"),
        pytest.param("needs_direct", {"is_direct": [False, True, True]}, id="direct"),
        pytest.param("needs_paid", {"is_paid": [False, True, False]}, id="paid"),
        pytest.param("needs_channel", {"channels": "aab"}, id="channel"),
        pytest.param("needs_stages", {"stages": [0, 1, 1]}, id="stages"),
        pytest.param("needs_half_life", {"half_life": 1.0}, id="half-life"),
        pytest.param("weights", {"position_weights": (1, 1, 7)}, id="weights"),
    ],
)
def test_the_flags_are_true(name, need, more):
    """What a model does not declare changes nothing; what it declares does."""
    declared = models.model(name)
    needed = need in declared.options or getattr(declared, need, False)
    usual = {"ages_hours": [50.0, 20.0, 3.0]}
    assert (weights(name, **usual) != weights(name, **(usual | more))) == needed


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("magic", [1]), "not an attribution model"),
        (("linear", [-1]), r"ages_hours\[0\]"),
        (("linear", [1, 2]), "oldest first"),
        (("time_decay", [1], 0), "half_life"),
        (("last_non_direct", [2, 1], 168, [True]), "is_direct has 1"),
        (("participation", [2, 1], 168, None, {"channels": "a"}), "channels has 1"),
        (("position_based", [1], 168, None, {"position_weights": (0, 0, 0)}), "not three shares"),
        (("position_based", [1], 168, None, {"position_weights": (1, 1)}), "not three shares"),
        (("position_based", [1], 168, None, {"position_weights": (1, -1, 1)}), "not three shares"),
    ],
)
def test_wrong_input_is_named(arguments, says):
    with pytest.raises(ValueError, match=says):
        weights(*arguments[:4], **(arguments[4] if len(arguments) == 5 else {}))
