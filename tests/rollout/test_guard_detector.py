"""The detector on planted counts: what it sees, what it must not see, and its answer when there is nothing."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from traffic_cases import PER_MINUTE, between, drawn, steady, until

from gtm_dagster.rollout.guard.cells import age_edges, cells_of
from gtm_dagster.rollout.guard.counts import SLOT_US, Counts
from gtm_dagster.rollout.guard.detector import decided_us, trace
from gtm_dagster.rollout.guard.rule import Rule
from gtm_dagster.rollout.guard.verdict import detect
from gtm_dagster.settings import Guard

RULE = Rule()
MINUTE = 60_000_000


def minutes_to(counts: Counts, rule: Rule = RULE) -> float | None:
    fired = decided_us(trace(counts, rule), rule.hold_minutes, counts.watermark_us)
    return None if fired is None else fired / MINUTE


def rows(control: int, treated: int, control_hits: int = 0, treated_hits: int = 0, slot: int = 0) -> list:
    return [
        (slot, "control", -1, control),
        (slot, "treatment", -1, treated),
        (slot, "control", 0, control_hits),
        (slot, "treatment", 0, treated_hits),
    ]


@pytest.mark.parametrize(
    ("counted", "reason"),
    [
        ([], "no exposures counted yet"),
        (rows(100, 0, 20, 0), "no treated units yet"),
        (rows(0, 100, 0, 20), "no control units yet"),
        (rows(1, 10), "no block of both arms"),
        (rows(100, 100, 0, 0), "no control conversion"),
        (rows(100, 100, 0, 20), "no control conversion"),
        (rows(100, 100, 20, 20), "20 control conversions, none of a block whose outcome is known yet"),
    ],
)
def test_nothing_to_compare_has_a_reason_and_never_fires(counted: list, reason: str) -> None:
    verdict = detect(Counts.from_rows(counted, 60 * MINUTE), RULE)
    assert verdict.estimate is None and not verdict.fires and reason in verdict.reason
    assert verdict.log_e <= verdict.log_budget


def test_numbers_of_a_verdict() -> None:
    counts = drawn(3, per_minute=100, rate=0.2, minutes=30, treated=steady(0.4))
    verdict = detect(counts, RULE)
    assert verdict.fires and verdict.log_e > verdict.log_budget == pytest.approx(np.log(8761 / 0.99))
    assert verdict.low is not None and verdict.low < 0.6 < verdict.high
    assert verdict.estimate == pytest.approx(0.6, abs=0.1)
    exposed, hits = counts.exposed.sum(axis=1), np.bincount(counts.conv_arm, counts.conv_n)
    assert (verdict.control_exposed, verdict.treated_exposed) == tuple(exposed)
    assert (verdict.control_converted, verdict.treated_converted) == tuple(hits)
    assert "lost 57%" in verdict.reason and "min (5 needed)" in verdict.reason


def test_a_dead_flow_has_an_interval_too() -> None:
    verdict = detect(drawn(3, per_minute=100, rate=0.2, minutes=20, treated=steady(0.0)), RULE)
    assert verdict.estimate == 1.0 and verdict.high == 1.0 and verdict.low is not None and 0.9 < verdict.low < 1.0


@pytest.mark.parametrize("delay", [0.0, 10.0])
def test_the_past_is_never_judged_anew(delay: float) -> None:
    """The trace at an earlier watermark is the beginning of the later trace: no bet looks ahead."""
    counts = drawn(
        11, per_minute=30, rate=0.3, minutes=240, treated=between(0.5, 100), delay_minutes=delay, window_minutes=60
    )
    whole = trace(counts, RULE)
    for minute in (7, 60, 133, 201):
        early = trace(until(counts, minute * PER_MINUTE), RULE)
        n = len(early.times_us)
        assert n and (early.times_us == whole.times_us[:n]).all()
        assert np.allclose(early.log_e, whole.log_e[:n], rtol=0, atol=1e-9)
        assert np.allclose(early.estimate, whole.estimate[:n], equal_nan=True)
        assert (early.above == whole.above[:n]).all() and (early.lasting == whole.lasting[:n]).all()


def test_the_verdict_is_the_end_of_the_trace() -> None:
    counts = drawn(5, per_minute=50, rate=0.2, minutes=45, treated=steady(0.5))
    verdict, history = detect(counts, RULE), trace(counts, RULE)
    assert verdict.log_e == history.log_e[-1] and verdict.estimate == pytest.approx(history.estimate[-1])
    assert verdict.peak_log_e == history.log_e.max()
    assert verdict.fires == (decided_us(history, RULE.hold_minutes, counts.watermark_us) is not None)


def test_a_small_block_is_the_weighted_mean_of_its_bets() -> None:
    """One block, one age, one restart: the statistic by hand."""
    from gtm_dagster.rollout.guard.e_process import log_e_values
    from gtm_dagster.rollout.guard.log_e_path import AGE_WEIGHTS, BET_WEIGHTS, BETS

    counts = Counts.from_rows(rows(10, 8, 4, 1), SLOT_US * 6)  # one slot, and five for the treated arm
    one, rate = np.ones(1), np.full(1, 0.05)
    bets = [log_e_values(8 * one, one, 10 * one, 4 * one, rate, 1 - b * 0.925, 0.075)[0] for b in BETS]
    assert (sum(BET_WEIGHTS), sum(AGE_WEIGHTS)) == pytest.approx((1.0, 1.0)), (
        "more than one stake would break the budget"
    )
    rule = replace(RULE, slower_minutes=0)
    weight = 0.01 * (8761 / 0.99) + 0.5 + 0.5 / 12
    known, later = (
        AGE_WEIGHTS[0] * np.dot(BET_WEIGHTS, np.exp(bets)),
        sum(AGE_WEIGHTS[1:]),
    )  # of later ages: nothing yet
    assert detect(counts, rule).log_e == pytest.approx(np.log(weight * (known + later)), abs=1e-12)


@pytest.mark.parametrize("seed", range(5))
def test_scenario_14_both_arms_drop_together(seed: int) -> None:
    outage = between(0.5, 60, 240)
    counts = drawn(seed, per_minute=100, rate=0.2, minutes=360, treated=outage, control=outage)
    assert minutes_to(counts) is None


@pytest.mark.parametrize("seed", range(10))
def test_scenario_15_a_drop_of_four_minutes_is_over_before_it_counts(seed: int) -> None:
    counts = drawn(seed, per_minute=100, rate=0.2, minutes=120, treated=between(0.0, 60, 64))
    assert trace(counts, RULE).log_e.max() >= RULE.log_budget, "the evidence was there"
    assert minutes_to(counts) is None


@pytest.mark.parametrize("seed", range(5))
def test_scenarios_6_and_10_no_treated_conversion_at_all(seed: int) -> None:
    counts = drawn(seed, per_minute=100, rate=0.2, minutes=30, treated=steady(0.0))
    minutes = minutes_to(counts)
    assert minutes is not None and minutes <= 9


@pytest.mark.parametrize("seed", range(5))
def test_scenario_9_no_treated_exposures_are_no_drop(seed: int) -> None:
    counts = drawn(seed, per_minute=100, rate=0.2, minutes=60, treated=steady(1.0))
    gone = counts.exposed.copy()
    gone[1, 30 * PER_MINUTE :] = 0
    kept = (counts.conv_arm == 0) | (counts.conv_slot < 30 * PER_MINUTE)
    silent = replace(
        counts, exposed=gone, conv_slot=counts.conv_slot[kept], conv_age=counts.conv_age[kept],
        conv_arm=counts.conv_arm[kept], conv_n=counts.conv_n[kept],
    )  # fmt: skip
    assert minutes_to(silent) is None and detect(silent, RULE).log_e < RULE.log_suspicion


def test_the_hold_is_counted_on_the_stream() -> None:
    """A watermark that stands still holds every timer; one that moves on carries them."""
    rule = replace(RULE, hold_minutes=30, slower_minutes=0)
    counts = drawn(2, per_minute=100, rate=0.2, minutes=60, treated=steady(0.1))
    history = trace(counts, rule)
    begun = int(history.times_us[np.flatnonzero(history.above)[0]])
    early = until(counts, begun // SLOT_US)
    verdict = detect(early, rule)
    assert verdict.above_since_us is not None and not verdict.fires
    later = detect(replace(early, watermark_us=verdict.above_since_us + 30 * MINUTE), rule)
    assert later.fires and later.above_minutes == 30.0


@pytest.mark.parametrize(
    ("hold", "slower", "expected", "why"),
    [
        (0.0, 5.0, "proof", "the proof alone"),
        (5.0, 5.0, "proof", "the loss has lasted while its slower conversions were waited for"),
        (20.0, 5.0, 20.5, "so long after the loss began to show"),
        (5.0, 0.0, 5.5, "proven at once, and held"),
    ],
)
def test_a_loss_is_proven_and_lasts(hold: float, slower: float, expected: float | str, why: str) -> None:
    counts = drawn(2, per_minute=100, rate=0.2, minutes=60, treated=steady(0.05))
    rule = replace(RULE, slower_minutes=slower)
    at_once, after_hold = (minutes_to(counts, replace(rule, hold_minutes=minutes)) for minutes in (0.0, hold))
    assert after_hold == pytest.approx(at_once if expected == "proof" else expected, abs=0.3), why


@pytest.mark.parametrize(
    ("share", "actual", "broken"), [(0.5, 0.5, False), (0.5, 0.45, True), (0.1, 0.1, False), (None, 0.3, False)]
)
def test_scenario_25_a_split_that_is_not_the_planned_one(share: float | None, actual: float, broken: bool) -> None:
    counts = drawn(1, per_minute=100, rate=0.2, minutes=60, treated=steady(0.8), share=actual)
    rule = Rule.of(Guard("f", "c", treated_share=share))
    assert (detect(counts, rule).srm_log_e > np.log(1000)) == broken


def test_a_ramp_is_no_broken_split_when_the_plan_tells_its_steps() -> None:
    first = drawn(1, per_minute=100, rate=0.2, minutes=60, treated=steady(1.0), share=0.1)
    then = drawn(2, per_minute=100, rate=0.2, minutes=60, treated=steady(1.0), share=0.5)
    exposed = np.concatenate([first.exposed, then.exposed], axis=1)
    counts = replace(first, exposed=exposed, watermark_us=120 * MINUTE)
    steps = ((0, 0.1), (60 * MINUTE, 0.5))
    assert detect(counts, replace(RULE, shares=steps)).srm_log_e < 0
    assert detect(counts, replace(RULE, shares=((0, 0.1),))).srm_log_e > 100


def test_guards_of_one_flag_share_its_budget() -> None:
    one, two = Rule.of(Guard("f", "c")), Rule.of(Guard("f", "c"), sharing=2)
    assert two.budget_hours == 2 * one.budget_hours and two.log_budget > one.log_budget


@pytest.mark.parametrize(
    ("window", "edges"),
    [
        (1, [0, 1, 2, 4]),
        (0.1, [0, 1]),
        (60, [0, 1, 2, 4, 8, 12, 16, 20, 24, 32, 40, 48, 60, 80, 100, 120, 160, 200, 240]),
    ],
)
def test_age_bins_end_with_the_window(window: float, edges: list[int]) -> None:
    assert age_edges(window).tolist() == edges


def blocks_of(exposed: list[tuple[int, int]]) -> list[tuple[int, int, int]]:
    """(slot of completion, control, treated) of each block of these (control, treated) units a slot."""
    arms = ("control", "treatment")
    counted = [(slot, arm, -1, n) for slot, units in enumerate(exposed) for arm, n in zip(arms, units, strict=True)]
    cells = cells_of(Counts.from_rows(counted, 400 * SLOT_US), 0.25, 0.0)
    first = cells.age == 0
    return list(zip(cells.end_slot[first], cells.control[first], cells.treated[first], strict=True))


@pytest.mark.parametrize(
    ("exposed", "blocks", "why"),
    [
        ([(1, 1)] * 3, [(1, 1)] * 3, "even: nothing to gain by waiting"),
        ([(2, 0), (0, 1), (0, 1)], [(2, 2)], "the arms come in turns"),
        ([(3, 1)] * 5, [], "uneven beside the half that is expected before any traffic"),
        ([(3, 1)] * 7, [(18, 6), (3, 1)], "the traffic's own share has been learned"),
        ([(400, 400), (30, 4), (30, 4)], [(400, 400), (60, 8)], "the share has changed, and both arms hold enough"),
        ([(300, 100), (3, 1)], [(300, 100), (3, 1)], "as uneven as the traffic so far"),
        ([(300, 100), (2, 2), (4, 0)], [(300, 100), (6, 2)], "even, where the traffic so far is not, would leave uneven ones"),
        ([(50, 0), (0, 5)], [], "one in ten, where half was expected"),
        ([(0, 0), (40, 0)], [], "one arm alone never closes"),
    ],
)  # fmt: skip
def test_a_block_closes_when_it_is_even_or_large_enough(exposed: list, blocks: list, why: str) -> None:
    assert [sizes for _, *sizes in blocks_of(exposed)] == [list(sizes) for sizes in blocks], why


@given(st.lists(st.tuples(st.integers(0, 12), st.integers(0, 12)), min_size=1, max_size=60), st.integers(0, 60))
def test_blocks_are_cut_without_a_look_ahead(exposed: list, until_slot: int) -> None:
    """What comes later moves no earlier block, and no unit lies in two of them."""
    whole, early = blocks_of(exposed), blocks_of(exposed[:until_slot])
    assert whole[: len(early)] == early
    for arm in (0, 1):
        assert sum(block[1 + arm] for block in whole) <= sum(slot[arm] for slot in exposed)


def test_cohorts_older_than_a_week_are_left_out() -> None:
    week = 7 * 24 * 60 * 60 * 1_000_000
    counted = rows(50, 50, 20, 0) + rows(50, 50, 10, 10, slot=week // SLOT_US + 100)
    assert detect(Counts.from_rows(counted, week + 600 * SLOT_US), RULE).estimate == pytest.approx(0.0)
