"""What the guard costs in visitors: to the information bound, beside the naive rule, and in CPU time a look.

`python -m benchmarks.guard --runs 200` prints the tables of docs/benchmarks.md. The bound is the number of visitors any
test needs on average for the same promise against the same hypothesis: log(level) over the divergence per visitor.
"""

from __future__ import annotations

import argparse
import math
import time

import numpy as np

from gtm_dagster.rollout.guard.bounds import visitors_needed
from gtm_dagster.rollout.guard.cells import cells_of
from gtm_dagster.rollout.guard.counts import SLOT_US
from gtm_dagster.rollout.guard.detector import trace
from gtm_dagster.rollout.guard.log_e_path import BET_WEIGHTS, log_e_path
from gtm_dagster.rollout.guard.rule import Rule
from gtm_dagster.rollout.guard.simulation import Scenario, draw, first_at, simulate
from gtm_dagster.rollout.guard.verdict import detect

PACE, BASE = 10.0, 0.2


def delays(runs: int) -> None:
    """Median visitors to the evidence, over the bound."""
    rule, log_100 = Rule(), math.log(100)
    print(
        "| drop | fixed budget (alpha 1 %) | over the bound | yearly budget | over the bound, same level | bound at alpha 1 %, no margin |"
    )
    print("|---|---|---|---|---|---|")
    for drop in (0.3, 0.5, 0.7, 0.9):
        bound = visitors_needed(BASE, drop, 0.5, 1.0, rule.margin)
        hours = min(20 * bound / PACE / 60 + 2, 160)
        fixed, yearly = [], []
        for child in np.random.SeedSequence(3).spawn(runs):
            counts = draw(
                Scenario(PACE, base_rate=BASE, drop=drop, hours=hours),
                rule.window_minutes,
                np.random.default_rng(child),
            )
            seen = np.append(0, np.cumsum(counts.exposed.sum(axis=0)))
            told = trace(counts, rule)
            # One e-process from the first exposure on: a promise a rollout, not an hour.
            path = log_e_path(cells_of(counts, rule.window_minutes), rule.margin)
            alone = np.logaddexp.reduce(path.bets[:, 1:] + np.log(BET_WEIGHTS)[:, None], axis=0)
            for held, at in (
                (fixed, first_at(path.slots * SLOT_US, alone, log_100)),
                (yearly, first_at(told.times_us, told.log_e, rule.log_budget)),
            ):
                held.append(math.inf if at is None else float(seen[min(at // SLOT_US, len(seen) - 1)]))
        at_fixed, at_yearly = float(np.median(fixed)), float(np.median(yearly))
        print(
            f"| {drop:.0%} | {at_fixed:,.0f} | {at_fixed / (bound * log_100):.2f} | {at_yearly:,.0f} | "
            f"{at_yearly / (bound * rule.log_budget):.2f} | {visitors_needed(BASE, drop, 0.5, log_100):,.0f} |"
        )


def quiet(runs: int) -> None:
    """Share of unchanged flows rolled back within a day."""
    print("\n| visitors a minute | base rate | guard | naive rule | naive rule, 30 an arm |\n|---|---|---|---|---|")
    for pace in (1, 10, 100):
        for rate in (0.1, 0.2, 0.5):
            told = simulate(Scenario(pace, base_rate=rate), Rule(), runs, 7, naive=True)
            assert told.naive and told.naive_30
            print(
                f"| {pace} | {rate:.0%} | {told.rollbacks.share:.1%} | {told.naive.share:.0%} | {told.naive_30.share:.0%} |"
            )
    for season in (-0.3, 0.3):
        told = simulate(
            Scenario(100, split=0.02, ramp=((8, 0.1), (12, 0.5)), season=season), Rule(), runs, 7, naive=True
        )
        assert told.naive and told.naive_30
        print(
            f"| 100, ramp 2-10-50 %, season {season:+.0%} | 20% | {told.rollbacks.share:.1%} | {told.naive.share:.0%} | {told.naive_30.share:.0%} |"
        )


def broken(runs: int) -> None:
    """Minutes to the rollback, the hold of five minutes included."""
    print("\n| flow (base 20 %, 50/50) | median | 90 % within | rolled back |\n|---|---|---|---|")
    for name, scenario in (
        ("dead, 100 a minute", Scenario(100, drop=1.0, hours=1)),
        ("drop 90 %, 100 a minute", Scenario(100, drop=0.9, hours=1)),
        ("drop 50 %, 100 a minute", Scenario(100, drop=0.5, hours=3)),
        ("drop 30 %, 100 a minute", Scenario(100, drop=0.3, hours=8)),
        ("drop 50 %, 10 a minute", Scenario(10, drop=0.5, hours=24)),
        ("drop 90 %, 1 a minute", Scenario(1, drop=0.9, hours=48)),
        ("drop 50 % after 24 healthy hours, 100 a minute", Scenario(100, drop=0.5, hours=27, drop_at_hours=24)),
        ("the same, 24.5 h (mid-hour)", Scenario(100, drop=0.5, hours=27, drop_at_hours=24.5)),
        ("drop 50 %, conversions 10 min late, 100 a minute", Scenario(100, drop=0.5, hours=4, delay_minutes=10)),
        ("drop 10 % for a day, 100 a minute", Scenario(100, drop=0.1, hours=24)),
    ):
        told = simulate(scenario, Rule(), runs, 11).rollbacks
        shown = ["-" if value is None else f"{value:.1f} min" for value in (told.median_minutes, told.p90_minutes)]
        print(f"| {name} | {shown[0]} | {shown[1]} | {told.share:.1%} |")


def cost() -> None:
    """CPU seconds of one look."""
    print("\n| history | CPU a look |\n|---|---|")
    for pace, days in ((10, 1), (100, 1), (100, 7)):
        counts = draw(Scenario(pace, hours=24 * days, delay_minutes=5), 60, np.random.default_rng(1))
        begun = time.process_time()
        detect(counts, Rule())
        print(f"| {days} d at {pace} a minute | {time.process_time() - begun:.3f} s |")


def main() -> None:
    """Print the tables."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--runs", type=int, default=200)
    runs = options.parse_args().runs
    delays(20 * runs)  # a median of 200 moves by 5 %
    quiet(runs)
    broken(runs)
    cost()


if __name__ == "__main__":
    main()
