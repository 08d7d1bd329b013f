"""The guard beside the rules of others on the same draws: breaks at the start of a rollout, and twelve hours after it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from benchmarks.sequential_rules import (
    GROWTHBOOK_LEAST,
    Totals,
    growthbook_us,
    msprt_us,
    obrien_fleming_us,
    totals,
)
from gtm_dagster.rollout.guard.counts import Counts
from gtm_dagster.rollout.guard.detector import decided_us, trace
from gtm_dagster.rollout.guard.rule import Rule
from gtm_dagster.rollout.guard.simulation import PER_HOUR, Outcomes, Scenario, draw, outcomes

PACE = 10.0
DAY, LATE = 24.0, 12.0
DEFAULT = Rule()
NO_MARGIN = Rule(margin=0.0, start_risk=0.04, budget_hours=2400.0)
"""False rollbacks of 5 % in a rollout's first day: 4 % at its start, one in 2,400 hours (1 % a day) after it."""
SPREAD = Rule(margin=0.0, start_risk=0.01, budget_hours=600.0)
"""The same 5 % in the first day, spent later: 1 % at its start, one in 600 hours (4 % a day) after it."""
CELLS = tuple(
    (base, drop)
    for base, drops in ((0.1, (0.0, 0.15, 0.2, 0.3, 0.5, 1.0)), (0.5, (0.0, 0.15, 0.2, 0.3, 0.5, 1.0)), (0.02, (0.0, 0.3, 0.5, 1.0)))
    for drop in drops
)  # fmt: skip


def _ours(rule: Rule) -> Callable[[Counts, Totals], int | None]:
    return lambda counts, _: decided_us(trace(counts, rule), rule.hold_minutes, counts.watermark_us)


RULES: dict[str, Callable[[Counts, Totals], int | None]] = {
    "ours, default": _ours(DEFAULT),
    "ours, margin 0, 4 % + 1 % a day": _ours(NO_MARGIN),
    "ours, margin 0, 1 % + 4 % a day": _ours(SPREAD),
    "GrowthBook 5 %": lambda _, total: growthbook_us(total),
    "+150 conversions": lambda _, total: growthbook_us(total, GROWTHBOOK_LEAST),
    "mSPRT 5 %": lambda _, total: msprt_us(total),
    "O'Brien-Fleming 5 %": lambda _, total: obrien_fleming_us(total),
}


@dataclass(frozen=True)
class PowerCell:
    """What each rule of RULES made of the same draws. `late_hours`: when the flow broke."""

    base: float
    drop: float
    late_hours: float
    found: dict[str, Outcomes]


def power_cell(base: float, drop: float, late_hours: float, runs: int, seed: int = 5) -> PowerCell:
    """Draw `runs` histories of a day from the break on, and let every rule look at each."""
    scenario = Scenario(PACE, base_rate=base, drop=drop, hours=DAY + late_hours, drop_at_hours=late_hours)
    fired: dict[str, list[int | None]] = {name: [] for name in RULES}
    visitors = []
    for child in np.random.SeedSequence(seed).spawn(runs):
        counts = draw(scenario, DEFAULT.window_minutes, np.random.default_rng(child))
        total = totals(counts)
        for name, rule in RULES.items():
            fired[name].append(rule(counts, total))
        visitors.append(np.append(0, np.cumsum(counts.exposed.sum(axis=0)[round(late_hours * PER_HOUR) :])))
    break_us = round(late_hours * 3.6e9)
    found = {name: outcomes(times, visitors, break_us) for name, times in fired.items()}
    return PowerCell(base, drop, late_hours, found)


def shown(found: Outcomes, drop: float) -> str:
    """The median minutes with their standard error, else the share that fired within a day with its own."""
    if drop == 0 or found.median_minutes is None:
        return f"{found.share - found.before_share:.0%} ± {found.share_error:.0%}"
    return f"{found.median_minutes:.0f} ± {found.median_error:.0f}"


def power(runs: int) -> None:
    """Print the table of breaks at the start and the one of breaks twelve hours after it."""
    for late in (0.0, LATE):
        when = "at the start" if not late else f"{late:g} h after the start"
        print(f"\nBroken {when}: median minutes to the action, or the share that fired within a day\n")
        print("| base, drop | " + " | ".join(RULES) + " |\n|---" * 1 + "|---" * len(RULES) + "|")
        for base, drop in CELLS:
            if late and drop == 0:
                continue
            cell = power_cell(base, drop, late, runs)
            name = {0.0: "A/A, false", 1.0: "dead"}.get(drop, f"{drop:.0%}")
            print(
                f"| {base:g}, {name} | " + " | ".join(shown(found, drop) for found in cell.found.values()) + " |",
                flush=True,
            )
