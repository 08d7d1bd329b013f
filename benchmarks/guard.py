"""The guard on drawn traffic: false rollbacks, detection, power beside the rules of others, its curve, and CPU a look.

`python -m benchmarks.guard` prints the tables of docs/benchmarks.md and docs/guard.md; `--quick` the same in a few CPU
minutes with a tenth of the runs, `--long` with more epochs of a year. Every share and median stands with its standard
error, which says how much a run of either kind is worth.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import numpy as np

from benchmarks.guard_metrics import detection, false_rollbacks
from benchmarks.guard_nulls import long_epochs, mix_shift, nulls, speeds
from benchmarks.guard_oracle import DRAWS, late_bounds
from benchmarks.guard_power import power
from gtm_dagster.rollout.guard.detector import trace
from gtm_dagster.rollout.guard.operating_curve import operating_curve
from gtm_dagster.rollout.guard.rule import Rule
from gtm_dagster.rollout.guard.simulation import Scenario, draw, simulate
from gtm_dagster.rollout.guard.verdict import detect

BROKEN = (
    ("dead, 100 a minute", Scenario(100, drop=1.0, hours=1)),
    ("drop 90 %, 100 a minute", Scenario(100, drop=0.9, hours=1)),
    ("drop 50 %, 100 a minute", Scenario(100, drop=0.5, hours=3)),
    ("drop 30 %, 100 a minute", Scenario(100, drop=0.3, hours=8)),
    ("drop 50 %, 10 a minute", Scenario(10, drop=0.5, hours=24)),
    ("drop 90 %, 1 a minute", Scenario(1, drop=0.9, hours=48)),
    ("dead after 24 healthy hours, 100 a minute", Scenario(100, drop=1.0, hours=27, drop_at_hours=24)),
    ("drop 50 % after 24 healthy hours, 100 a minute", Scenario(100, drop=0.5, hours=27, drop_at_hours=24)),
    ("the same, 24.5 h (mid-hour)", Scenario(100, drop=0.5, hours=27, drop_at_hours=24.5)),
    ("drop 50 %, conversions 10 min late, 100 a minute", Scenario(100, drop=0.5, hours=6, delay_minutes=10)),
    (
        "the same after 4 healthy hours",
        Scenario(100, drop=0.5, hours=10, drop_at_hours=4, delay_minutes=10),
    ),
    ("drop 10 % for a day, 100 a minute", Scenario(100, drop=0.1, hours=24)),
)


def broken(runs: int) -> None:
    """Minutes to the rollback, the hold of five minutes included."""
    print("\n| flow (base 20 %, 50/50) | median | 90 % within | rolled back |\n|---|---|---|---|")
    for name, scenario in BROKEN:
        found = simulate(scenario, Rule(), runs, 11).rollbacks
        median = "-" if found.median_minutes is None else f"{found.median_minutes:.1f} ± {found.median_error:.1f}"
        last = "-" if found.p90_minutes is None else f"{found.p90_minutes:.1f}"
        print(f"| {name} | {median} | {last} | {found.share:.1%} ± {found.share_error:.1%} |", flush=True)


def curve(runs: int) -> None:
    """The operating curve at the default rule: three traffics, a day each."""
    for pace in (10, 100, 1000):
        print(f"\n| true drop, {pace} a minute, base 20 % | rolled back in 24 h | median minutes |\n|---|---|---|")
        for point in operating_curve(Scenario(pace), Rule(), runs, 23):
            median = "-" if point.median_minutes is None else f"{point.median_minutes:.0f} ± {point.median_error:.0f}"
            print(f"| {point.drop:.0%} | {point.share:.1%} ± {point.share_error:.1%} | {median} |", flush=True)


def cost() -> None:
    """CPU seconds of one look, and of a year of history evaluated moment by moment."""
    print("\n| history | CPU a look |\n|---|---|")
    for pace, days in ((10, 1), (100, 1), (100, 7)):
        counts = draw(Scenario(pace, hours=24 * days, delay_minutes=5), 60, np.random.default_rng(1))
        begun = time.process_time()
        detect(counts, Rule())
        print(f"| {days} d at {pace} a minute | {time.process_time() - begun:.3f} s |")
    counts = draw(Scenario(0.2, base_rate=0.05, hours=24 * 365), 60, np.random.default_rng(1))
    begun = time.process_time()
    trace(counts, Rule())
    print(f"| 365 d at 0.2 a minute, every moment of it | {time.process_time() - begun:.1f} s |")


def main() -> None:
    """Print the tables, and the CPU seconds of each group."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--runs", type=int, default=100)
    options.add_argument("--mix-runs", type=int, default=1000, help="days with a shifting mix of visitors")
    options.add_argument("--quick", action="store_true", help="10 runs, 100 of the shifting mix, bars from 2,000 days")
    options.add_argument("--long", action="store_true", help="as many epochs of a year as of 30 days")
    given = options.parse_args()
    runs, mix_runs, days = (10, 100, DRAWS // 4) if given.quick else (given.runs, given.mix_runs, DRAWS)
    groups: tuple[tuple[str, Callable[[], None]], ...] = (
        ("power", lambda: power(runs)),
        ("bounds", lambda: late_bounds(2 * runs, days)),
        ("unchanged flows", lambda: nulls(runs)),
        ("speeds", lambda: speeds(runs)),
        ("mix shift", lambda: mix_shift(mix_runs)),
        ("long epochs", lambda: long_epochs(runs, runs if given.long else max(runs // 10, 1))),
        ("breaks", lambda: broken(runs)),
        ("curve", lambda: curve(runs)),
        ("metrics, harms", lambda: detection(runs)),
        ("metrics, nothing differs", lambda: false_rollbacks(runs)),
        ("cost", cost),
    )
    for name, group in groups:
        begun = time.process_time()
        group()
        print(f"\n({name}: {time.process_time() - begun:.0f} CPU s)", flush=True)


if __name__ == "__main__":
    main()
