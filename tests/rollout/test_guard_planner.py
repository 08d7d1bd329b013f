"""What a guard may promise: the information bounds are facts, the detector's own delays are compared with simulation."""

import math
from dataclasses import replace

import numpy as np
import pytest
from profiles import slow_but
from traffic_cases import drawn, steady

from gtm_dagster.rollout.guard.bounds import (
    minimum_detectable_effect,
    minutes_to_proof,
    smallest_drop,
    treated_visitors_needed,
    visitors_needed,
    visitors_to_proof,
)
from gtm_dagster.rollout.guard.guarded_traffic import Traffic, observed_traffic
from gtm_dagster.rollout.guard.planner import duration, percent_up, plan
from gtm_dagster.rollout.guard.rule import Rule
from gtm_dagster.rollout.guard.simulation import Scenario, simulate

ONE_PERCENT = math.log(100)
YEAR = 8760.0
RULE = Rule()


@pytest.mark.parametrize(
    ("base", "drop", "known", "even", "one_in_ten"),
    [
        (0.02, 0.15, 19_048, 74_248, 210_577),
        (0.02, 0.90, 340, 1_067, 3_624),
        (0.10, 0.15, 3_515, 13_731, 38_874),
        (0.10, 0.30, 833, 3_168, 9_169),
        (0.10, 0.50, 276, 1_004, 3_011),
        (0.10, 1.00, 44, 128, 462),
        (0.20, 0.15, 1_573, 6_166, 17_410),
        (0.20, 0.30, 376, 1_438, 4_138),
        (0.20, 0.50, 126, 462, 1_374),
        (0.20, 0.90, 30, 97, 323),
        (0.50, 0.30, 101, 398, 1_118),
        (0.50, 0.90, 9, 32, 101),
    ],
)
def test_visitors_no_test_can_do_without(base: float, drop: float, known: int, even: int, one_in_ten: int) -> None:
    """At 1 %: against a known baseline (treated visitors), at an even split and at 10/90 (both arms)."""
    assert round(treated_visitors_needed(base, drop, ONE_PERCENT)) == known
    assert round(visitors_needed(base, drop, 0.5, ONE_PERCENT)) == even
    assert round(visitors_needed(base, drop, 0.1, ONE_PERCENT)) == one_in_ten


@pytest.mark.parametrize(
    ("base", "drop", "visitors"),
    [(0.02, 0.3, 57_766), (0.1, 0.3, 10_764), (0.1, 0.5, 1_733), (0.2, 0.5, 798), (0.2, 0.9, 117), (0.5, 0.9, 39)],
)
def test_a_margin_costs_visitors(base: float, drop: float, visitors: int) -> None:
    """To prove that the drop is above 15 %."""
    assert round(visitors_needed(base, drop, 0.5, ONE_PERCENT, margin=0.15)) == visitors


def test_a_drop_within_the_margin_is_never_proven() -> None:
    assert visitors_needed(0.2, 0.15, 0.5, ONE_PERCENT, margin=0.15) == math.inf
    assert visitors_needed(0.2, 0.5, 1.0, ONE_PERCENT) == math.inf, "without a control nothing is"


@pytest.mark.parametrize(
    ("base", "pace", "minutes", "least"),
    [
        (0.1, 10, 15, None), (0.1, 10, 60, 0.83), (0.1, 10, 240, 0.49), (0.1, 10, 1440, 0.22),
        (0.1, 100, 5, 0.88), (0.1, 100, 60, 0.33), (0.2, 1, 240, 0.88), (0.2, 100, 5, 0.68),
        (0.5, 10, 15, 0.69), (0.5, 100, 5, 0.40), (0.5, 100, 1440, 0.02),
    ],
)  # fmt: skip
def test_the_smallest_drop_a_perfect_test_sees(base: float, pace: float, minutes: float, least: float | None) -> None:
    """One false alarm a year, 15 % more evidence than the bound, no margin."""
    found = smallest_drop(base, pace * minutes, 0.5, 1.15 * math.log(YEAR))
    assert found == (None if least is None else pytest.approx(least, abs=0.006))


DELAYS = [
    (10, 0.2, 0.5, 0.5, 0.0), (100, 0.2, 0.3, 0.5, 0.0), (100, 0.2, 0.9, 0.5, 0.0), (100, 0.2, 0.5, 0.1, 0.0),
    (100, 0.02, 0.5, 0.5, 0.0), (100, 0.5, 0.3, 0.5, 0.0), (100, 0.3, 0.5, 0.5, 10.0), (100, 0.2, 0.2, 0.5, 0.0), (100, 0.2, 0.5, 0.5, 5.0), (100, 0.5, 0.3, 0.5, 2.0),
]  # fmt: skip


def compare_with_simulation(case: tuple[float, ...], runs: int, within: float) -> None:
    pace, base, drop, share, delay = case
    delays = [
        minutes_to_proof(base, pace, share, drop, RULE, delay_minutes=delay, quantile=q, at_start=True)
        for q in (0.5, 0.9)
    ]
    median, p90 = delays
    assert median is not None and p90 is not None
    hours = min(3 * p90 / 60, 160)
    found = simulate(Scenario(pace, share, base, drop, hours, delay_minutes=delay), Rule(), runs, 3).evidence
    assert found.median_minutes == pytest.approx(median, rel=within)
    assert found.p90_minutes == pytest.approx(p90, rel=2 * within)


@pytest.mark.parametrize("case", [DELAYS[1], DELAYS[2], DELAYS[6]], ids=str)
def test_the_planned_delay_is_the_simulated_one_roughly(case: tuple[float, ...]) -> None:
    compare_with_simulation(case, 40, 0.35)


@pytest.mark.simulation
@pytest.mark.parametrize("case", DELAYS, ids=str)
def test_the_planned_delay_is_the_simulated_one(case: tuple[float, ...]) -> None:
    compare_with_simulation(case, 300, 0.20)


def test_more_traffic_drop_or_evidence_changes_the_delay_the_right_way() -> None:
    def minutes(
        pace: float = 100, share: float = 0.5, drop: float = 0.3, budget: float = YEAR, q: float = 0.5
    ) -> float:
        needed = minutes_to_proof(0.2, pace, share, drop, replace(RULE, budget_hours=budget), quantile=q)
        assert needed is not None
        return needed

    assert minutes(pace=200) < minutes() < minutes(pace=50)
    assert minutes(drop=0.5) < minutes() < minutes(drop=0.2)
    assert minutes(budget=720) < minutes() < minutes(budget=87_600)
    assert minutes(share=0.5) < minutes(share=0.1) < minutes(share=0.02)
    assert minutes(q=0.1) < minutes() < minutes(q=0.9)


def test_late_conversions_delay_the_proof_by_what_the_treated_arm_is_allowed() -> None:
    at_once, late = (minutes_to_proof(0.2, 100, 0.5, 0.3, RULE, delay_minutes=d) for d in (0.0, 10.0))
    assert at_once is not None and late is not None and late - at_once > 5 * 10.0 * 0.3


def test_the_least_drop_falls_with_time_and_never_below_the_threshold() -> None:
    effects = [minimum_detectable_effect(0.2, 100, 0.5, minutes, RULE) for minutes in (1, 5, 60, 1440, 100_000)]
    assert effects[0] is None, "one minute proves nothing"
    least = [drop for drop in effects if drop is not None]
    assert least == sorted(least, reverse=True) and least[-1] == 0.15


@pytest.mark.parametrize(
    ("drop", "minutes", "pace", "kept", "words"),
    [
        (0.9, 10, 100, True, ""),
        (0.15, 5, 10, False, "a loss has to last 5 minutes"),
        (0.15, 10, 10, False, "no test could: 12,170 visitors carry the proof, 100 come"),
        (0.9, 30, 10, False, "visitors a minute instead of 10"),
        (0.1, 600, 1000, False, "below the threshold of 15%"),
        (0.5, 30, 100, True, ""),
        (0.5, 20, 100, False, "minutes instead of 20 minutes"),
    ],
)  # fmt: skip
def test_a_promise_is_one_that_nine_of_ten_drops_keep(
    drop: float, minutes: float, pace: float, kept: bool, words: str
) -> None:
    planned = plan(Traffic(pace, 0.5, 0.2), RULE, promise=(drop, minutes))
    assert planned.promise is not None and planned.promise.kept == kept
    assert (planned.refused is None) == kept
    assert words in (planned.refused or "")


@pytest.mark.parametrize(("drop", "minutes"), slow_but(0, (0.9, 10.0), (0.5, 30.0), (0.3, 60.0)))
def test_the_traffic_a_promise_needs_keeps_it(drop: float, minutes: float) -> None:
    needed = plan(Traffic(1, 0.5, 0.2), RULE, promise=(drop, minutes)).promise
    assert needed is not None and needed.needed_visitors_per_minute is not None
    for factor, kept in ((1.01, True), (0.99, False)):
        pace = needed.needed_visitors_per_minute * factor
        promise = plan(Traffic(pace, 0.5, 0.2), RULE, promise=(drop, minutes)).promise
        assert promise is not None and promise.kept == kept


@pytest.mark.parametrize(("share", "missing"), [(1.0, "control"), (0.0, "treated")])
def test_without_one_of_the_arms_nothing_is_promised(share: float, missing: str) -> None:
    planned = plan(Traffic(100, share, 0.2), RULE)
    assert planned.refused is not None and f"no {missing} arm" in planned.refused
    assert all(e.median_minutes is None for e in planned.expectations)


def test_a_flow_given_to_everybody_is_advised_to_hold_visitors_back() -> None:
    (advice,) = plan(Traffic(100, 1.0, 0.2), RULE).advice
    assert "5% held back" in advice and "50% held back" in advice


@pytest.mark.slow
def test_a_thin_treated_arm_learns_its_price_and_an_even_one_nothing() -> None:
    (advice,) = plan(Traffic(100, 0.02, 0.2), RULE).advice
    assert "at an even split" in advice
    assert plan(Traffic(100, 0.5, 0.2), RULE).advice == ()


def test_scenario_7_thin_traffic_needs_more_than_a_day_and_says_so() -> None:
    """30 % at a visitor a minute."""
    expected = {e.drop: e for e in plan(Traffic(1, 0.5, 0.2), RULE).expectations}[0.30]
    assert expected.median_minutes is not None and expected.median_minutes > 24 * 60
    assert (
        expected.bound_visitors == 2_838
        and expected.visitors is not None
        and expected.visitors > expected.bound_visitors
    )


def test_the_hold_is_in_the_rollback_and_not_in_the_proof() -> None:
    day = plan(Traffic(100, 0.5, 0.2), RULE).horizons
    assert day[0].provable_drop is None and day[0].rolled_back_drop is None, "as long as slower is no loss"
    assert day[1].provable_drop is not None and day[1].rolled_back_drop == day[1].provable_drop
    at_once = plan(Traffic(100, 0.5, 0.2), replace(RULE, slower_minutes=0)).horizons
    assert at_once[0].provable_drop is not None and at_once[0].rolled_back_drop is None, "it has to last"


@pytest.mark.parametrize(("share", "delay"), [(0.5, 0.0), (0.1, 8.0)])
def test_traffic_is_read_off_the_counts(share: float, delay: float) -> None:
    counts = drawn(4, per_minute=60, rate=0.25, minutes=600, treated=steady(0.5), share=share, delay_minutes=delay)
    seen = observed_traffic(counts, 60)
    assert seen is not None
    assert seen.visitors_per_minute == pytest.approx(60, rel=0.03)
    assert seen.treated_share == pytest.approx(share, rel=0.05)
    assert seen.base_rate == pytest.approx(0.25, rel=0.05), "the control's, not the broken arm's"
    assert seen.delay_minutes == pytest.approx(delay, abs=0.5)


def test_traffic_without_a_control_or_a_conversion_is_unknown() -> None:
    counts = drawn(4, per_minute=60, rate=0.25, minutes=60, treated=steady(1.0), control=lambda m: np.zeros(len(m)))
    assert observed_traffic(counts, 60) is None


@pytest.mark.parametrize(
    ("minutes", "text"),
    [
        (None, "not within ten years"),
        (2.25, "2.2 minutes"),
        (43, "43 minutes"),
        (600, "10.0 hours"),
        (10_000, "6.9 days"),
    ],
)
def test_a_duration_in_words(minutes: float | None, text: str) -> None:
    assert duration(minutes) == text


def test_a_split_without_an_arm_has_no_delay() -> None:
    assert visitors_to_proof(0.2, 1.0, 0.5, RULE, 0.5) is None


@pytest.mark.parametrize(
    ("drop", "text", "why"),
    [
        (0.1541, "16%", "15 % is not reached by then"),
        (0.15, "15%", "a whole percent stays"),
        (0.29, "29%", "0.29 * 100 is a hair above 29"),
        (1.0, "100%", "a dead flow"),
    ],
)
def test_a_least_drop_is_rounded_up(drop: float, text: str, why: str) -> None:
    assert percent_up(drop) == text, why


def test_the_plan_says_how_far_it_is() -> None:
    progress: list[tuple[int, int]] = []
    plan(Traffic(100, 0.5, 0.2), RULE, progress=lambda *each: progress.append(each))
    assert [done for done, _ in progress] == list(range(1, progress[0][1] + 1)), "the bar ends full"
