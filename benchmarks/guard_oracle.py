"""How soon a break could be found at all: the guard and GrowthBook beside detectors that know what is to be found out.

Page's CUSUM of the true log likelihood ratio has the least worst-case delay of all rules with its mean time to a false
alarm (Lorden, "Procedures for reacting to a change in distribution", 1971; Moustakides, "Optimal stopping times for
detecting changes in distributions", 1986). Two of them, each told the base rate and the drop:

- "must compare" takes the two arms' rates as equal and free to move, as every guard has to that a season or a ramp does not
  fool: its null is the common rate closest to the loss in Kullback-Leibler divergence, to which both arms may have moved
  at the very moment of the break. What it cannot find sooner, no rule can that holds for every course of the base rate.
- "knows the rate" looks at the treated arm alone, against a base rate that is exact and never changes.

Their bars are drawn to 1 % and 5 % false alarms a day, from 8,000 days: to 1.0 % ± 0.1 % and 5.0 % ± 0.2 %. `python -m benchmarks.guard_oracle --runs 200`.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from functools import lru_cache

import numpy as np

from benchmarks.guard_power import DAY, LATE, NO_MARGIN, PACE, SPREAD, shown
from benchmarks.sequential_rules import Floats, Totals, growthbook_us, totals
from gtm_dagster.rollout.guard.bounds import log_e_per_visitor
from gtm_dagster.rollout.guard.counts import SLOT_US, Counts
from gtm_dagster.rollout.guard.detector import decided_us, trace
from gtm_dagster.rollout.guard.e_process import closest_null
from gtm_dagster.rollout.guard.rule import Rule
from gtm_dagster.rollout.guard.simulation import PER_HOUR, PER_MINUTE, Outcomes, Scenario, draw, outcomes

SMALL, LARGE = 0.01, 0.05
"""False alarms a day: what NO_MARGIN spends after a start, and what both rules and GrowthBook promise of the first day."""
CELLS = (*((base, drop) for base in (0.1, 0.5) for drop in (0.2, 0.3, 0.5, 1.0)), (0.02, 0.5), (0.02, 1.0))
COMPARES, KNOWS = "must compare", "knows the rate"
DRAWS, _CHUNK = 8000, 250


def _rates(base: float, drop: float, oracle: str) -> tuple[tuple[float, float, float], ...]:
    """(share of the visitors, their rate after the break, their rate under the null) of each arm that is looked at."""
    lost = base * (1 - drop)
    if oracle == KNOWS:
        return ((0.5, lost, base),)
    null = float(closest_null(0.5, 0.5, lost, base, 0.0)[1])
    return ((0.5, lost, null), (0.5, base, null))


def _log_ratio(units: Floats, converted: Floats, after: float, null: float) -> Floats:
    """The log likelihood ratio of the outcomes of each slot; a conversion in a dead flow ends all suspicion."""
    yes = math.log(after / null) if after > 0 else -1e9
    value: Floats = converted * yes + (units - converted) * (math.log1p(-after) - math.log1p(-null))
    return value


def log_ratios(units: Floats, converted: Floats, base: float, drop: float, oracle: str) -> Floats:
    """The oracle's log likelihood ratio of each slot, of arrays whose first axis is the arm, treated first."""
    rates = _rates(base, drop, oracle)
    parts = [_log_ratio(units[arm], converted[arm], after, null) for arm, (_, after, null) in enumerate(rates)]
    total: Floats = np.sum(parts, axis=0)
    return total


def cusum(steps: Floats) -> Floats:
    """Page's statistic along the last axis: the sum since its least value so far."""
    total = np.cumsum(steps, axis=-1)
    found: Floats = total - np.minimum(np.minimum.accumulate(total, axis=-1), 0.0)
    return found


def bar(base: float, drop: float, oracle: str, alpha: float, days: int = DRAWS) -> float:
    """The level that a share `alpha` of the days without a loss reach, from so many drawn days."""
    return float(np.quantile(_highest(base, drop, oracle, days), 1 - alpha))


@lru_cache
def _highest(base: float, drop: float, oracle: str, days: int) -> Floats:
    """The highest value of the statistic on each of so many days without a loss."""
    rng = np.random.default_rng(29)
    slots, highest = round(DAY * PER_HOUR), []
    for _ in range(days // _CHUNK):
        steps = np.zeros((_CHUNK, slots))
        for share, after, null in _rates(base, drop, oracle):
            pace = PACE * share / PER_MINUTE
            # Visitors who convert and those who do not are Poisson processes of their own.
            converted, others = (rng.poisson(pace * part, steps.shape) for part in (null, 1 - null))
            steps += _log_ratio(converted + others, converted, after, null)
        highest.append(cusum(steps).max(axis=1))
    return np.concatenate(highest)


def oracle_us(total: Totals, base: float, drop: float, oracle: str, alpha: float, days: int = DRAWS) -> int | None:
    """When the oracle's statistic is over its bar: end of the slot, microseconds UTC."""
    units = np.diff([total.treated, total.control], prepend=0.0)
    converted = np.diff([total.treated_converted, total.control_converted], prepend=0.0)
    found = np.flatnonzero(
        cusum(log_ratios(units, converted, base, drop, oracle)) > bar(base, drop, oracle, alpha, days)
    )
    return int(found[0] + 1) * SLOT_US if len(found) else None


def least_minutes(base: float, drop: float, alpha: float) -> float:
    """Lorden's bound in minutes for whoever must compare: ln(gamma I) / I, I nats a minute, gamma minutes to a false alarm."""
    nats = PACE * log_e_per_visitor(base, drop, 0.5).mean
    gamma = DAY * 60 / -math.log1p(-alpha)
    return math.log(gamma * nats) / nats


def _ours(rule: Rule) -> Callable[[Counts, Totals], int | None]:
    return lambda counts, _: decided_us(trace(counts, rule), rule.hold_minutes, counts.watermark_us)


def _knowing(base: float, drop: float, oracle: str, alpha: float, days: int) -> Callable[[Counts, Totals], int | None]:
    return lambda _, total: oracle_us(total, base, drop, oracle, alpha, days)


def oracle_cell(base: float, drop: float, runs: int, days: int = DRAWS, seed: int = 5) -> list[Outcomes]:
    """The guard by both rules, the oracles and GrowthBook on the same draws, which break 12 hours after the start."""
    rules = (
        _ours(NO_MARGIN), _knowing(base, drop, COMPARES, SMALL, days), _ours(SPREAD), _knowing(base, drop, COMPARES, LARGE, days),
        _knowing(base, drop, KNOWS, LARGE, days), lambda _, total: growthbook_us(total),
    )  # fmt: skip
    scenario = Scenario(PACE, base_rate=base, drop=drop, hours=LATE + DAY, drop_at_hours=LATE)
    fired: list[list[int | None]] = [[] for _ in rules]
    visitors = []
    for child in np.random.SeedSequence(seed).spawn(runs):
        counts = draw(scenario, NO_MARGIN.window_minutes, np.random.default_rng(child))
        total = totals(counts)
        for times, rule in zip(fired, rules, strict=True):
            times.append(rule(counts, total))
        visitors.append(np.append(0, np.cumsum(counts.exposed.sum(axis=0)[round(LATE * PER_HOUR) :])))
    return [outcomes(times, visitors, round(LATE * 3.6e9)) for times in fired]


def _ratio(one: Outcomes, other: Outcomes) -> str:
    """One median over the other, with a standard error that takes them for independent."""
    if not one.median_minutes or not other.median_minutes:
        return "-"
    ratio = one.median_minutes / other.median_minutes
    parts = [(each.median_error or 0.0) / (each.median_minutes or 1.0) for each in (one, other)]
    return f"{ratio:.2f} ± {ratio * math.hypot(*parts):.2f}"


def late_bounds(runs: int, days: int = DRAWS) -> None:
    """Print the median minutes from a late break to the action beside what could be reached, and their ratios."""
    print(f"\nBroken {LATE:g} h after the start, {runs} runs, bars from {days:,} days: median minutes to the action\n")
    columns = (
        "ours, 4 % + 1 % a day", "CUSUM that must compare, 1 % a day", "ln(gamma I) / I", "ours, 1 % + 4 % a day",
        "CUSUM that must compare, 5 % a day", "ln(gamma I) / I", "CUSUM that knows the rate, 5 % a day", "GrowthBook 5 %",
    )  # fmt: skip
    print("| base, drop | " + " | ".join(columns) + " |\n" + "|---" * (len(columns) + 1) + "|")
    ratios = []
    for base, drop in CELLS:
        found = oracle_cell(base, drop, runs, days)
        ours, compares, spread, compares_large, knows, growthbook = found
        cells = [shown(each, drop) for each in found]
        cells.insert(4, f"{least_minutes(base, drop, LARGE):.0f}")
        cells.insert(2, f"{least_minutes(base, drop, SMALL):.0f}")
        name = f"{base:g}, {'dead' if drop == 1 else f'{drop:.0%}'}"
        print(f"| {name} | " + " | ".join(cells) + " |", flush=True)
        pairs = (
            (ours, compares), (spread, compares_large), (ours, growthbook), (compares, growthbook), (spread, growthbook),
            (compares_large, growthbook), (knows, growthbook),
        )  # fmt: skip
        ratios.append(f"| {name} | " + " | ".join(_ratio(*pair) for pair in pairs) + " |")
    print(
        "\n| ratio of medians | ours / CUSUM, 1 % a day | ours / CUSUM, 4 and 5 % | ours, 4 % + 1 % / GrowthBook "
        "| CUSUM 1 % / GrowthBook | ours, 1 % + 4 % / GrowthBook | CUSUM 5 % / GrowthBook | knows the rate / GrowthBook |"
    )
    print("\n".join(["|---" * 8 + "|", *ratios]), flush=True)


def main() -> None:
    """Print the tables."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--runs", type=int, default=200)
    late_bounds(options.parse_args().runs)


if __name__ == "__main__":
    main()
