"""The ramp's arithmetic: what a step could have shown, held against the detector itself."""

from __future__ import annotations

import numpy as np
import pytest

from gtm_dagster.rollout.guard.counts import EXPOSURES, SLOT_US, Counts
from gtm_dagster.rollout.guard.ramp_power import POWER, step_power, suspected_until
from gtm_dagster.rollout.guard.rule import Rule

MINUTE = 60_000_000
WARM = 60


def counts(
    seed: int, share: float, minutes: int, *, factor: float = 1.0, pace: float = 1000, base: float = 0.5
) -> Counts:
    """A healthy hour at 1 %, then `minutes` at `share` in which the treated convert at `factor` of the control's rate."""
    rng, rows, first = np.random.default_rng(seed), [], 0
    for part, length, rate in ((0.01, WARM, base), (share, minutes, base * factor)):
        slots = length * MINUTE // SLOT_US
        for arm, units, chance in (("control", 1 - part, base), ("treatment", part, rate)):
            exposed = rng.poisson(pace * SLOT_US / MINUTE * units, slots)
            for age, numbers in ((EXPOSURES, exposed), (0, rng.binomial(exposed, chance))):
                rows += [(first + int(i), arm, age, int(numbers[i])) for i in np.flatnonzero(numbers)]
        first += slots
    return Counts.from_rows(rows, first * SLOT_US)


def test_more_time_more_traffic_and_a_larger_loss_are_seen_sooner():
    def needed(**more):
        power = step_power(counts(1, more.pop("share", 0.05), 30, **more), Rule(), 0.05, WARM * MINUTE, 0.3)
        assert power is not None and power.needed_minutes is not None
        return power.needed_minutes

    assert needed(pace=2000) < needed() < needed(pace=500)
    power = step_power(counts(1, 0.05, 30), Rule(), 0.05, WARM * MINUTE, 0.5)
    assert power is not None and power.needed_minutes < needed()
    assert power.elapsed_minutes == 30 and power.seen and power.left_minutes == 0


def test_the_smallest_visible_loss_falls_with_time_and_is_never_below_the_threshold():
    visible = []
    for minutes in (1, 20, 60, 600):
        power = step_power(counts(1, 0.25, minutes), Rule(), 0.25, WARM * MINUTE, 0.3)
        assert power is not None
        visible.append(power.visible() or 2.0)
    assert visible == sorted(visible, reverse=True) and visible[0] == 2.0 and 0.15 <= visible[-1] < 0.25


@pytest.mark.parametrize("what", ["no visitors since", "no treated ones", "no conversion"])
def test_without_visitors_of_both_arms_and_a_conversion_nothing_can_be_said(what):
    seen = counts(1, 0.0 if what == "no treated ones" else 0.05, 30, base=0.0 if what == "no conversion" else 0.5)
    since = 95 * MINUTE if what == "no visitors since" else WARM * MINUTE
    assert step_power(seen, Rule(), 0.05, since, 0.3) is None


def test_what_evidence_does_not_reach_is_never_seen():
    power = step_power(counts(1, 0.01, 30, pace=20, base=0.2), Rule(), 0.01, WARM * MINUTE, 0.15)
    assert power is not None and power.needed_minutes is None and power.left_minutes is None and not power.seen


def test_time_counts_from_the_last_suspicion_on():
    rule = Rule(shares=((0, 0.01), (WARM * MINUTE, 0.25)))
    broken = counts(3, 0.25, 20, factor=0.5)
    until = suspected_until(broken, rule, WARM * MINUTE)
    assert until is not None and until > WARM * MINUTE
    assert suspected_until(counts(3, 0.25, 20), rule, WARM * MINUTE) is None
    fresh, later = (step_power(broken, rule, 0.25, WARM * MINUTE, 0.3, at_start=start) for start in (True, False))
    assert fresh is not None and later is not None and fresh.needed_minutes < later.needed_minutes


@pytest.mark.simulation
@pytest.mark.parametrize(("share", "loss"), [(0.05, 0.3), (0.25, 0.3), (0.05, 0.5), (0.5, 0.2)])
def test_a_loss_that_would_have_been_seen_holds_the_ramp_up_in_four_of_five_cases(share, loss):
    """What holds it up is suspicion at any time since the step, so such a loss passes a step in at most one of five cases."""
    runs, suspected = 60, 0
    shown = step_power(counts(0, share, 60), Rule(), share, WARM * MINUTE, loss)
    assert shown is not None and shown.needed_minutes is not None
    rule = Rule(shares=((0, 0.01), (WARM * MINUTE, share)))
    for seed in range(runs):
        seen = counts(seed, share, int(np.ceil(shown.needed_minutes)), factor=1 - loss)
        suspected += suspected_until(seen, rule, WARM * MINUTE) is not None
    assert suspected / runs >= POWER - 2 * (POWER * (1 - POWER) / runs) ** 0.5
