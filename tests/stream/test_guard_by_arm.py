"""GD-06, GD-13: bots never count, what was refused is counted by arm, and refusals of one arm hold decisions. Live and past."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
import pytest
from stream_cases import GUARD, HOUR, KEY, MINUTE, NOON, C, Deployment, T, changed, conversion, exposure, record

from gtm_dagster.eventlog import Record
from gtm_dagster.opsstore import ProducerRow
from gtm_dagster.rollout.control.backtest import backtest
from gtm_dagster.rollout.control.evaluation import evaluate
from gtm_dagster.rollout.control.past_counts import read_past_counts
from gtm_dagster.rollout.guard.blindness import CONVERSIONS, EXPOSURES, REFUSED
from gtm_dagster.rollout.guard.by_arm import BOTS, COUNTED, ByArm, arm_record, lopsided
from gtm_dagster.rollout.guard.rule import Rule
from gtm_dagster.settings import Settings

SETTINGS = msgspec.structs.replace(Settings(), guards=(GUARD,))
END = NOON + HOUR + 11 * MINUTE
UNITS = 2400


def visits() -> list[tuple[str, str, int]]:
    """(unit, arm, exposed_us), both arms in turn over an hour."""
    return [(f"u{n}", (C, T)[n % 2], NOON + n * HOUR // UNITS) for n in range(UNITS)]


def refused(each: Record, reasons: str = "unknown_property", **fields: Any) -> Record:
    """The record as the door stores it when it breaks the plan: pseudonyms of its person, no time, no properties."""
    raw = json.dumps({"event_name": each.event_name, "properties": json.loads(each.properties)})
    return changed(each, verdict="quarantined", reason_codes=reasons, raw=raw, event_us=None, properties=None, **fields)


def paying(treated: float, lost_treated: float = 0.0, lost_control: float = 0.0, rate: float = 0.4) -> list[Record]:
    """Exposures and payments: the control pays at `rate`, the treated arm at `treated` of it; of those who pay, shares lost."""
    records = []
    for n, (unit, arm, at_us) in enumerate(visits()):
        records.append(exposure(unit, arm, at_us))
        pays, lost = (rate, lost_control) if arm == C else (rate * treated, lost_treated)
        if (n // 2 * 7919) % 1000 < pays * 1000:
            paid = conversion(unit, at_us + MINUTE)
            records.append(refused(paid) if (n // 2 * 104_729) % 1000 < lost * 1000 else paid)
    return records


def at(n: int) -> int:
    return NOON + n * HOUR // 500


def decided(here: Deployment, records: Iterable[Record]) -> Any:
    here.count(records, batch=500)
    with here.store.transaction() as con:
        here.store.set_producers(con, [ProducerRow("collector", END, END)])
    return evaluate(here.store, SETTINGS, GUARD, here.store.guard(KEY), END)


def bots(arm: str, n: int, pay: bool = False) -> list[Record]:
    made = [exposure(f"bot{i}", arm, at(i), bot_reason="Googlebot") for i in range(n)]
    return made + [conversion(f"bot{i}", at(i), bot_reason="Googlebot") for i in range(n) if pay]


HEALTHY, DEAD = 1.0, 0.0
CASES: Sequence[tuple[list[Record], str, bool, str, str]] = [
    (paying(HEALTHY), "ARMED", False, "", "nothing refused"),
    (paying(DEAD), "BREACH", True, "", "a dead flow"),
    (paying(HEALTHY, lost_treated=0.6), "BLIND", False, "payment_completed of", "so many that the arm does not matter"),
    ([*paying(HEALTHY, lost_treated=0.1), *(conversion(f"other{n}", at(n)) for n in range(400))], "BLIND", False, "which alone looks like a drop of", "few of all, many of one arm"),
    ([*paying(DEAD, lost_control=0.08), *(conversion(f"other{n}", at(n)) for n in range(400))], "BREACH", True, "payment_completed refused: control", "of the control alone: they hide a loss and invent none"),
    ([*paying(HEALTHY), *(refused(exposure(f"x{n}", T, at(5 * n))) for n in range(100))], "BLIND", False, "of the exposures", "exposures of one arm are refused"),
    ([*paying(HEALTHY), *(refused(exposure(f"x{n}", (C, T)[n % 2], at(5 * n))) for n in range(100))], "ARMED", False, "exposures refused: control 50, treated 50", "of both alike: said"),
    ([*paying(HEALTHY), *(refused(exposure(f"x{n}", T, at(5 * n)), write_key="web", key_role="client") for n in range(100))], "ARMED", False, "", "of a client key: nobody holds a guard from outside"),
    ([*paying(HEALTHY), *bots(T, 600)], "ARMED", False, "", "GD-06: bots of one arm that never pay"),
    ([*paying(DEAD), *bots(T, 500, pay=True)], "BREACH", True, "", "bots that pay hide no loss"),
    ([*paying(HEALTHY), *(refused(conversion(f"u{2 * n + 1}", at(n), bot_reason="Googlebot")) for n in range(400))], "ARMED", False, "", "what bots send wrongly holds nobody"),
]  # fmt: skip


@pytest.mark.parametrize(("records", "state", "acts", "words", "reason"), CASES, ids=[case[-1] for case in CASES])
def test_what_does_not_count_is_counted_by_arm(here, records, state, acts, words, reason):
    decision = decided(here, records).decision
    assert (decision.state, decision.act) == (state, acts), (reason, decision.reason)
    assert words in decision.reason, decision.reason


@pytest.mark.parametrize(("records", "state", "acts", "words", "reason"), CASES, ids=[case[-1] for case in CASES])
def test_a_past_is_held_as_the_live_guard(here, tmp_path, records, state, acts, words, reason):
    here.append([*records, exposure("last", C, END)])
    here.log.close()
    past = read_past_counts(msgspec.structs.replace(SETTINGS, state_dir=tmp_path), GUARD.flag, GUARD.conversion, 10)
    result = backtest(past, Rule(10, slower_minutes=5), event=GUARD.conversion)
    assert result.would_roll_back is (None if state == "BLIND" else acts), (reason, result.reason)
    assert words in result.reason or words in result.refused
    assert bool(result.bots) is any(each.bot_reason for each in records)


def test_by_arm_live_and_past_are_the_same_numbers(here, tmp_path):
    records = [
        *paying(0.9, lost_treated=0.1, lost_control=0.05), *bots(T, 30, pay=True), *bots(C, 10),
        refused(conversion("nobody", at(1))), conversion("nobody", at(2), bot_reason="Googlebot"),
        record("user_identified", at(3), "ana", anonymous_id="u1"), refused(conversion("ana", at(4))),
        conversion("u3", at(5), bot_reason="Googlebot"),
    ]  # fmt: skip
    here.count(records, batch=300)
    live = ByArm.of(here.store.records(KEY, 0))
    here.log.close()
    past = read_past_counts(msgspec.structs.replace(SETTINGS, state_dir=tmp_path), GUARD.flag, GUARD.conversion, 10)
    assert dict(live.records) == dict(past.by_arm.records)
    assert live.pair(BOTS, EXPOSURES) == (10, 30) and live.total(BOTS, CONVERSIONS) == 32
    assert live.pair(BOTS, CONVERSIONS) == (0, 1), "a bot is no unit: its arm is known where a person has its id"
    assert live.total(REFUSED, CONVERSIONS) - sum(live.pair(REFUSED, CONVERSIONS)) == 1, "whose exposure nobody saw"
    assert live.pair(REFUSED, CONVERSIONS)[1] > 40 > live.pair(REFUSED, CONVERSIONS)[0] > 10


@pytest.mark.parametrize(
    ("refused_pair", "counted", "threshold", "held", "why"),
    [
        ((0, 9), (100, 91), 0.15, False, "nine are too few"),
        ((0, 10), (100, 90), 0.15, True, "a tenth of one arm: more than half of the threshold"),
        ((0, 10), (100, 190), 0.15, False, "a twentieth: below half of the threshold"),
        ((0, 10), (100, 190), 0.1, True, "a twentieth where a tenth is rolled back"),
        ((10, 20), (90, 180), 0.15, False, "of both alike"),
        ((20, 0), (80, 100), 0.15, False, "of the control alone"),
        ((10, 10), (0, 90), 0.15, False, "nothing of the control counted"),
        ((0, 0), (0, 0), 0.15, False, "nothing at all"),
    ],
)  # fmt: skip
def test_refused_conversions_hold_from_half_of_the_threshold_on(refused_pair, counted, threshold, held, why):
    pairs = {REFUSED: refused_pair, COUNTED: counted}
    seen = ByArm({arm_record(kind, CONVERSIONS, arm): n for kind, pair in pairs.items() for arm, n in zip((C, T), pair, strict=True)})  # fmt: skip
    assert bool(lopsided("paid", {"of the last hour": seen}, threshold)) is held, why
