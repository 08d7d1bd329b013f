"""Running one experiment as `gtm doctor --drill` does, on the defaults of a deployment."""

from gtm_dagster.chaos.outcome import Outcome
from gtm_dagster.chaos.running import ChaosOptions, run_experiments
from gtm_dagster.settings import Settings


def outcome_of(name: str, rounds: int = 1, minutes: float | None = None) -> Outcome:
    """The outcome of the experiment `name`; its progress is printed, so a failing test shows it."""
    options = ChaosOptions(rounds, minutes)
    (outcome,) = run_experiments([name], Settings(), options, lambda text: print(text))  # noqa: T201
    return outcome
