"""What is counted has its end, and no count changes by it: units are pruned, cells folded, earlier epochs forgotten."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path
from typing import Any

import msgspec
import pytest
from sqlalchemy import func, select
from stream_cases import DAY, GUARD, HOUR, KEY, MINUTE, NOON, C, Deployment, T, cell, conversion, exposure, reference

from gtm_dagster.opsstore import OpsStore, ProducerRow, ops_tables
from gtm_dagster.opsstore.folded_counts import KNOWN_DAYS, fingerprint
from gtm_dagster.rollout.control.evaluation import counts_of
from gtm_dagster.rollout.guard.counts import SLOT_US, Counts
from gtm_dagster.rollout.guard.rule import Rule
from gtm_dagster.rollout.guard.verdict import detect
from gtm_dagster.settings import Guard
from gtm_dagster.stream import guard_pruning
from gtm_dagster.stream.guard_events import events_by_guard


@pytest.fixture
def rows_of_a_slice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard_pruning, "ROWS", 7)


def size(store: OpsStore, name: str, key: str = KEY) -> int:
    table = getattr(ops_tables, name)
    with store.reading() as con:
        return con.execute(select(func.count()).select_from(table).where(table.c.guard == key)).scalar_one()


def totals(counts: Counts) -> tuple[Any, ...]:
    return counts.first_slot, counts.exposed_by_arm(), counts.converted_by_arm()


def batches_of_one(here: Deployment, at_us: int, batches: int) -> None:
    for _ in range(batches):
        here.append([exposure(None, C, at_us)])
    here.worker(batch=1).once()


def days_of_traffic(seed: int, days: int, units_a_day: int = 12) -> list[Any]:
    """Tidy events, by receipt; some come late, some come twice, and half of the visitors come back every day."""
    rng, records = random.Random(seed), []
    arms = {n: rng.choice((C, T)) for n in range(units_a_day * (days + 1))}
    for day in range(days):
        for n in range(day * units_a_day // 2, (day + 2) * units_a_day // 2):
            at_us = NOON + day * DAY + rng.randrange(DAY)
            late_us = rng.choice((0, 0, 0, 5 * MINUTE, 23 * HOUR))
            records.append(exposure(f"u{n}", arms[n], at_us, received_us=at_us + late_us))
            if rng.random() < 0.4:
                paid_us = at_us + rng.randrange(9 * MINUTE)
                records.append(conversion(f"u{n}", paid_us, received_us=paid_us + late_us))
    records.sort(key=lambda each: each.received_us)
    return records


@pytest.mark.parametrize("seed", [1, 2])
def test_counts_after_pruning_are_those_of_the_definition(here, rows_of_a_slice, seed):
    records = days_of_traffic(seed, 13)
    for at in range(0, len(records), 70):
        here.append(records[at : at + 70])
        here.worker(batch=20).once()
        watermark = records[min(at + 69, len(records) - 1)].received_us
        known = reference(records[: at + 70], NOON)
        now = watermark // SLOT_US
        plain = Counts.from_rows([row for row in known if row[0] + max(row[2], 0) < now], watermark)
        folded = counts_of(here.store, KEY, 1, watermark)
        assert totals(folded) == totals(plain)
        assert detect(folded, Rule(window_minutes=10)) == detect(plain, Rule(window_minutes=10))
    last = records[-1].received_us + 11 * MINUTE
    batches_of_one(here, last, 60)  # the slices that are still to do
    assert totals(counts_of(here.store, KEY, 1, watermark)) == totals(plain)
    assert size(here.store, "guard_units") <= 3 * 12 and size(here.store, "guard_conversions") <= 3 * 12
    assert size(here.store, "guard_folded") == 2
    assert {slot for slot, *_ in here.counts()} <= set(range(now - 9 * DAY // SLOT_US, now + 1))


def test_a_visitor_who_comes_back_counts_once_although_the_unit_is_pruned(here):
    here.count([exposure("ana", T, NOON)])
    for day in range(1, 12):
        here.count([exposure("ana", T, NOON + day * DAY), exposure(f"o{day}", C, NOON + day * DAY)])
        if day == 3:
            with here.store.reading() as con:
                assert here.store.units(con, KEY, ["ana"]) == []
    counts = counts_of(here.store, KEY, 1, NOON + 12 * DAY)
    assert counts.exposed_by_arm() == (11, 1)


def test_who_stayed_away_for_longer_than_a_cohort_is_evaluated_is_forgotten_and_counts_anew(here):
    here.count([exposure("ana", T, NOON)])
    for day in (2, 3 + KNOWN_DAYS, 4 + KNOWN_DAYS):
        here.count([exposure(f"o{day}", C, NOON + day * DAY)])
    assert size(here.store, "guard_units_known") < 3
    here.count([exposure("ana", T, NOON + (5 + KNOWN_DAYS) * DAY)])
    assert counts_of(here.store, KEY, 1, NOON + (6 + KNOWN_DAYS) * DAY).exposed_by_arm() == (3, 2)


def test_counting_the_log_again_after_pruning_changes_nothing(here):
    records = days_of_traffic(3, 5)
    here.count(records, batch=20)
    here.count([exposure("last", C, NOON + 6 * DAY)])
    before, units = here.tables(), size(here.store, "guard_units")
    assert units < 20, "pruned"
    here.rewind({"stream": 0, f"guard:{KEY}": 0})
    here.worker(batch=20).once()
    assert here.tables() == before


def test_nothing_is_pruned_that_the_watermark_has_not_passed(here):
    here.count([exposure("ana", T, NOON)])
    with here.store.transaction() as con:
        here.store.set_producers(con, [ProducerRow("slow", NOON + HOUR, NOON + 20 * DAY)])
    with here.store.reading() as con:
        watched = here.store.watermark_us(GUARD.flag)
    assert watched == NOON + HOUR
    guard_pruning.GuardPruning(here.store)
    with here.store.transaction() as con:
        guard_pruning.GuardPruning(here.store).after_batch(con, GUARD, [(1, NOON)], NOON + 20 * DAY, [KEY])
    assert (size(here.store, "guard_units"), here.counts()) == (1, [cell(NOON, T)])


def test_an_epoch_that_another_one_followed_days_ago_is_forgotten(here):
    here.count([exposure("ana", T, NOON), conversion("ana", NOON + MINUTE)])
    here.arm(NOON + HOUR)
    here.count([exposure("ana", C, NOON + 2 * HOUR)])
    assert here.counts(epoch=1) != []
    here.count([exposure("bo", C, NOON + 3 * DAY)])
    assert here.counts(epoch=1) == []
    assert counts_of(here.store, KEY, 2, NOON + 4 * DAY).exposed_by_arm() == (2, 0)


def test_cells_of_a_store_from_before_are_folded_slice_by_slice(here, rows_of_a_slice):
    here.count([])
    first = NOON // SLOT_US - 300 * DAY // SLOT_US
    old = {(1, first + n, arm, age): 2 for n in range(20) for arm in (C, T) for age in (-1, 3)}
    with here.store.transaction() as con:
        here.store.add_cells(con, KEY, old)
    expected = totals(counts_of(here.store, KEY, 1, NOON))
    assert expected == (first, (40, 40), (40, 40)), "evaluated at once, folded or not"
    here.count([exposure(None, C, NOON + 3 * DAY)])
    assert size(here.store, "guard_counts") == 76, "one slice: whole slots, about so many rows"
    batches_of_one(here, NOON + 3 * DAY, 25)
    assert (size(here.store, "guard_counts"), size(here.store, "guard_folded")) == (0, 2)
    assert totals(counts_of(here.store, KEY, 1, NOON)) == expected


def test_a_guard_that_is_not_declared_any_more_is_forgotten_after_a_month(tmp_path: Path):
    other = Guard("search", "payment_completed", conversion_window_minutes=10)
    here = Deployment(tmp_path, GUARD, other)
    here.count([exposure("ana", T, NOON), exposure("ana", T, NOON, flag="search"), conversion("ana", NOON + MINUTE)])
    here.guards = (GUARD,)
    for day, kept in ((20, True), (40, False), (41, False)):
        here.count([exposure(f"o{day}", C, NOON + day * DAY)])
        assert (size(here.store, "guard_units", other.key) == 1) == kept
    assert set(here.store.guard_progress()) == {KEY}
    assert f"guard:{other.key}" not in here.store.positions()
    assert here.store.guard(other.key) is not None and here.store.history(other.key) != [], "its history stays"
    here.close()


def test_only_the_shares_since_the_epoch_began_are_kept(here):
    for n, at_us in enumerate((NOON - 3 * DAY, NOON - 2 * DAY, NOON + DAY)):
        here.store.see_flag(KEY, True, 0.1 * (n + 1), str(n), at_us)
    here.count([exposure("ana", C, NOON + 3 * DAY)])
    assert [since_us for since_us, _ in here.store.shares(KEY)] == [NOON - 2 * DAY, NOON + DAY]


def test_fingerprints_fit_a_column_and_differ():
    marks = Counter(fingerprint(f"u{n}") for n in range(10_000))
    assert len(marks) == 10_000 and all(-(2**63) <= mark < 2**63 for mark in marks)


# Whom a guard believes

ACCEPTED = ("accepted", None, None, None)
BELIEVED = [
    ((), "shop", None, True, "a server key"),
    ((), "web", "client", False, "a client key ships in pages: anybody has it"),
    (("web",), "web", "client", True, "a client key that the guard names"),
    (("app",), "web", "client", False, "another one is named"),
    (("web",), "shop", None, True, "naming client keys takes nothing from server keys"),
    ((), "shop", "server", True, "a role that is spelt out"),
]


@pytest.mark.parametrize(("names", "key", "role", "counts", "reason"), BELIEVED, ids=[row[-1] for row in BELIEVED])
def test_a_guard_believes_server_keys_and_those_it_names(names, key, role, counts, reason):
    guard = msgspec.structs.replace(GUARD, write_keys=names)
    properties = '{"flag": "checkout", "variant": "treatment", "reason": "SPLIT"}'
    rows = [
        ("flag_exposed", NOON, NOON, "ana", None, properties, key, role, *ACCEPTED),
        ("payment_completed", NOON, NOON, "ana", None, "{}", key, role, *ACCEPTED),
        ("payment_completed", NOON, NOON + 2 * DAY, "ana", None, "{}", key, role, *ACCEPTED),
        ("flag_exposed", NOON, NOON, "bo", None, '{"flag": "other"}', key, role, *ACCEPTED),
    ]
    events = events_by_guard(rows, [guard])[KEY]
    assert (len(events.exposures), len(events.conversions), len(events.left_out)) == (
        (1, 1, 0) if counts else (0, 0, 2)
    )


def test_what_is_left_out_is_counted_by_epoch(here):
    from gtm_dagster.stream.guard_counts import count
    from gtm_dagster.stream.guard_events import GuardEvents

    with here.store.transaction() as con:
        count(
            here.store,
            con,
            GUARD,
            [(1, NOON), (2, NOON + HOUR)],
            GuardEvents([], [], [NOON - 1, NOON, NOON + HOUR, NOON + HOUR]),
        )
        count(here.store, con, GUARD, [(1, NOON), (2, NOON + HOUR)], GuardEvents([], [], [NOON + 1]))
    assert (here.store.left_out(KEY, 1), here.store.left_out(KEY, 2)) == (2, 2)
    assert here.counts() == []
