"""kill -9 of `gtm refresh` at random moments: the next one needs no hand, and the tables are those of a rebuild."""

from __future__ import annotations

import random

from gtm_dagster.chaos.inspect import check_idle, check_leftovers, check_rebuild, check_refresh, run_states
from gtm_dagster.chaos.outcome import ChaosError, Findings, Report, Rounds
from gtm_dagster.chaos.processes import Child, until
from gtm_dagster.chaos.supply import Supply
from gtm_dagster.chaos.throwaway import ThrowAway, throw_away
from gtm_dagster.warehouse.writer_lock import WarehouseLock

BASE_ROWS = 3_000
ROUND_ROWS = 300
VERIFY_EVERY = 10
FRESH_EVERY = 10
"""One more kill for so many rounds hits the very first refresh, while Dagster creates its tables."""
TRIES = 3
"""Refreshes started for each round at most: one that ends before its kill does not count."""
EARLY_SHARE = 0.15
"""Rounds that are killed before the run begins, while Python and Dagster load."""


def kill_refreshes(
    deployment: ThrowAway, rounds: Rounds, seed: int, findings: Findings, report: Report
) -> dict[str, int | float]:
    """Land a little, refresh and kill; then an undisturbed refresh has to bring every table up to date."""
    rng = random.Random(seed)  # noqa: S311 - moments to kill at, not a secret
    supply = Supply(deployment, BASE_ROWS + (rounds.wanted * TRIES + 2) * ROUND_ROWS, seed)
    supply.land(BASE_ROWS // 2)
    supply.log(BASE_ROWS // 2)
    check_refresh(deployment.run("refresh", "--json"), supply.expected, findings, "before the first round")
    lead, total = _measure(deployment, supply, findings)
    report(f"an undisturbed refresh takes {total:.1f} s, the run in it begins after {lead:.1f} s")
    fresh = max(1, rounds.wanted // FRESH_EVERY)
    for number in range(1, fresh + 1):
        _first_ever(deployment, rng.uniform(0.4 * lead, total), findings, f"first refresh {number} of {fresh}", report)
    kills = {"before_the_run": 0, "in_the_run": 0}
    ended_first = healed = 0
    slowest = 0.0
    while rounds.more() and supply.left >= ROUND_ROWS:
        supply.land(ROUND_ROWS * 2 // 3)
        supply.log(ROUND_ROWS // 3)
        early = rounds.done > 0 and rng.random() < EARLY_SHARE  # the first round hits the run
        moment, lived = _kill(deployment, rng, lead, total, early=early)
        if moment is None:
            ended_first += 1
            total = max(lead + 0.5, lived if total > lived else total * 0.9)
            continue
        kills[moment] += 1
        rounds.done += 1
        number = rounds.done
        result = deployment.run("refresh", "--json")
        healed += check_refresh(result, supply.expected, findings, f"round {number}")
        slowest = max(slowest, result.seconds)
        lead, total = lead * result.seconds / total, result.seconds  # the machine may be slower or faster by now
        check_idle(deployment, findings, f"round {number}")
        if number % VERIFY_EVERY == 0 and rounds.more():
            check_rebuild(deployment, findings, f"round {number}")
        report(f"round {number} of {rounds.wanted}: killed after {lived:.1f} s, the next took {result.seconds:.1f} s")
    if rounds.more():
        raise ChaosError(f"{ended_first} refreshes ended before they were killed; only {rounds.done} were hit")
    check_rebuild(deployment, findings, "at the end")
    left = check_leftovers(deployment, findings)
    states = run_states(deployment)
    return {
        **kills, "ended_before_the_kill": ended_first, "healed_by_the_next": healed, "rows": supply.expected,
        "runs_failed": states["FAILURE"], "runs_succeeded": states["SUCCESS"],
        "runs_unfinished": sum(states.values()) - states["FAILURE"] - states["SUCCESS"] - states["CANCELED"],
        "left_lying": left, "slowest_next_seconds": round(slowest, 1),
    }  # fmt: skip


def _kill(
    deployment: ThrowAway, rng: random.Random, lead: float, total: float, *, early: bool
) -> tuple[str | None, float]:
    """Start a refresh and kill it: before or in its run (None when it ended first), and the seconds it lived."""
    with deployment.start("refresh", "--json") as child:
        if early:
            child.wait(rng.uniform(0.0, lead))
        else:
            until(lambda: _in_the_run(deployment, child) or not child.running(), total * 5)
            child.wait(rng.uniform(0.0, max(total - lead, 0.2)))
        began, lived = _in_the_run(deployment, child), child.seconds()
        alive = child.kill()
    if not alive:
        return None, child.seconds()
    return "in_the_run" if began else "before_the_run", lived


def _first_ever(like: ThrowAway, at: float, findings: Findings, when: str, report: Report) -> None:
    """Kill the first refresh of another state directory after `at` seconds; the second has to succeed."""
    warehouse = like.settings.warehouse
    with throw_away(warehouse.memory_limit, warehouse.threads) as deployment:
        supply = Supply(deployment, 200, 1)
        supply.land(200)
        with deployment.start("refresh", "--json") as child:
            child.wait(at)
            alive = child.kill()
        check_refresh(deployment.run("refresh", "--json"), supply.expected, findings, when)
        check_idle(deployment, findings, when)
    report(f"{when}: {'killed' if alive else 'ended'} after {at:.1f} s")


def _in_the_run(deployment: ThrowAway, child: Child) -> bool:
    """Whether the child has the lock for its run."""
    holder = WarehouseLock(deployment.state).holder()
    return holder.startswith(f"pid {child.pid} (run ")


def _measure(deployment: ThrowAway, supply: Supply, findings: Findings) -> tuple[float, float]:
    """Seconds of an undisturbed refresh until its run begins, and to its end."""
    supply.land(ROUND_ROWS // 2)
    supply.log(ROUND_ROWS // 2)
    with deployment.start("refresh", "--json") as child:
        until(lambda: _in_the_run(deployment, child) or not child.running(), 300)
        lead = child.seconds()
        code = child.wait(300)
        total = child.seconds()
    findings.expect(code == 0, f"an undisturbed refresh ended with {code}: {child.err.strip()}")
    return lead, total
