"""When a walk passes its end: the closed form against a general solver, and steep walks, of which the sum lost its digits."""

import math

import numpy as np
import pytest
from test_guard_planner import RULE

from gtm_dagster.rollout.guard.bounds import treated_visitors_needed, visitors_to_proof
from gtm_dagster.rollout.guard.first_passage import staying


@pytest.mark.parametrize(
    ("up", "down"),
    [
        pytest.param(1.0, 0.9, id="drifts up"),
        pytest.param(2e-4, 2e-4, id="does not drift"),
        pytest.param(1.0, 1.008, id="drifts down, hardly"),
        pytest.param(1.0, 1.2, id="drifts down: one part is no wave"),
    ],
)
@pytest.mark.parametrize("start", [0, 20])
def test_the_closed_form_is_what_a_solver_finds(up: float, down: float, start: int) -> None:
    cells = 60
    chain = np.diag(np.full(cells, -(up + down))) + np.diag(np.full(cells - 1, up), 1) + np.diag(np.full(cells - 1, down), -1)  # fmt: skip
    chain[0, 0] = -up
    values, vectors = np.linalg.eig(chain)
    expected = vectors[start] * np.linalg.solve(vectors, np.ones(cells))
    weights, rates = staying(up, down, cells, start)
    for steps in (0, 10, 100, 1_000, 10_000):
        at = steps / (up + down)
        assert weights @ np.exp(rates * at) == pytest.approx(float((expected @ np.exp(values * at)).real), abs=1e-6)


@pytest.mark.parametrize(("base", "share"), [(0.002, 0.05), (0.2, 0.05), (0.6, 0.5)])
def test_a_dead_flow_of_few_visitors_has_an_end_and_takes_what_it_must(base: float, share: float) -> None:
    visitors = visitors_to_proof(base, share, 1.0, RULE, 0.5)
    least = treated_visitors_needed(base, 1.0, RULE.log_budget) / share
    assert visitors is not None and math.isfinite(visitors) and 0.8 * least < visitors < 4 * least
