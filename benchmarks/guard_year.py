"""A guard that has been armed for a year: what one look reads and costs, and how large the evidence of a rollback is.

`python -m benchmarks.guard_year` writes the cells of 365 days at 100 visitors a minute (base rate 20 %, mean delay 5 minutes)
into an ops store of its own, folds them as the stream worker does, and looks. Limits: a look below 1 s, evidence below 3 MB.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections import Counter
from pathlib import Path

import msgspec
import numpy as np

from gtm_dagster.opsstore import OpsStore, ProducerRow
from gtm_dagster.opsstore.unit_counts import Cell
from gtm_dagster.rollout.control.evaluation import Evaluation, evaluate
from gtm_dagster.rollout.control.evidence import Evidence, to_json
from gtm_dagster.rollout.guard.cells import DAY_SLOTS, HORIZON_SLOTS
from gtm_dagster.rollout.guard.counts import SLOT_US, plan_slots
from gtm_dagster.settings import Guard, Settings

LOOK_SECONDS, BUNDLE_MB = 1.0, 3.0
GUARD = Guard("checkout-v2", "payment_completed")
_START = 20_000 * DAY_SLOTS
_ROWS = 1_000_000
_SLOT_MINUTES = SLOT_US / 60e6


def cells_of_day(day: int, pace: float, rng: np.random.Generator) -> Counter[Cell]:
    """The cells of one day: exposures and conversions of both arms by slot."""
    found: Counter[Cell] = Counter()
    slots = _START + day * DAY_SLOTS + np.arange(DAY_SLOTS)
    for arm in ("control", "treatment"):
        shown = rng.poisson(pace * _SLOT_MINUTES / 2, DAY_SLOTS)
        found.update({(1, int(slot), arm, -1): int(n) for slot, n in zip(slots, shown, strict=True) if n})
        at = np.repeat(slots, rng.binomial(shown, 0.2))
        ages = np.minimum(rng.exponential(5.0, len(at)) / _SLOT_MINUTES, 59 / _SLOT_MINUTES).astype(int)
        found.update((1, int(slot), arm, int(age)) for slot, age in zip(at, ages, strict=True))
    return found


def armed(store: OpsStore, days: int, pace: float) -> int:
    """Write and fold the days of an armed guard; returns the watermark. Days that are folded anyway have thinner traffic."""
    since_us = _START * SLOT_US
    store.ensure(GUARD.key, GUARD.flag, GUARD.conversion, GUARD.environment)
    row = store.guard(GUARD.key)
    assert row is not None
    store.new_epoch(
        GUARD.key, row.version, since_us, actor="benchmark", reason="armed", fingerprint=None, at_us=since_us
    )
    rng, watermark_us = np.random.default_rng(7), (_START + days * DAY_SLOTS) * SLOT_US
    recent = days - HORIZON_SLOTS // DAY_SLOTS - 2
    for day in range(days):
        with store.transaction() as con:
            store.add_cells(con, GUARD.key, cells_of_day(day, pace if day >= recent else pace / 50, rng))
            before = _START + (day + 1) * DAY_SLOTS - HORIZON_SLOTS
            store.fold_cells(con, GUARD.key, 1, before, plan_slots(store.shares(GUARD.key)), _ROWS)
    with store.transaction() as con:
        store.set_producers(con, [ProducerRow("collector", watermark_us, watermark_us)])
    return watermark_us


def bundle(seen: Evaluation) -> str:
    """The evidence document of a rollback decided by this look."""
    return to_json(Evidence(GUARD, seen.rule, seen.counts, seen.verdict, "0" * 16, 1, seen.counts.watermark_us, None))


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--days", type=int, nargs="+", default=[7, 365])
    parser.add_argument("--pace", type=float, default=100.0, help="visitors a minute")
    parser.add_argument("--looks", type=int, default=5)
    given = parser.parse_args()
    settings = msgspec.structs.replace(Settings(), guards=(GUARD,))
    print("| age of the epoch | cells | wall a look | CPU a look | evidence |\n|---|---|---|---|---|")
    for days in given.days:
        with tempfile.TemporaryDirectory() as folder, OpsStore(f"sqlite:///{Path(folder) / 'ops.db'}") as store:
            now_us = armed(store, days, given.pace)
            row, walls, processor = store.guard(GUARD.key), [], []
            assert row is not None
            for _ in range(given.looks):
                began, cpu = time.perf_counter(), time.process_time()
                seen = evaluate(store, settings, GUARD, row, now_us)
                walls.append(time.perf_counter() - began)
                processor.append(time.process_time() - cpu)
            size = len(bundle(seen).encode()) / 1e6
            print(
                f"| {days} days | {len(store.counts(GUARD.key, 1)):,} | {np.median(walls):.2f} s | "
                f"{np.median(processor):.2f} s | {size:.2f} MB |",
                flush=True,
            )
            if np.median(processor) >= LOOK_SECONDS or size >= BUNDLE_MB:
                raise SystemExit(f"over the limit: {LOOK_SECONDS:g} s a look, {BUNDLE_MB:g} MB of evidence")


if __name__ == "__main__":
    main()
