"""Running experiments by name, one after the other, and their outcomes as lines."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gtm_dagster.chaos.outcome import Findings, Outcome, Report, Rounds, UnknownExperimentError
from gtm_dagster.settings.nearest import known_names

if TYPE_CHECKING:
    from gtm_dagster.settings import Settings

ROUNDS = 3
MINUTES = 1.0


@dataclass(frozen=True)
class ChaosOptions:
    """Rounds of each experiment, and the seed of the random moments.

    `minutes`: how long `concurrency` lasts and `attacker` attacks a healthy flow (MINUTES when None), and after how long no other experiment begins another round.
    """

    rounds: int = ROUNDS
    minutes: float | None = None
    seed: int = 7


EXPERIMENTS = {
    "collector": "kill -9 of the collector under load: every answered event is stored once",
    "refresh": "kill -9 of `gtm refresh` at random moments: the next one needs no hand, tables equal a rebuild",
    "dagster": "kill -9 of runs of `dagster dev`, and of all of it: nothing stays in the queue, the next run succeeds",
    "triggers": "kill -9 of `gtm stream` under load: every message reaches an unreliable receiver under one id, none lost, none false",
    "publisher": "kill -9 of the publisher while two readers query the serving copy: no reader error",
    "concurrency": "two refreshes, imports and queries at once: each succeeds or names the holder of the lock",
    "edge": "a collector under attack: it lives, answers 4xx, keeps no other sender waiting, and what it took is stored once",
    "attacker": "a client key in bad hands beside `gtm dev`: no rollback forced, blocked or blinded; a real loss is found meanwhile",
    "disk-full": "a full disk during append, import, landing, refresh and publish: clear errors, nothing lost",
}
"""Each experiment by its name on the command line, and the promise it tests."""


def run_experiments(
    names: Sequence[str], settings: Settings, options: ChaosOptions, report: Report
) -> Iterator[Outcome]:
    """Run the named experiments (all of EXPERIMENTS when none is named); each one's outcome when it is over.

    Raises UnknownExperimentError before the first when a name is not known, ChaosError when an experiment cannot go on.
    """
    unknown = [name for name in names if name not in EXPERIMENTS]
    if unknown:
        raise UnknownExperimentError(f"{unknown[0]}: there is no such drill; {known_names(unknown[0], EXPERIMENTS)}")
    for name in names or EXPERIMENTS:
        report(f"{name}: {EXPERIMENTS[name]}")
        yield _one(name, settings, options, lambda text, name=name: report(f"{name}: {text}"))  # type: ignore[misc]


def _one(name: str, settings: Settings, options: ChaosOptions, report: Report) -> Outcome:
    from gtm_dagster.chaos.throwaway import throw_away

    if name == "disk-full":
        from gtm_dagster.chaos.fill_disk import fill_disks

        return fill_disks(settings, Rounds(options.rounds, options.minutes), options.seed, report)
    began = time.monotonic()
    findings = Findings(report)
    rounds = Rounds(options.rounds, options.minutes)
    experiment = _experiment(name, options, rounds)
    with throw_away(settings.warehouse.memory_limit, settings.warehouse.threads, more=_more(name)) as deployment:
        figures = experiment(deployment, findings, report)
    return Outcome(name, rounds.done, time.monotonic() - began, figures, findings.lines())


def _more(name: str) -> str:
    """What an experiment's deployment declares beside the defaults."""
    if name == "attacker":
        from gtm_dagster.chaos.attack_guard import SETTINGS as attacked

        return attacked
    if name == "triggers":
        from gtm_dagster.chaos.kill_triggers import SETTINGS as delivering

        return delivering
    return ""


def _experiment(name: str, options: ChaosOptions, rounds: Rounds) -> Callable[..., dict[str, int | float]]:
    if name == "concurrency":
        from gtm_dagster.chaos.crowd import crowd_deployment

        return lambda deployment, findings, report: crowd_deployment(
            deployment, options.minutes or MINUTES, options.seed, findings, report
        )
    if name == "attacker":
        from gtm_dagster.chaos.attack_guard import attack_guard

        return lambda deployment, findings, report: attack_guard(
            deployment, options.minutes or MINUTES, options.seed, findings, report
        )
    from gtm_dagster.chaos.attack_edge import attack_edges
    from gtm_dagster.chaos.kill_collector import kill_collectors
    from gtm_dagster.chaos.kill_dagster import kill_dagster_runs
    from gtm_dagster.chaos.kill_publisher import kill_publishers
    from gtm_dagster.chaos.kill_refresh import kill_refreshes
    from gtm_dagster.chaos.kill_triggers import kill_triggers

    experiment = {
        "collector": kill_collectors, "refresh": kill_refreshes, "dagster": kill_dagster_runs, "publisher": kill_publishers, "edge": attack_edges,
        "triggers": kill_triggers,
    }[name]  # fmt: skip
    return lambda deployment, findings, report: experiment(deployment, rounds, options.seed, findings, report)


def outcome_lines(outcome: Outcome) -> list[str]:
    """The outcome in words: a verdict, the figures, and each finding."""
    if outcome.skipped is not None:
        return [f"SKIPPED {outcome.experiment}: {outcome.skipped}"]
    amount = f"{outcome.rounds} rounds, " if outcome.rounds else ""
    verdict = "ok     " if outcome.ok else "PROBLEM"
    figures = ", ".join(f"{name.replace('_', ' ')} {value:,}" for name, value in outcome.figures.items())
    return [
        f"{verdict} {outcome.experiment}: {amount}{outcome.seconds:,.0f} s",
        f"        {figures}",
        *(f"        found: {text}" for text in outcome.found),
    ]
