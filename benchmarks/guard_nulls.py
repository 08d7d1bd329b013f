"""Flows that lose nothing: how often each rule rolls them back. A/A, ramps, seasons, long epochs, other speeds, mix shift."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from benchmarks.sequential_rules import growthbook_us, msprt_us, totals
from gtm_dagster.rollout.guard.detector import decided_us, trace
from gtm_dagster.rollout.guard.rule import Rule
from gtm_dagster.rollout.guard.simulation import Outcomes, Scenario, draw, share_error, simulate

RAMP = ((8.0, 0.1), (12.0, 0.5))
FAST = Rule(margin=0.0, start_risk=0.04, budget_hours=2400.0)
MIX = Scenario(
    100,
    split=0.01,
    base_rate=0.2,
    drift=-0.39,
    ramp=((4.0, 0.05), (8.0, 0.25), (12.0, 0.5)),
)
"""New visitors, who convert half as often as others, go from 20 to 90 % of the traffic while the share ramps up."""
SPEEDS = (
    ("at once, both", Scenario(100, hours=4)),
    ("exp(5 min), both", Scenario(100, hours=4, delay_minutes=5)),
    ("exp(1 min), treated exp(5 min)", Scenario(100, hours=4, delay_minutes=1, treated_delay_minutes=5)),
    ("exp(2 min), treated exp(10 min)", Scenario(100, hours=4, delay_minutes=2, treated_delay_minutes=10)),
    ("exp(2 min), treated 5 minutes later", Scenario(100, hours=4, delay_minutes=2, later_minutes=5)),
)
SLOWER = Scenario(100, hours=4, delay_minutes=2, treated_delay_minutes=20)
"""Slower than is allowed: ten times as late, where five times is no loss."""


def share_of(found: Outcomes) -> str:
    return f"{found.share:.1%} ± {found.share_error:.1%}"


def nulls(runs: int) -> None:
    """Print the shares of unchanged flows that were rolled back within a day."""
    print("\n| visitors a minute | base rate | guard | margin 0, 5 % a day | naive rule | naive rule, 30 an arm |")
    print("|---|---|---|---|---|---|")
    for pace in (1, 10, 100):
        for rate in (0.1, 0.2, 0.5):
            _row(f"{pace} | {rate:.0%}", Scenario(pace, base_rate=rate), runs)
    for season in (-0.6, -0.3, 0.3, 0.6):
        _row(f"100, season {season:+.0%} | 20%", Scenario(100, season=season), runs)
    for season in (-0.3, 0.3):
        _row(
            f"100, ramp 2-10-50 %, season {season:+.0%} | 20%",
            Scenario(100, split=0.02, ramp=RAMP, season=season),
            runs,
        )


def _row(name: str, scenario: Scenario, runs: int) -> None:
    shares = tuple((round(hour * 3.6e9), share) for hour, share in ((0.0, scenario.split), *scenario.ramp))
    found = simulate(scenario, Rule(shares=shares), runs, 7, naive=True)
    fast = simulate(scenario, replace(FAST, shares=shares), runs, 7).rollbacks
    assert found.naive and found.naive_30
    shown = [share_of(each) for each in (found.rollbacks, fast, found.naive, found.naive_30)]
    print(f"| {name} | " + " | ".join(shown) + " |", flush=True)


def speeds(runs: int) -> None:
    """Print the shares of flows that convert as often but at other times."""
    print("\n| equal rates (base 20 %, 100 a minute, 4 h) | rolled back |\n|---|---|")
    for name, scenario in SPEEDS:
        print(f"| {name} | {share_of(simulate(scenario, Rule(), runs, 13).rollbacks)} |", flush=True)
    print(f"| exp(2 min), treated exp(20 min): slower than allowed | {share_of(simulate(SLOWER, Rule(), runs, 13).rollbacks)} |")  # fmt: skip


def mix_shift(runs: int) -> None:
    """Print the shares of flows that lose nothing while the mix of visitors shifts and the treated share ramps up."""
    print(
        f"\n| new visitors go from 20 to 90 % of the traffic in 24 h, {runs} runs | guard | margin 0, 5 % a day "
        "| GrowthBook 5 % | mSPRT 5 % |\n|---|---|---|---|---|"
    )
    rows = {"a ramp 1-5-25-50 %": MIX, "the same, at an even split": replace(MIX, split=0.5, ramp=())}
    for name, scenario in rows.items():
        shares = tuple((round(hour * 3.6e9), share) for hour, share in ((0.0, scenario.split), *scenario.ramp))
        rules = (Rule(shares=shares), replace(FAST, shares=shares))
        fired = np.zeros(4, np.int64)
        for child in np.random.SeedSequence(17).spawn(runs):
            counts = draw(scenario, rules[0].window_minutes, np.random.default_rng(child))
            total = totals(counts)
            found = [decided_us(trace(counts, rule), rule.hold_minutes, counts.watermark_us) for rule in rules]
            fired += [at is not None for at in (*found, growthbook_us(total), msprt_us(total))]
        cells = " | ".join(f"{n / runs:.1%} ± {share_error(int(n), runs):.1%}" for n in fired)
        print(f"| {name} | {cells} |", flush=True)


def long_epochs(runs: int, year_runs: int) -> None:
    """Print the shares of A/A epochs of 30 and 365 days that were ever rolled back, beside 1 - exp(-time / budget)."""
    print(
        "\n| A/A, 0.2 a minute, base 5 % | runs | rolled back | evidence at its level | a spent budget |\n|---|---|---|---|---|"
    )
    for rule in (Rule(), FAST):
        for days, some in ((30, runs), (365, year_runs)):
            if not some:
                continue
            found = simulate(Scenario(0.2, base_rate=0.05, hours=24.0 * days), rule, some, 19)
            most = rule.start_risk + (1 - rule.start_risk) * (1 - math.exp(-24 * days / rule.budget_hours))
            name = f"{days} d, margin {rule.margin:g}, budget {rule.budget_hours:g} h"
            print(
                f"| {name} | {some} | {share_of(found.rollbacks)} | {share_of(found.evidence)} | {most:.1%} |",
                flush=True,
            )
