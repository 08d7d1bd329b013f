"""The loop of the guard: when the next run of an episode is asked for, and when people are."""

from __future__ import annotations

import pytest

from gtm_dagster.opsstore import GuardRow
from gtm_dagster.orchestration.guard_loop import (
    RECORD_ATTEMPTS,
    Attempt,
    cursor_of,
    episode_of,
    next_attempt,
    occurrences_of,
    page_of,
    record_is_missing,
    rollback_request,
)
from gtm_dagster.rollout.guard.decide import (
    ARMED,
    BLIND,
    BREACH,
    DISARMED,
    GIVEN_UP,
    ROLLBACK_FAILED,
    ROLLED_BACK,
    ROLLING_BACK,
    SRM_HOLD,
    SUPERSEDED,
    Decision,
    episode_id,
)
from gtm_dagster.settings import Guard

OLD, NEXT = "the episode of before", episode_id("g", 3)


def _failed(runs: int, ended: float) -> list[Attempt]:
    return [Attempt(f"run{i}", True, ended) for i in range(runs)]


@pytest.mark.parametrize(
    ("runs", "expected"),
    [
        ([], 1),
        ([Attempt("run0", False, None)], "run run0 is under way"),
        ([Attempt("run0", True, 996.0)], "run run0 failed; attempt 2 in 1 s"),
        ([Attempt("run0", True, 995.0)], 2),
        ([Attempt("run0", False, 994.0)], 2),
        ([Attempt("run1", True, 881.0), Attempt("run0", True, 0.0)], "run run1 failed; attempt 3 in 1 s"),
        ([Attempt("run1", True, 880.0), Attempt("run0", True, 0.0)], 3),
        (_failed(3, 761.0), "run run0 failed; attempt 4 in 1 s"),
        (_failed(4, 521.0), "run run0 failed; attempt 5 in 1 s"),
        (_failed(5, 101.0), "run run0 failed; attempt 6 in 1 s"),
        (_failed(2_000, 101.0), "run run0 failed; attempt 2001 in 1 s"),
        (_failed(2_000, 100.0), 2_001),
        ([Attempt("run9", True, 995.0), Attempt("run8", False, 0.0), *_failed(8, 0.0)], 11),
        ([Attempt("run9", False, 941.0), *_failed(8, 0.0)], "run run9 ended; attempt 10 in 1 s"),
    ],
    ids=[
        "first",
        "in flight",
        "5 s",
        "after 5 s",
        "a withdrawn run",
        "2 min",
        "after 2 min",
        "4 min",
        "8 min",
        "15 min",
        "never more",
        "after 15 min",
        "failed anew",
        "withdrawn runs wait a minute at most",
    ],
)
def test_the_next_attempt_waits_longer_each_time(runs, expected):
    assert next_attempt(runs, 1000.0) == expected


@pytest.mark.parametrize(
    ("before", "state", "after", "paged"),
    [
        ({}, BLIND, {"g": (BLIND, 200_000_000, False)}, False),
        ({"g": (BLIND, 80_000_001, False)}, BLIND, {"g": (BLIND, 80_000_001, False)}, False),
        ({"g": (BLIND, 80_000_000, False)}, BLIND, {"g": (BLIND, 80_000_000, True)}, True),
        ({"g": (BLIND, 80_000_000, True)}, BLIND, {"g": (BLIND, 80_000_000, True)}, False),
        ({"g": (BLIND, 0, True)}, SRM_HOLD, {"g": (SRM_HOLD, 200_000_000, False)}, False),
        ({"g": (BLIND, 0, True), "h": (BLIND, 1, True)}, BREACH, {"h": (BLIND, 1, True)}, False),
    ],
    ids=["first seen", "not two minutes yet", "two minutes", "once", "another state is another occurrence", "over"],
)
def test_a_guard_that_cannot_judge_is_one_page_an_occurrence(before, state, after, paged):
    occurrences, request = page_of(before, "g", Decision(state, False, "why", 1), 200_000_000)
    assert occurrences == after
    assert (request is not None) == paged
    if request is not None:
        assert request.run_key == "page-g-BLIND-80000000" and request.job_name == "page_guard"


@pytest.mark.parametrize(
    ("stored", "episode", "shown", "act", "expected"),
    [
        pytest.param(ARMED, None, BREACH, True, NEXT, id="a breach begins the episode of its epoch"),
        pytest.param(ARMED, OLD, BREACH, True, NEXT, id="the episode of an earlier epoch is over"),
        pytest.param(ARMED, None, BREACH, False, None, id="a breach that has not lasted"),
        pytest.param(ARMED, OLD, BLIND, False, None, id="blind"),
        pytest.param(DISARMED, OLD, DISARMED, False, None, id="not armed"),
        pytest.param(SUPERSEDED, OLD, SUPERSEDED, False, None, id="somebody changed the flag"),
        pytest.param(GIVEN_UP, OLD, GIVEN_UP, False, None, id="a person gave it up"),
        pytest.param(ROLLING_BACK, OLD, ROLLING_BACK, True, OLD, id="under way, also one begun by hand"),
        pytest.param(ROLLBACK_FAILED, OLD, ROLLBACK_FAILED, True, OLD, id="failed"),
        pytest.param(ROLLED_BACK, OLD, ROLLED_BACK, False, OLD, id="latched: its record may be missing"),
    ],
)
def test_which_episode_may_need_a_run(stored, episode, shown, act, expected):
    row = GuardRow(
        guard="g", flag="f", conversion="c", environment="production", state=stored, version=7, epoch=3,
        epoch_since_us=0, episode=episode, fingerprint=None, changed_us=0, actor="", reason="",
    )  # fmt: skip
    assert episode_of("g", row, Decision(shown, act, "why", 1)) == expected


@pytest.mark.parametrize(
    ("runs", "expected"),
    [
        pytest.param([], False, id="turned off by a command, without a run"),
        pytest.param([Attempt("run0", False, 1.0)], False, id="recorded"),
        pytest.param([Attempt("run0", True, 1.0)], True, id="the run that latched it failed"),
        pytest.param([Attempt("run1", False, 2.0), Attempt("run0", True, 1.0)], False, id="recorded by the second run"),
        pytest.param([Attempt("run0", True, 1.0)] * (RECORD_ATTEMPTS - 1), True, id="one more"),
        pytest.param([Attempt("run0", True, 1.0)] * RECORD_ATTEMPTS, False, id="often enough: the flag is off"),
    ],
)
def test_a_latched_episode_without_a_record_is_asked_again_a_few_times(runs, expected):
    assert record_is_missing(runs) is expected


def test_a_request_names_its_attempt_and_jumps_the_queue():
    request = rollback_request(Guard("f", "c"), NEXT, 2, 5)
    assert request.run_key == f"{NEXT}-2" and request.job_name == "rollback_flag"
    key = Guard("f", "c").key
    assert request.run_config["ops"]["claim"]["config"] == {
        "guard": key, "episode": NEXT, "attempt": 2, "decided_us": 5,
    }  # fmt: skip
    assert request.tags == {
        "dagster/priority": "100", "dagster/max_retries": "0", "gtm/guard": key, "gtm/flag": "f", "gtm/episode": NEXT,
    }  # fmt: skip


def test_a_cursor_comes_back_as_it_was():
    occurrences = {"g": (BLIND, 80_000_000, True), "h": (SRM_HOLD, 1, False)}
    assert occurrences_of(cursor_of(occurrences)) == occurrences
