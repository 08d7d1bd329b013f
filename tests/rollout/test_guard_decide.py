"""From verdict to state: a table of what is shown and when the guard acts."""

from dataclasses import replace

import pytest

from gtm_dagster.rollout.guard.counts import Counts
from gtm_dagster.rollout.guard.decide import Signals, decide, episode_id
from gtm_dagster.rollout.guard.rule import Rule
from gtm_dagster.rollout.guard.verdict import Verdict, change_and_interval, detect

RULE = Rule()
EMPTY = detect(Counts.from_rows([], 0), RULE)
CALM = replace(EMPTY, blocks=9, log_e=1.0, estimate=0.02, supported_since_us=1, reason="calm")
NEAR = replace(CALM, log_e=RULE.log_budget * 0.8, estimate=0.3)
ABOVE = replace(CALM, log_e=RULE.log_budget + 1, estimate=0.5, above_since_us=5, above_minutes=3.0)
FIRES = replace(ABOVE, above_minutes=5.0, fires=True)
SPLIT = replace(FIRES, srm_log_e=9.0, treated_exposed=450, control_exposed=550)
SEES = Signals(watermark_us=1_000)


@pytest.mark.parametrize(
    ("stored", "verdict", "signals", "state", "act", "why"),
    [
        ("ARMED", None, SEES, "WARMUP", False, "nothing read"),
        ("ARMED", EMPTY, SEES, "WARMUP", False, "no block yet"),
        ("ARMED", CALM, SEES, "ARMED", False, "nothing seen"),
        ("ARMED", NEAR, SEES, "SUSPECT", False, "half of the evidence is shown, no more"),
        ("ARMED", ABOVE, SEES, "BREACH", False, "the hold still runs"),
        ("ARMED", FIRES, SEES, "BREACH", True, "the hold is over"),
        ("ARMED", FIRES, Signals(None), "BLIND", False, "scenario 8: no watermark"),
        ("ARMED", FIRES, Signals(1_000, ("checkout",)), "BLIND", False, "scenario 9: a producer is silent"),
        ("ARMED", FIRES, Signals(1_000, flag_enabled=False), "ARMED", False, "the flag is off already"),
        ("ARMED", FIRES, Signals(1_000, flag_enabled=True), "BREACH", True, "the flag is on"),
        ("ARMED", SPLIT, SEES, "SRM_HOLD", False, "scenario 25: the arms cannot be compared"),
        ("DISARMED", FIRES, SEES, "DISARMED", False, "a guard acts only once armed"),
        ("ROLLED_BACK", FIRES, SEES, "ROLLED_BACK", False, "latched"),
        ("SUPERSEDED", FIRES, SEES, "SUPERSEDED", False, "a person has changed the flag"),
        ("GIVEN_UP", FIRES, SEES, "GIVEN_UP", False, "a person ended it"),
        ("ROLLING_BACK", CALM, SEES, "ROLLING_BACK", True, "begun and not finished"),
        ("VERIFYING", CALM, Signals(None), "VERIFYING", True, "what was begun is finished even when blind"),
        ("ROLLBACK_FAILED", CALM, SEES, "ROLLBACK_FAILED", True, "asked again until it is off"),
    ],
)
def test_state_and_action(
    stored: str, verdict: Verdict | None, signals: Signals, state: str, act: bool, why: str
) -> None:
    decision = decide(stored, verdict, signals, RULE)
    assert (decision.state, decision.act) == (state, act), why
    assert decision.reason and decision.decided_us == signals.watermark_us


def test_the_reason_of_a_blind_guard_names_who_is_silent() -> None:
    assert "checkout, web" in decide("ARMED", CALM, Signals(1, ("checkout", "web")), RULE).reason


def test_an_episode_is_one_epoch_of_one_guard() -> None:
    names = {episode_id(guard, epoch) for guard in ("a:x:p", "b:x:p") for epoch in (1, 2)}
    assert len(names) == 4 and episode_id("a:x:p", 1) == episode_id("a:x:p", 1)


@pytest.mark.parametrize(
    ("estimate", "low", "high", "words"),
    [
        pytest.param(0.2, -0.05, 0.34, ("lost 20%", " (95 %: -5% to 34%)"), id="a loss and its range"),
        pytest.param(-0.11, -0.24, 0.01, ("gained 11%", " (95 %: -1% to 24%)"), id="a gain, and the range of the gain"),
        pytest.param(0.0, None, None, ("lost 0%", ""), id="no range"),
    ],
)
def test_the_interval_is_of_what_is_said(estimate, low, high, words) -> None:
    assert change_and_interval(estimate, low, high) == words
