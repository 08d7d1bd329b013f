"""GD-19: what a drill reports is of one clock each, and of the moment of the rule, not of the look that found it."""

from __future__ import annotations

import hashlib

import pytest

from gtm_dagster.demo.drill_result import DrillResult, drill_lines, first_decided_us
from gtm_dagster.opsstore import OpsStore, RollbackRow
from gtm_dagster.rollout.control.evidence import Evidence, to_json
from gtm_dagster.rollout.guard.counts import SLOT_US, Counts
from gtm_dagster.rollout.guard.rule import Rule
from gtm_dagster.rollout.guard.verdict import detect
from gtm_dagster.settings import DRILL_GUARD, Settings

MINUTE = 60_000_000
BREAK = 12
RESULT = DrillResult("e1", 0.6, 6000, 6.0, 0.58, 11.0, 2.0, 3.0, 4.0, True, 0, 30.0)


def past(minutes: int) -> Counts:
    """400 visitors a minute, every second one pays at once; from minute 12 on no treated one does."""
    slots = minutes * 4
    exposures = [(slot, arm, -1, 50) for slot in range(slots) for arm in ("control", "treatment")]
    paid = [
        (slot, arm, 0, 25)
        for slot in range(slots)
        for arm in ("control", "treatment")
        if arm == "control" or slot < BREAK * 4
    ]
    return Counts.from_rows([*exposures, *paid], slots * SLOT_US)


def recorded(tmp_path, minutes: int) -> RollbackRow:
    """The record of a look that comes at the end of the past."""
    counts, rule = past(minutes), Rule.of(DRILL_GUARD)
    evidence = Evidence(DRILL_GUARD, rule, counts, detect(counts, rule), "e1", 1, counts.watermark_us, None)
    text = to_json(evidence)
    with OpsStore.of(Settings(state_dir=tmp_path)) as store:
        store.insert_rollback(
            episode="e1", guard=DRILL_GUARD.key, flag="f", environment="e", provider="p", epoch=1, bundle=text,
            decided_us=counts.watermark_us, intent_us=1,
        )  # fmt: skip
        row = store.rollback("e1")
    assert row is not None and row.bundle_sha256 == hashlib.sha256(text.encode()).hexdigest()
    return row


def test_gd_19_the_decision_is_the_moment_of_the_rule_however_late_the_guard_looks(tmp_path) -> None:
    soon, late = recorded(tmp_path / "soon", 24), recorded(tmp_path / "late", 32)
    assert first_decided_us(soon) == first_decided_us(late)
    assert 5.0 <= first_decided_us(late) / MINUTE - BREAK < 10.0, "the hold of five minutes is in it"
    assert late.decided_us == 32 * MINUTE, "the record keeps the watermark of the look"


def test_gd_19_a_rule_that_never_held_is_dated_by_the_look(tmp_path) -> None:
    assert first_decided_us(recorded(tmp_path, BREAK)) == BREAK * MINUTE


@pytest.mark.parametrize(
    ("clock", "unit"), [("by the events' times", " min"), ("by this machine's clock", " s")], ids=["events", "machine"]
)
def test_gd_19_each_figure_stands_below_the_clock_it_is_of(clock: str, unit: str) -> None:
    lines = drill_lines(RESULT)
    at = next(index for index, line in enumerate(lines) if line.startswith(clock))
    figures = [line for line in lines[at + 1 : at + 4] if line.startswith("  ")]
    assert figures and unit in figures[0]
    assert len([line for line in lines if line.startswith("  ")]) == 4
