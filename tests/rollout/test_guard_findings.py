"""GD-01 to GD-05 of the guard's statistics: a budget that holds, slower is not worse, the rule as declared, the drop shown.

Small here; the runs that measure shares carry the marker `simulation`, and `python -m benchmarks.guard` prints them.
"""

from __future__ import annotations

import math
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from acting_cases import GUARD
from profiles import slow_but
from traffic_cases import until

from benchmarks.guard_nulls import SLOWER, SPEEDS
from benchmarks.guard_power import NO_MARGIN, power_cell
from benchmarks.sequential_rules import obrien_fleming_bound
from gtm_dagster.rollout.control.backtest import backtest
from gtm_dagster.rollout.control.evidence import Evidence, from_json, replay, to_json
from gtm_dagster.rollout.control.past_counts import PastCounts
from gtm_dagster.rollout.guard.cells import DAY_SLOTS, HORIZON_SLOTS, cells_of
from gtm_dagster.rollout.guard.counts import SLOT_US, Counts, Folded
from gtm_dagster.rollout.guard.detector import decided_us, trace, traced
from gtm_dagster.rollout.guard.operating_curve import CURVE_DROPS, operating_curve
from gtm_dagster.rollout.guard.rule import Rule
from gtm_dagster.rollout.guard.simulation import Scenario, draw, first_at, median_error, share_error, simulate
from gtm_dagster.rollout.guard.verdict import Verdict, detect

RULE = Rule()
THIN = Scenario(1.0, base_rate=0.05, hours=240.0, delay_minutes=10)
CELL_OF_A_BREAK = cache(power_cell)
"""Tests that look at the same cell draw it once."""
LONG_BREAK = replace(THIN, visitors_per_minute=2.0, base_rate=0.2, drop=0.6, drop_at_hours=216.0)


def history(scenario: Scenario, seed: int = 1) -> Counts:
    return draw(scenario, RULE.window_minutes, np.random.default_rng(seed))


def live(counts: Counts, rule: Rule = RULE) -> Verdict:
    """The verdict of a running guard: cohorts older than the horizon are folded into a total an arm."""
    old = counts.watermark_us // SLOT_US - HORIZON_SLOTS
    if old <= counts.slot0:
        return detect(counts, rule)
    gone = counts.conv_slot < old
    folded = tuple(
        Folded(
            counts.slot0, old - 1, arm, int(counts.exposed[arm, : old - counts.slot0].sum()),
            int(counts.conv_n[gone & (counts.conv_arm == arm)].sum()), 0,
        )
        for arm in (0, 1)
    )  # fmt: skip
    kept = Counts(
        old, counts.exposed[:, old - counts.slot0 :], counts.conv_slot[~gone], counts.conv_age[~gone],
        counts.conv_arm[~gone], counts.conv_n[~gone], counts.watermark_us, folded,
    )  # fmt: skip
    return detect(kept, rule)


@pytest.mark.parametrize("days", [8, *slow_but(0, 60, 365)])
def test_gd_01_evidence_does_not_grow_with_the_age_of_an_epoch(days: int) -> None:
    """A week of A/A traffic at the end of an epoch in which nothing came before: no bet has been won by waiting."""
    week = history(Scenario(1.0, base_rate=0.02, hours=168.0))
    quiet = np.zeros((2, (days - 7) * DAY_SLOTS), np.int64)
    quiet[:, 0] = 1  # the epoch begins
    shift = quiet.shape[1]
    counts = replace(
        week,
        exposed=np.concatenate([quiet, week.exposed], axis=1),
        conv_slot=week.conv_slot + shift,
        watermark_us=week.watermark_us + shift * SLOT_US,
    )
    found = traced(counts, replace(RULE, window_minutes=1))[0]
    assert found.log_e[0] < 3.0
    assert found.log_e.max() < RULE.log_budget, f"it began at about ln(24 * {days - 7})"


def test_gd_01_live_backtest_and_replay_agree_on_a_past_longer_than_the_horizon() -> None:
    counts = history(LONG_BREAK)
    past = backtest(PastCounts(counts, 0, counts.watermark_us, 0, 0, 0), RULE)
    assert past.would_roll_back and past.decided_us is not None and past.decided_us > 216 * 3.6e9
    moments = [169 * 240, 200 * 240, 216 * 240 + 31, past.decided_us // SLOT_US, counts.watermark_us // SLOT_US]
    for slot in moments:
        known = until(counts, slot)
        now = live(known)
        at = int(np.searchsorted(past.trace.times_us, slot * SLOT_US, side="right")) - 1
        assert now.log_e == pytest.approx(float(past.trace.log_e[at]), abs=1e-9), slot
        assert now == replace(detect(known, RULE), blocks=now.blocks)
        document = to_json(Evidence(GUARD, RULE, known, now, "e1", 1, known.watermark_us, None))
        assert replay(from_json(document)).log_e == now.log_e
    fired = [
        live(until(counts, slot)).fires for slot in (past.decided_us // SLOT_US - 1, -(-past.decided_us // SLOT_US))
    ]
    assert fired == [False, True]


def test_gd_01_what_a_window_is_made_of_does_not_depend_on_what_comes_after_it() -> None:
    """A year is evaluated window by window; each has the cells of its own days."""
    counts = history(THIN)
    for day in (0, 2):
        now = HORIZON_SLOTS + day * DAY_SLOTS
        one, other = (
            cells_of(some, 60.0, 5.0, day, now)
            for some in (counts, replace(until(counts, now), exposed=counts.exposed[:, :now]))
        )
        for name in ("end_slot", "age", "treated", "control", "control_rate"):
            assert np.array_equal(getattr(one, name), getattr(other, name)), name
        known = one.end_slot <= now
        for name in ("treated_converted", "control_later"):
            assert np.array_equal(getattr(one, name)[known], getattr(other, name)[known]), name


@pytest.mark.simulation
@pytest.mark.parametrize(
    ("rule", "days", "runs"),
    [(replace(NO_MARGIN, start_risk=0.01, budget_hours=240.0), 30, 40), (replace(NO_MARGIN, start_risk=0.01), 365, 4), (RULE, 365, 3)],
    ids=["240 h, 30 days", "2400 h, a year", "the default, a year"],
)  # fmt: skip
def test_gd_01_a_long_epoch_stays_within_its_budget(rule: Rule, days: int, runs: int) -> None:
    """Of unchanged flows, hours watched until the evidence is at its level for each time it was: at least the budget."""
    fired = watched = 0.0
    for seed in range(runs):
        counts = history(Scenario(0.2, base_rate=0.05, hours=24.0 * days), seed)
        seen = trace(counts, rule)
        at = first_at(seen.times_us, seen.log_e, rule.log_budget)
        fired += at is not None
        watched += (counts.watermark_us if at is None else at) / 3.6e9
    assert watched >= rule.budget_hours * fired


@pytest.mark.parametrize(("name", "scenario"), [*SPEEDS[3:], *slow_but(0, *SPEEDS[:3])])
def test_gd_02_a_flow_that_converts_later_but_as_often_stays(name: str, scenario: Scenario) -> None:
    found = simulate(scenario, RULE, 8, 13)
    assert found.rollbacks.share == 0.0, name


@pytest.mark.simulation
@pytest.mark.parametrize(("name", "scenario"), SPEEDS)
@pytest.mark.parametrize("pace", [10.0, 100.0])
def test_gd_02_equal_rates_at_any_speed_are_no_loss(name: str, scenario: Scenario, pace: float) -> None:
    found = simulate(replace(scenario, visitors_per_minute=pace), RULE, 100, 29)
    assert found.rollbacks.share <= 0.03, name


@pytest.mark.parametrize(
    ("scenario", "rule", "share", "why"),
    [
        (SLOWER, RULE, 1.0, "ten times as late, where five times is allowed"),
        (SLOWER, replace(RULE, slower_minutes=60.0), 0.0, "slower_minutes allows it"),
        (Scenario(100, drop=1.0, hours=1), RULE, 1.0, "a dead flow is down by every age"),
    ],
)
def test_gd_02_slower_than_is_allowed_is_a_loss(scenario: Scenario, rule: Rule, share: float, why: str) -> None:
    found = simulate(scenario, rule, 5, 13).rollbacks
    assert found.share == share, why
    if scenario.drop:
        assert found.median_minutes is not None and found.median_minutes <= 9.0


@pytest.mark.parametrize("delay", [0.0, 5.0])
def test_gd_03_the_curve_rises_around_the_threshold(delay: float) -> None:
    points = operating_curve(Scenario(100, delay_minutes=delay, hours=12), RULE, 4, 23)
    assert [point.drop for point in points] == list(CURVE_DROPS)
    share = {point.drop: point.share for point in points}
    assert share[0.0] == share[0.05] == 0.0 and share[0.10] <= 0.5 and share[0.30] == 1.0
    last = points[-1]
    assert last.median_minutes is not None and last.median_error is not None and 0 < last.share_error < 0.2


@pytest.mark.simulation
def test_gd_03_a_true_loss_below_the_threshold_is_mostly_left_alone() -> None:
    """It was 83 % at 14 % and at 16 % alike."""
    share = {point.drop: point.share for point in operating_curve(Scenario(100), RULE, 60, 23)}
    assert share[0.0] == 0.0 and share[0.05] <= 0.02 and share[0.10] <= 0.15 and share[0.14] <= 0.40
    assert share[0.16] >= 0.3 and share[0.20] >= 0.95 and share[0.30] == 1.0


@pytest.mark.parametrize(
    ("margin", "least", "why"),
    [(0.0, 1.0, "any harm is evidence"), (0.5, 1.0, "half the threshold is no harm"), (0.99, 0.0, "little is harm")],
)
def test_gd_03_the_margin_is_a_setting(margin: float, least: float, why: str) -> None:
    found = simulate(Scenario(100, drop=0.25, hours=6), replace(RULE, margin=margin), 4, 3)
    assert found.rollbacks.share >= least, why
    slower = simulate(Scenario(100, drop=0.25, hours=6), replace(RULE, margin=0.0), 4, 3).evidence.median_minutes
    mine = found.evidence.median_minutes
    assert slower is not None and (mine is None or mine >= slower), why


@pytest.mark.parametrize("runs", [30, *slow_but(0, 300)])
def test_gd_04_the_drop_of_an_unchanged_flow_is_none_and_its_interval_covers_it(runs: int) -> None:
    """It was 15 % at the median, because the range was the one with the most evidence."""
    verdicts = [detect(history(Scenario(10, hours=24), seed), RULE) for seed in range(runs)]
    drops = [v.estimate for v in verdicts if v.estimate is not None]
    assert len(drops) == runs and abs(float(np.median(drops))) <= 0.03
    covered = sum(v.low is not None and v.high is not None and v.low <= 0 <= v.high for v in verdicts)
    assert covered >= 0.9 * runs


@pytest.mark.parametrize(("drop", "hours", "least"), [(0.3, 3.0, 0.8), *slow_but(0, (0.5, 1.0, 0.8), (0.2, 12.0, 0.8))])
def test_gd_04_the_drop_shown_is_of_the_counts_shown(drop: float, hours: float, least: float) -> None:
    """When it is decided: of a range with its own counts, and with an interval that covers what is true."""
    runs = covered = 0
    for seed in range(20):
        counts = history(Scenario(100, drop=drop, hours=hours), seed)
        decided = decided_us(trace(counts, RULE), RULE.hold_minutes, counts.watermark_us)
        if decided is None:
            continue
        verdict = detect(until(counts, -(-decided // SLOT_US)), RULE)
        treated = verdict.range_treated_converted / verdict.range_treated
        control = verdict.range_control_converted / verdict.range_control
        assert verdict.estimate == pytest.approx(1 - treated / control, abs=0.06), "uneven blocks weigh less"
        assert verdict.low is not None and verdict.high is not None and verdict.estimate_since_us is not None
        runs += 1
        covered += verdict.low <= drop <= verdict.high
    assert runs >= 12 and covered >= least * runs


def test_gd_05_a_dead_flow_is_seen_where_others_are_blind() -> None:
    found = power_cell(0.1, 1.0, 0.0, 5).found
    assert found["GrowthBook 5 %"].share == 0.0, "no variance, no verdict"
    for name in ("ours, default", "ours, margin 0, 4 % + 1 % a day"):
        assert found[name].share == 1.0 and (found[name].median_minutes or 99) <= 60


@pytest.mark.parametrize(("base", "drop"), [(0.5, 0.3), *slow_but(0, (0.1, 0.5))])
def test_gd_05_a_break_after_a_healthy_day_is_found_sooner_than_from_a_fixed_start(base: float, drop: float) -> None:
    found = power_cell(base, drop, 12.0, 10).found
    ours, theirs = (found[name].median_minutes for name in ("ours, margin 0, 4 % + 1 % a day", "GrowthBook 5 %"))
    assert ours is not None and theirs is not None and ours < 0.8 * theirs


@pytest.mark.simulation
@pytest.mark.parametrize("base", [0.1, 0.5])
@pytest.mark.parametrize("drop", [0.2, 0.3, 0.5])
def test_gd_05_at_equal_false_rollbacks_a_break_at_the_start_is_found_as_soon(base: float, drop: float) -> None:
    """Within 1.25 times GrowthBook's sequence, without margin and at 5 % a day; the error of the medians on top."""
    found = CELL_OF_A_BREAK(base, drop, 0.0, 100).found
    ours, theirs = found["ours, margin 0, 4 % + 1 % a day"], found["GrowthBook 5 %"]
    assert ours.median_minutes is not None and theirs.median_minutes is not None and ours.median_error is not None
    assert ours.median_minutes - ours.median_error <= 1.25 * theirs.median_minutes


@pytest.mark.simulation
@pytest.mark.parametrize(
    ("base", "drop", "before"), [(0.1, 0.3, 864), (0.1, 0.5, 301), (0.5, 0.3, 172), (0.5, 0.5, 50)]
)
def test_gd_05_the_default_is_faster_than_the_hazards_were(base: float, drop: float, before: float) -> None:
    """At least 1.5 times, where the flow is broken from its start; the error of the median on top."""
    found = CELL_OF_A_BREAK(base, drop, 0.0, 100).found["ours, default"]
    assert found.median_minutes is not None and found.median_error is not None
    assert found.median_minutes - found.median_error <= before / 1.5


def test_the_boundary_of_others_is_the_published_one() -> None:
    """O'Brien and Fleming's constants for 5 looks at 5 % two-sided (2.040) and one look (1.960): tables of Jennison and
    Turnbull (2000).
    """
    assert obrien_fleming_bound(1, 0.025) == pytest.approx(1.960, abs=0.01)
    assert obrien_fleming_bound(5, 0.025) == pytest.approx(2.040, abs=0.01)


@pytest.mark.parametrize(
    ("found", "runs", "error"), [(0, 20, 0.034), (10, 20, 0.112), (20, 20, 0.034)], ids=["none", "half", "all"]
)
def test_a_share_of_few_runs_is_not_certain(found: int, runs: int, error: float) -> None:
    assert share_error(found, runs) == pytest.approx(error, abs=0.001)


def test_the_error_of_a_median_is_that_of_the_values_around_it() -> None:
    drawn = np.random.default_rng(1).normal(0.0, 1.0, (400, 101))
    errors = [median_error(row.tolist()) for row in drawn]
    spread = float(np.median(drawn, axis=1).std())
    assert np.mean([error for error in errors if error is not None]) == pytest.approx(spread, rel=0.15)
    assert median_error([1.0, 2.0, 3.0, 4.0, math.inf, math.inf, math.inf]) == 1.0, "from the side that is known"
    assert median_error([1.0, math.inf, math.inf]) is None and median_error([]) is None
