"""A verdict on folded counts is the verdict on all cells, and its cost does not grow with the epoch's age."""

from __future__ import annotations

import itertools
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from acting_cases import GUARD
from hypothesis import given
from hypothesis import strategies as st
from profiles import examples
from sqlalchemy import event, text

from gtm_dagster.opsstore import OpsStore
from gtm_dagster.rollout.control.evaluation import counts_of
from gtm_dagster.rollout.control.evidence import Evidence, from_json, replay, to_json
from gtm_dagster.rollout.guard.cells import HORIZON_SLOTS
from gtm_dagster.rollout.guard.counts import SLOT_US, Counts, plan_slots
from gtm_dagster.rollout.guard.decide import ARMED, Signals, decide
from gtm_dagster.rollout.guard.guarded_traffic import observed_traffic
from gtm_dagster.rollout.guard.rule import Rule
from gtm_dagster.rollout.guard.verdict import Verdict, detect

KEY = GUARD.key
DAY = 86_400_000_000 // SLOT_US
START = 20_000 * DAY
_numbers = itertools.count()


def add(store: OpsStore, rows: list[tuple[int, str, int, int]]) -> None:
    with store.transaction() as con:
        store.add_cells(con, KEY, {(1, slot, arm, age): n for slot, arm, age, n in rows})


def fold(store: OpsStore, before_slot: int, rows: int) -> None:
    with store.transaction() as con:
        store.fold_cells(con, KEY, 1, before_slot, plan_slots(store.shares(KEY)), rows)


@st.composite
def pasts(draw: st.DrawFn) -> tuple[int, float, list[int], list[int], list[int]]:
    """Seed, days, and in slots from the start: changes of the plan, looks, and folds that ran before a look."""
    days = draw(st.floats(7.1, 16.0))
    slots = round(days * DAY)
    inside = st.integers(0, slots)
    looks = draw(st.lists(st.integers(slots // 2, slots), min_size=1, max_size=4))
    return (
        draw(st.integers(0, 9)),
        days,
        draw(st.lists(inside, max_size=3)),
        sorted(looks),
        draw(st.lists(inside, max_size=3)),
    )


def cells(seed: int, days: float) -> list[tuple[int, str, int, int]]:
    """A thin stream in bursts; the treated arm breaks for a while, so that losses begin, recover and are left behind."""
    rng = np.random.default_rng(seed)
    slots = np.unique(rng.integers(0, round(days * DAY), 700))
    broken = (slots > days * DAY * rng.uniform(0.2, 0.9)) & (rng.random(len(slots)) < 0.9)
    found = []
    for slot, down in zip(slots.tolist(), broken.tolist(), strict=True):
        for arm, rate in (("control", 0.4), ("treatment", 0.05 if down else 0.4)):
            units = int(rng.poisson(4))
            hits = rng.binomial(units, rate)
            ages = rng.integers(0, 240, hits)
            found += [(START + slot, arm, -1, units)] if units else []
            found += [(START + slot, arm, int(age), int((ages == age).sum())) for age in np.unique(ages)]
    return found


def standing(verdict: Verdict, watermark_us: int, rule: Rule) -> Any:
    return decide(ARMED, verdict, Signals(watermark_us), rule)


@examples(25)
@given(pasts(), st.integers(1, 2_000))
def test_every_look_at_folded_counts_decides_as_on_all_cells(tmp_path_factory, past, rows):
    seed, days, changes, looks, folds = past
    everything = cells(seed, days)
    with OpsStore(f"sqlite:///{tmp_path_factory.getbasetemp() / f'folded{next(_numbers)}.db'}") as store:
        for n, at in enumerate(sorted(set(changes))):
            at_us = (START + at) * SLOT_US + (7_000_000 if n % 2 else 0)  # on an edge, or within a slot
            store.see_flag(KEY, True, 0.3 + 0.1 * n, f"step {n}", at_us)
        add(store, everything)
        for look in looks:
            now = START + look
            for at in folds:
                if at <= look:
                    fold(store, START + at - HORIZON_SLOTS, rows)
            known = [row for row in everything if row[0] + max(row[2], 0) < now]
            plain = Counts.from_rows(known, now * SLOT_US)
            folded = counts_of(store, KEY, 1, now * SLOT_US)
            assert len(folded.rows()) == sum(row[0] >= now - HORIZON_SLOTS for row in known)
            for rule in (Rule(shares=tuple(store.shares(KEY))), Rule(threshold=0.3, shares=((0, 0.5),))):
                one, other = detect(plain, rule), detect(folded, rule)
                assert abs(one.log_e - other.log_e) <= 1e-12 * max(1.0, abs(one.log_e))
                assert one == other
                assert standing(one, now * SLOT_US, rule) == standing(other, now * SLOT_US, rule)
            assert observed_traffic(plain, 60.0) == observed_traffic(folded, 60.0)
            again = Counts.from_json(folded.to_json())
            assert (again.folded, again.rows()) == (folded.folded, folded.rows())


def year(store: OpsStore, days: int, ages: tuple[int, ...]) -> int:
    """An epoch of so many days, written by SQL: 100 visitors a minute, of whom one converts at each of the ages a slot."""
    end, units = START + days * DAY, 12  # an arm and slot
    values = ", ".join(f"({age})" for age in ages)
    statement = text(
        f"""WITH RECURSIVE slot(n) AS (SELECT :first UNION ALL SELECT n + 1 FROM slot WHERE n + 1 < :last),
        arm(name) AS (VALUES ('control'), ('treatment')), age(n) AS (VALUES (-1), {values})
        INSERT INTO guard_counts SELECT :guard, 1, slot.n, arm.name, CASE age.n WHEN -1 THEN -1 ELSE age.n + slot.n % 7 END,
          CASE age.n WHEN -1 THEN :units ELSE 1 END FROM slot, arm, age"""
    )
    first = end - 9 * DAY
    n = (first - START) * units
    with store.transaction() as con:
        con.execute(statement, {"first": first, "last": end, "guard": KEY, "units": units})
        for arm in ("control", "treatment"):
            con.execute(
                text("INSERT INTO guard_folded VALUES (:g, 1, 0, :a, :f, :l, :n, :c, :s)"),
                {"g": KEY, "a": arm, "f": START, "l": first - 1, "n": n, "c": n // 12, "s": 20 * (n // 12)},
            )
    return end * SLOT_US


@pytest.mark.parametrize(
    ("days", "ages"),
    [(365, (20,)), pytest.param(30, (3, 17, 41), marks=pytest.mark.slow), pytest.param(365, (3, 17, 41), marks=pytest.mark.slow)],
    ids=["a year, few cells", "30 days", "a year"],
)  # fmt: skip
def test_a_year_old_epoch_is_evaluated_on_its_last_week(tmp_path: Path, days: int, ages: tuple[int, ...]) -> None:
    with OpsStore(f"sqlite:///{tmp_path / 'ops.db'}") as store:
        now_us = year(store, days, ages)
        statements: list[str] = []
        event.listen(store._engine, "before_cursor_execute", lambda c, cur, statement, *_: statements.append(statement))
        began = time.process_time()
        counts = counts_of(store, KEY, 1, now_us)
        verdict = detect(counts, Rule())
        seconds = time.process_time() - began
        assert len([each for each in statements if "guard_" in each]) <= 6
        assert counts.exposed.shape[1] <= HORIZON_SLOTS
        assert len(counts.conv_n) <= 2 * len(ages) * HORIZON_SLOTS
        assert verdict.control_exposed == verdict.treated_exposed == days * DAY * 12
        assert seconds < 3, "a backstop for a busy machine; docs/benchmarks.md has the figures"
        document = to_json(Evidence(GUARD, Rule(), counts, verdict, "e1", 1, now_us, None))
        assert len(document) < 10_000_000
        assert replay(from_json(document)) == verdict
