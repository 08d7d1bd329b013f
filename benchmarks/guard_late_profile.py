"""What keeps the guard from half of GrowthBook's time for a break 12 hours after the start: one handicap after the other.

Shiryaev and Roberts' statistic of the true likelihood ratio has the least mean delay of all rules with its mean time to a
false alarm, for a break long after the start (Pollak and Tartakovsky, "Optimality properties of the Shiryaev-Roberts
procedure", 2009). Told the base rate and the drop, and stopped where the guard is, it is what the guard's budget can reach;
then the start takes its stake, the drop is not told, and at last it is the guard itself. All on the same draws.

`python -m benchmarks.guard_late_profile --runs 400`.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from math import exp

import numpy as np
from numpy.typing import NDArray

from benchmarks.guard_oracle import COMPARES, LARGE, bar, log_ratios
from benchmarks.guard_power import DAY, LATE, PACE, SPREAD
from benchmarks.sequential_rules import Floats, Totals, growthbook_us, totals
from gtm_dagster.rollout.guard.counts import SLOT_US
from gtm_dagster.rollout.guard.detector import decided_us, trace
from gtm_dagster.rollout.guard.e_process import closest_null
from gtm_dagster.rollout.guard.log_e_path import BET_WEIGHTS, BETS
from gtm_dagster.rollout.guard.rule import Rule
from gtm_dagster.rollout.guard.simulation import PER_HOUR, PER_MINUTE, Scenario, draw, median_error

CELLS = ((0.1, 0.2), (0.1, 0.3), (0.1, 0.5))
NO_START = Rule(margin=0.0, start_risk=0.0, budget_hours=480.0)
"""All of the 5 % a day for breaks after the start."""
OTHER_STAKES = (0.6, 0.25, 0.15)
"""More on the smallest of the three losses, less on a dead flow."""
LANES, HOURS = 150, 1200
_HIGHEST = 1e12

Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class Detector:
    """A sum over restarts in every slot of bets on `drops` with `stakes`, stopped at the level of `rule`; CUSUM without a rule."""

    name: str
    drops: tuple[float, ...]
    stakes: tuple[float, ...]
    rule: Rule | None

    def alarms(self, units: Floats, converted: Floats, base: float, at_start: bool = True, days: int = 8000) -> Bools:
        """(slots, runs): the moments at which it is at its level; it begins anew after each. Arrays are (2, slots, runs)."""
        ratios = [log_ratios(units, converted, base, drop, COMPARES) for drop in self.drops]
        found = np.zeros(units.shape[1:], bool)
        if self.rule is None:
            level, suspicion = bar(base, self.drops[0], COMPARES, LARGE, days), np.zeros(units.shape[2])
            for slot, steps in enumerate(ratios[0]):
                suspicion = np.maximum(suspicion + steps, 0.0)
                found[slot] = suspicion > level
                suspicion[found[slot]] = 0.0
            return found
        stakes = np.array(self.stakes)[:, None]
        evidence = stakes * np.full(units.shape[2], self.rule.start_hours if at_start else 0.0)
        for slot, e_values in enumerate(np.exp(np.stack(ratios, axis=1))):
            evidence = np.minimum((evidence + stakes / PER_HOUR) * e_values, _HIGHEST)
            found[slot] = evidence.sum(axis=0) >= exp(self.rule.log_budget)
            evidence[:, found[slot]] = 0.0
        return found


def detectors(drop: float) -> tuple[Detector, ...]:
    """From the one that is told most on."""
    bets = tuple(1.0 - bet for bet in BETS)
    return (
        Detector("CUSUM, told the drop; bar: 5 % of first days", (drop,), (1.0,), None),
        Detector("sum over restarts, told the drop; 5 % a day, nothing for the start", (drop,), (1.0,), NO_START),
        Detector("told the drop; 4 % a day and 1 % for the start", (drop,), (1.0,), SPREAD),
        Detector("three bets instead; the same budget", bets, BET_WEIGHTS, SPREAD),
        Detector("the same bets with other stakes", bets, OTHER_STAKES, SPREAD),
    )


def mean_hours(detector: Detector, base: float, null: float, lanes: int, hours: int) -> float:
    """Hours from one false alarm to the next while both arms convert at `null`, from so many lanes and hours."""
    rng = np.random.default_rng(31)
    units, converted = _drawn(rng, null, lanes, hours)
    return lanes * hours / max(int(detector.alarms(units, converted, base, at_start=False).sum()), 1)


def first_days(detector: Detector, base: float, null: float, days: int) -> float:
    """The share of first days with a false alarm while both arms convert at `null`."""
    units, converted = _drawn(np.random.default_rng(37), null, days, round(DAY))
    return float(detector.alarms(units, converted, base).any(axis=0).mean())


def _drawn(rng: np.random.Generator, rate: float, runs: int, hours: int) -> tuple[Floats, Floats]:
    pace, shape = PACE / 2 / PER_MINUTE, (2, round(hours * PER_HOUR), runs)
    converted, others = (rng.poisson(pace * part, shape).astype(np.float32) for part in (rate, 1 - rate))
    return converted + others, converted


def _by_slot(found: list[Totals]) -> tuple[Floats, Floats]:
    """Units and conversions of both arms, treated first, as arrays (2, slots, runs)."""
    units = np.array([(each.treated, each.control) for each in found])
    converted = np.array([(each.treated_converted, each.control_converted) for each in found])
    return tuple(np.moveaxis(np.diff(all_, prepend=0.0, axis=2), 0, 2) for all_ in (units, converted))  # type: ignore[return-value]


def _minutes(fired: list[int | None]) -> tuple[float, float]:
    """The median minutes from the break of those that did not fire before it, and its standard error."""
    after = [np.inf if us is None else us / 60e6 - LATE * 60 for us in fired if us is None or us > LATE * 3.6e9]
    return float(np.median(after)), median_error(after) or 0.0


def profile(base: float, drop: float, runs: int, lanes: int, days: int) -> None:
    """Print the rows of one cell."""
    scenario = Scenario(PACE, base_rate=base, drop=drop, hours=LATE + DAY, drop_at_hours=LATE)
    histories = [
        draw(scenario, SPREAD.window_minutes, np.random.default_rng(child))
        for child in np.random.SeedSequence(5).spawn(runs)
    ]
    sums = [totals(counts) for counts in histories]
    units, converted = _by_slot(sums)
    null = float(closest_null(0.5, 0.5, base * (1 - drop), base, 0.0)[1])
    theirs, their_error = _minutes([growthbook_us(total) for total in sums])

    def row(name: str, fired: list[int | None], beside: str) -> None:
        minutes, error = _minutes(fired)
        print(
            f"| {base:g}, {drop:.0%}: {name} | {minutes:.0f} ± {error:.0f} | {minutes / theirs:.2f} | {beside} |",
            flush=True,
        )

    for detector in detectors(drop):
        alarms = detector.alarms(units, converted, base, days=days)
        fired = [
            (int(at) + 1) * SLOT_US if hit else None
            for at, hit in zip(alarms.argmax(axis=0), alarms.any(axis=0), strict=True)
        ]
        share, hours = first_days(detector, base, null, days // 2), mean_hours(detector, base, null, lanes, HOURS)
        row(detector.name, fired, f"{share:.1%} | {hours:.0f}")
    ours = [decided_us(trace(counts, SPREAD), SPREAD.hold_minutes, counts.watermark_us) for counts in histories]
    row("the guard", ours, "- | -")
    print(f"| {base:g}, {drop:.0%}: GrowthBook | {theirs:.0f} ± {their_error:.0f} | 1 | - | - |", flush=True)


def main() -> None:
    """Print the table."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--runs", type=int, default=400)
    options.add_argument("--lanes", type=int, default=LANES, help="watched for 1,200 hours each for the mean time")
    options.add_argument("--days", type=int, default=8000, help="for the bar; half as many for the share of first days")
    given = options.parse_args()
    print(
        "| base, drop | median minutes | of GrowthBook's | first days with a false alarm | hours between |\n|---|---|---|---|---|"
    )
    for base, drop in CELLS:
        profile(base, drop, given.runs, given.lanes, given.days)


if __name__ == "__main__":
    main()
