"""What is counted, case by case; and that order, splits, repetition and restarts change nothing."""

from __future__ import annotations

import random
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from profiles import examples
from stream_cases import (
    DAY,
    GUARD,
    HOUR,
    KEY,
    MINUTE,
    NOON,
    WINDOW,
    C,
    Deployment,
    T,
    cell,
    changed,
    conversion,
    exposure,
    record,
    reference,
    traffic,
)

from gtm_dagster.rollout.guard.counts import SLOT_US, Counts, count_units
from gtm_dagster.settings import Guard
from gtm_dagster.stream.guard_counts import epoch_of

SHOWN = cell(NOON, T)
LATER = NOON + 5 * MINUTE


@pytest.mark.parametrize(
    ("records", "expected", "reason"),
    [
        ([exposure("u", T, NOON)], [SHOWN], "an exposure"),
        ([exposure("u", T, NOON), exposure("u", T, LATER)], [SHOWN], "the first of two"),
        ([exposure("u", T, LATER), exposure("u", C, NOON)], [cell(NOON, C)], "the first by event time, and its arm"),
        ([exposure("u", T, NOON), exposure("u", C, LATER)], [SHOWN], "seen in both arms: the first holds"),
        ([exposure("u", T, NOON), exposure("u", C, NOON)], [cell(NOON, C)], "both at once: control"),
        ([exposure("u", T, NOON, reason=None)], [SHOWN], "no reason told"),
        ([exposure("u", T, NOON, reason="STATIC")], [], "no lot was drawn"),
        ([exposure("u", T, NOON, reason="TIMEOUT")], [], "served for another reason"),
        ([exposure("u", T, NOON, flag="another")], [], "another flag"),
        ([exposure("u", "green", NOON)], [], "an arm of another experiment"),
        ([exposure(None, T, NOON, anonymous_id="a")], [SHOWN], "an anonymous unit"),
        ([exposure("u", T, NOON - 1)], [], "before the epoch"),
        ([record("flag_exposed", NOON, "u", None)], [], "no flag told"),
        ([changed(exposure("u", T, NOON), properties=None) ], [], "no properties"),
        ([exposure("u", T, NOON, verdict="quarantined")], [], "refused at the edge"),
        ([exposure("u", T, NOON, verdict="suppressed", reason_codes="consent")], [], "suppressed"),
        ([exposure("u", T, NOON, verdict="suppressed", reason_codes="drill")], [SHOWN], "traffic of a drill"),
        ([exposure("u", T, NOON, received_us=NOON + DAY)], [SHOWN], "a day late"),
        ([exposure("u", T, NOON, received_us=NOON + DAY + 1)], [], "later than a day"),
        ([exposure("u", T, NOON), conversion("u", NOON)], [SHOWN, cell(NOON, T, 0)], "converted at once"),
        ([exposure("u", T, NOON), conversion("u", LATER)], [SHOWN, cell(NOON, T, 5 * MINUTE)], "converted later"),
        ([exposure("u", T, NOON), conversion("u", NOON + WINDOW)], [SHOWN, cell(NOON, T, WINDOW - 1)], "the window's last moment"),
        ([exposure("u", T, NOON), conversion("u", NOON + WINDOW + 1)], [SHOWN], "after the window"),
        ([exposure("u", T, NOON), conversion("u", NOON - 1)], [SHOWN], "before the exposure"),
        ([exposure("u", T, NOON), conversion("u", LATER, "signup_completed")], [SHOWN], "another conversion"),
        ([exposure("u", T, NOON), conversion("v", LATER)], [SHOWN], "somebody else's"),
        ([conversion("u", LATER), exposure("u", T, NOON)], [SHOWN, cell(NOON, T, 5 * MINUTE)], "heard of before the exposure"),
        ([exposure("u", T, NOON), conversion("u", LATER), conversion("u", NOON + MINUTE)], [SHOWN, cell(NOON, T, MINUTE)], "the first of two"),
        ([exposure("u", T, NOON + MINUTE), conversion("u", LATER), exposure("u", C, NOON)], [cell(NOON, C), cell(NOON, C, 5 * MINUTE)], "the exposure moves, and its conversion with it"),
        ([exposure("u", T, LATER), conversion("u", NOON + 12 * MINUTE), exposure("u", C, NOON)], [cell(NOON, C)], "moved out of its window"),
        ([exposure("u", T, LATER), conversion("u", NOON + MINUTE), exposure("u", C, NOON)], [cell(NOON, C), cell(NOON, C, MINUTE)], "moved into a window"),
        ([exposure(None, T, NOON, anonymous_id="a"), conversion("u", LATER, anonymous_id="a")], [SHOWN, cell(NOON, T, 5 * MINUTE)], "converted after signing in"),
        ([exposure("u", T, NOON, anonymous_id="a"), conversion(None, LATER, anonymous_id="a")], [SHOWN], "the unit is the user"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("one_by_one", [False, True])
def test_what_counts(here, records, expected, reason, one_by_one):
    if one_by_one:
        for each in records:
            here.count([each])
    assert here.count([] if one_by_one else records) == sorted(expected), reason


def test_scenario_27_retries_and_many_sessions_count_once(here):
    expected = here.count([exposure("u", T, NOON), conversion("u", LATER)])
    again = [exposure("u", T, NOON + n * MINUTE, session_id=f"s{n}") for n in range(1, 5)]
    again += [conversion("u", LATER, event_id=f"retry{n}") for n in range(4)] + [conversion("u", LATER + MINUTE)]
    assert here.count(again) == expected == [SHOWN, cell(NOON, T, 5 * MINUTE)]


def test_scenario_26_a_clock_ten_minutes_ahead_is_taken_at_its_receipt(tmp_path):
    """One producer's clock runs 10 min ahead; its events arrive within a second of happening."""
    true, skewed = [], []
    for n, each in enumerate(traffic(1)):
        late = {"received_us": each.event_us + 1_000_000}
        true.append(each)
        skewed.append(changed(each, event_us=each.event_us + (10 * MINUTE if n % 2 else 0), **late))
    clean, counted = Deployment(tmp_path / "clean"), Deployment(tmp_path / "skewed")
    expected, told = clean.count(true), counted.count(skewed)
    exposed = [sum(n for _, arm, age, n in rows if arm == T and age == -1) for rows in (expected, told)]
    assert exposed[0] == exposed[1]
    slots = [[slot for slot, _, age, n in rows if age == -1 for _ in range(n)] for rows in (expected, told)]
    assert all(abs(a - b) <= 1 for a, b in zip(*map(sorted, slots), strict=True)), "no slot moves by more than one"
    converted = [sum(n for _, _, age, n in rows if age != -1) for rows in (expected, told)]
    assert abs(converted[0] - converted[1]) <= 2
    for each in (clean, counted):
        each.close()


def test_scenario_26_late_duplicate_and_out_of_order_events_count_as_a_clean_replay(tmp_path):
    tidy = traffic(2)
    rng = random.Random(3)
    messy = [changed(each, received_us=each.event_us + rng.randrange(3 * HOUR)) for each in tidy]
    messy += [changed(each, event_id=f"again{n}") for n, each in enumerate(messy[::3])]
    messy.append(
        record("flag_exposed", NOON, "u0", {"flag": "checkout", "variant": T}, verdict="quarantined", event_us=None)
    )
    rng.shuffle(messy)
    clean, late = Deployment(tmp_path / "clean"), Deployment(tmp_path / "late")
    expected = clean.count(tidy)
    for at in range(0, len(messy), 37):
        late.count(messy[at : at + 37])
    assert late.counts() == expected
    for each in (clean, late):
        each.close()


units = st.sampled_from(["u", "v", "w", None])
moments = st.integers(0, 30 * MINUTE // 7).map(lambda n: NOON - 2 * MINUTE + 7 * n)
delays = st.one_of(st.integers(-HOUR, DAY), st.just(DAY + 1))


@st.composite
def histories(draw):
    """Records of a few units around two epochs, late by up to a day and ahead by up to an hour."""
    records = []
    for _ in range(draw(st.integers(0, 14))):
        user, anonymous = draw(units), draw(units)
        if user is None and anonymous is None:
            user = "u"
        at_us = draw(moments)
        told = {"anonymous_id": anonymous, "received_us": at_us + draw(delays)}
        if draw(st.booleans()):
            records.append(conversion(user, at_us, **told))
        else:
            records.append(
                exposure(
                    user,
                    draw(st.sampled_from((C, T))),
                    at_us,
                    reason=draw(st.sampled_from((None, "SPLIT", "STALE"))),
                    **told,
                )
            )
    return records


@examples(60, deadline=None)
@given(records=histories(), data=st.data())
def test_any_order_split_repetition_and_restart_counts_the_same(records, data):
    order = data.draw(st.permutations(records))
    order = sorted(order, key=lambda each: each.received_us // DAY)  # a log is in order of receipt, roughly
    parts = data.draw(st.lists(st.integers(1, 5), max_size=6))
    second = NOON + 9 * MINUTE
    rearmed_after = data.draw(st.integers(0, len(parts)))
    with tempfile.TemporaryDirectory() as folder:
        here = Deployment(Path(folder))
        at = 0
        for number, size in enumerate(parts):
            if number == rearmed_after:
                here.arm(second)
            here.append(order[at : at + size])
            here.worker(batch=data.draw(st.sampled_from((1, 3, 100)))).once()
            at += size
            if data.draw(st.booleans()):  # as after losing the last transactions: everything is read again
                here.rewind(
                    {
                        name: data.draw(st.integers(0, min(3, here.log.last_seq())))
                        for name in ("stream", f"guard:{KEY}")
                    }
                )
        if rearmed_after == len(parts):
            here.arm(second)
        here.append(order[at:])
        here.worker().once()
        assert here.counts(1) == reference(records, NOON, second)
        assert here.counts(2) == reference(records, second)
        here.close()


@examples(25, deadline=None)
@given(records=histories())
def test_counts_are_those_of_the_whole_history_at_once(records):
    """`count_units` counts a history in memory (backtests); the worker counts it as it comes."""
    known = [each for each in records if each.received_us - each.event_us <= DAY]
    shown, converted = [], []
    for each in known:
        at_us = min(each.event_us, each.received_us)
        if each.event_name == "payment_completed":
            converted += [(unit, at_us) for unit in (each.user_id, each.anonymous_id) if unit]
        elif "STALE" not in each.properties and at_us >= NOON:
            shown.append((each.user_id or each.anonymous_id, int(T in each.properties), at_us))
    with tempfile.TemporaryDirectory() as folder:
        here = Deployment(Path(folder))
        counts = here.count(records)
        here.close()
    whole = count_units(shown, converted, WINDOW, NOON + DAY)
    assert Counts.from_rows(counts, NOON + DAY).rows() == whole.rows()


def test_conversions_are_forgotten_once_no_exposure_can_come_before_them(here):
    here.count([exposure("u", T, NOON), conversion("u", LATER), conversion("nobody", LATER)])
    day_later = NOON + DAY + 2 * HOUR
    here.count([exposure("v", C, day_later), conversion("u", day_later)])
    with here.store.reading() as con:
        assert here.store.conversions(con, KEY, ["u", "nobody"]) == {"u": [day_later]}
    here.count([conversion("u", day_later + MINUTE)])
    assert here.counts() == sorted([SHOWN, cell(NOON, T, 5 * MINUTE), cell(day_later, C)]), "what was counted stays"


@pytest.mark.parametrize(("at_us", "epoch"), [(99, None), (100, 1), (199, 1), (200, 2), (10**18, 2)])
def test_an_event_belongs_to_the_last_epoch_that_has_begun(at_us, epoch):
    assert epoch_of([(1, 100), (2, 200)], at_us) == epoch


def test_scenario_24_a_new_epoch_counts_anew_and_late_events_go_to_the_old_one(here):
    second = NOON + 20 * MINUTE
    told = [exposure("u", T, NOON), conversion("u", LATER), exposure("u", T, second), conversion("u", second + MINUTE)]
    here.count([*told, exposure("z", C, second)])
    here.arm(second)
    again = [cell(second, C), cell(second, T), cell(second, T, MINUTE)]
    assert here.count() == again, "the same unit again, old evidence left behind"
    late = [exposure("late", C, NOON + MINUTE), exposure("z", T, NOON + MINUTE)]
    here.count([*late, exposure("w", C, second + MINUTE)])
    assert here.counts(1) == sorted([SHOWN, cell(NOON, T, 5 * MINUTE), cell(NOON + MINUTE, C), cell(NOON + MINUTE, T)])
    assert here.counts(2) == sorted([*again, cell(second + MINUTE, C)])


def test_guards_of_one_flag_count_each_its_conversion(tmp_path):
    other = Guard("checkout", "signup_completed", conversion_window_minutes=1)
    here = Deployment(tmp_path, GUARD, other)
    here.count(
        [exposure("u", T, NOON), conversion("u", LATER), conversion("u", NOON + 30 * 1_000_000, "signup_completed")]
    )
    assert here.counts() == [SHOWN, cell(NOON, T, 5 * MINUTE)]
    assert here.counts(guard=other) == [SHOWN, (NOON // SLOT_US, T, 30_000_000 // SLOT_US, 1)]
    here.close()
