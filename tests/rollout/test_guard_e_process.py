"""The bets: expectation at most 1 under every null, whatever the block sizes and the rates."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from profiles import examples

from gtm_dagster.rollout.guard.e_process import closest_null, log_e_values, srm_log_e_value

MARGINS = st.sampled_from([0.0, 0.05, 0.075, 0.15, 0.3])


@given(MARGINS, st.integers(1, 12), st.integers(1, 40), st.floats(0.005, 0.95), st.floats(0.01, 0.99))
@examples(300, deadline=None)
def test_no_null_gives_a_bet_an_expectation_above_one(
    margin: float, nt: int, nc: int, control: float, part: float
) -> None:
    drop = margin + (1 - margin) * part
    bet = control * (1 - drop)
    t0, c0 = closest_null(nt, nc, bet, control, margin)
    c = np.linspace(0.0, 1.0, 60)[:, None]
    t = (1 - margin) * c + (1 - (1 - margin) * c) * np.linspace(0, 1, 30)[None, :]
    expected = (t * bet / t0 + (1 - t) * (1 - bet) / (1 - t0)) ** nt
    expected = expected * (c * control / c0 + (1 - c) * (1 - control) / (1 - c0)) ** nc
    assert expected.max() <= 1 + 1e-9


@pytest.mark.parametrize("margin", [0.0, 0.075])
def test_the_closed_form_is_the_sum_over_all_outcomes(margin: float) -> None:
    """E[e] over every outcome of a small block at the boundary of the null, with the function the guard uses."""
    nt, nc, c = 3, 5, 0.3
    theta_c, theta_t = 0.22, 0.22 * (1 - margin)
    total = 0.0
    for kt in range(nt + 1):
        for kc in range(nc + 1):
            chance = math.comb(nt, kt) * theta_t**kt * (1 - theta_t) ** (nt - kt)
            chance *= math.comb(nc, kc) * theta_c**kc * (1 - theta_c) ** (nc - kc)
            one = np.ones(1)
            total += chance * math.exp(log_e_values(nt * one, kt * one, nc * one, kc * one, c * one, 0.5, margin)[0])
    assert 0.9 < total <= 1 + 1e-12


@pytest.mark.parametrize(
    ("treated", "control", "reason"),
    [(0, 9, "no treated unit"), (9, 0, "no control unit"), (0, 0, "nobody")],
)
def test_a_cell_without_both_arms_says_nothing(treated: int, control: int, reason: str) -> None:
    one = np.ones(1)
    assert log_e_values(treated * one, 0 * one, control * one, 0 * one, 0.2 * one, 0.5, 0.075)[0] == 0.0, reason


@pytest.mark.parametrize("rate", [0.0, 1e-9, 0.5, 1.0])
def test_evidence_is_finite_at_any_guess_of_the_rate(rate: float) -> None:
    one = np.ones(1)
    for kt, kc in ((0, 0), (10, 10), (0, 10), (10, 0)):
        assert np.isfinite(log_e_values(10 * one, kt * one, 10 * one, kc * one, rate * one, 0.9, 0.075))[0]


def test_lost_treated_conversions_are_evidence_and_gained_ones_against_it() -> None:
    one = np.ones(1)
    lost = log_e_values(100 * one, 5 * one, 100 * one, 20 * one, 0.2 * one, 0.5, 0.075)[0]
    gained = log_e_values(100 * one, 20 * one, 100 * one, 5 * one, 0.2 * one, 0.5, 0.075)[0]
    assert lost > 2 and gained < -2


@pytest.mark.parametrize(
    ("share", "actual", "units", "proven"),
    [
        (0.5, 0.45, 2000, True),
        (0.5, 0.5, 100_000, False),
        (0.1, 0.1, 100_000, False),
        (0.1, 0.2, 1000, True),
        (0.5, 0.48, 1000, False),
    ],
)
def test_a_broken_split_is_proven_and_a_right_one_never(share: float, actual: float, units: int, proven: bool) -> None:
    treated = round(units * actual)
    assert (srm_log_e_value(treated, units - treated, share) > math.log(1000)) == proven


def test_the_split_test_is_a_fair_bet() -> None:
    """The mean of e over every outcome of 30 units drawn by the plan is 1."""
    n, share = 30, 0.3
    chance = [math.comb(n, k) * share**k * (1 - share) ** (n - k) for k in range(n + 1)]
    assert sum(p * math.exp(srm_log_e_value(k, n - k, share)) for k, p in enumerate(chance)) == pytest.approx(1.0)
