"""Running one drill as `gtm doctor --drill` does, on the defaults of a deployment."""

from gtm_dagster.chaos.outcome import Outcome
from gtm_dagster.chaos.running import Asked, run_drills
from gtm_dagster.settings import Settings


def drilled(name: str, rounds: int = 1, minutes: float | None = None) -> Outcome:
    """The outcome of the drill `name`; its progress is printed, so a failing test shows it."""
    asked = Asked(rounds, minutes)
    (outcome,) = run_drills([name], Settings(), asked, lambda text: print(text))  # noqa: T201
    return outcome
