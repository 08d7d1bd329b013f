"""Running drills by name, one after the other, and their results as lines."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gtm_dagster.chaos.outcome import Findings, Outcome, Rounds, Tell, UnknownDrillError

if TYPE_CHECKING:
    from gtm_dagster.settings import Settings

ROUNDS = 3
MINUTES = 1.0


@dataclass(frozen=True)
class Asked:
    """How much of it: rounds of each drill, and the seed of the random moments.

    `minutes`: how long the crowd lasts (MINUTES when None), and after how long no other drill begins another round.
    """

    rounds: int = ROUNDS
    minutes: float | None = None
    seed: int = 7


DRILLS = {
    "collector": "kill -9 of the collector under load: every answered event is stored once",
    "refresh": "kill -9 of `gtm refresh` at random moments: the next one needs no hand, tables equal a rebuild",
    "dagster": "kill -9 of runs of `dagster dev`, and of all of it: nothing stays in the queue, the next run succeeds",
    "publisher": "kill -9 of the publisher while two readers query the serving copy: no reader error",
    "concurrency": "two refreshes, imports and queries at once: each succeeds or names the holder of the lock",
    "disk-full": "a full disk during append, import, landing, refresh and publish: clear errors, nothing lost",
}
"""Each drill and the promise it tries."""


def run_drills(names: Sequence[str], settings: Settings, asked: Asked, tell: Tell) -> Iterator[Outcome]:
    """Run the named drills (all of DRILLS when none is named); each one's outcome when it is over.

    Raises UnknownDrillError before the first when a name is not known, DrillError when a drill cannot go on.
    """
    unknown = [name for name in names if name not in DRILLS]
    if unknown:
        raise UnknownDrillError(f"{unknown[0]}: there is no such drill; there are {', '.join(DRILLS)}")
    for name in names or DRILLS:
        tell(f"{name}: {DRILLS[name]}")
        yield _one(name, settings, asked, lambda text, name=name: tell(f"{name}: {text}"))  # type: ignore[misc]


def _one(name: str, settings: Settings, asked: Asked, tell: Tell) -> Outcome:
    from gtm_dagster.chaos.throwaway import throw_away

    if name == "disk-full":
        from gtm_dagster.chaos.fill_disk import drill_disk_full

        return drill_disk_full(settings, Rounds(asked.rounds, asked.minutes), asked.seed, tell)
    began = time.monotonic()
    findings = Findings(tell)
    rounds = Rounds(asked.rounds, asked.minutes)
    drill = _drill(name, asked, rounds)
    with throw_away(settings.warehouse.memory_limit, settings.warehouse.threads) as ground:
        figures = drill(ground, findings, tell)
    return Outcome(name, rounds.done, time.monotonic() - began, figures, findings.told())


def _drill(name: str, asked: Asked, rounds: Rounds) -> Callable[..., dict[str, int | float]]:
    if name == "concurrency":
        from gtm_dagster.chaos.crowd import drill_concurrency

        return lambda ground, findings, tell: drill_concurrency(
            ground, asked.minutes or MINUTES, asked.seed, findings, tell
        )
    from gtm_dagster.chaos.kill_collector import drill_collector
    from gtm_dagster.chaos.kill_dagster import drill_dagster
    from gtm_dagster.chaos.kill_publisher import drill_publisher
    from gtm_dagster.chaos.kill_refresh import drill_refresh

    chosen = {
        "collector": drill_collector, "refresh": drill_refresh, "dagster": drill_dagster, "publisher": drill_publisher,
    }[name]  # fmt: skip
    return lambda ground, findings, tell: chosen(ground, rounds, asked.seed, findings, tell)


def outcome_lines(outcome: Outcome) -> list[str]:
    """The outcome in words: a verdict, the figures, and each finding."""
    if outcome.skipped is not None:
        return [f"SKIPPED {outcome.drill}: {outcome.skipped}"]
    amount = f"{outcome.rounds} rounds, " if outcome.rounds else ""
    verdict = "ok     " if outcome.ok else "PROBLEM"
    figures = ", ".join(f"{name.replace('_', ' ')} {value:,}" for name, value in outcome.figures.items())
    return [
        f"{verdict} {outcome.drill}: {amount}{outcome.seconds:,.0f} s",
        f"        {figures}",
        *(f"        found: {text}" for text in outcome.found),
    ]
