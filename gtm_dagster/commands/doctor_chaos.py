"""`gtm doctor --drill`: chaos in a throw-away deployment, and whether its promises hold on this machine."""

from __future__ import annotations

import signal
from collections.abc import Sequence
from typing import TYPE_CHECKING

from gtm_dagster.commands.output import Problem, note, say, say_json

if TYPE_CHECKING:
    from gtm_dagster.settings import Settings


def run_chaos(
    settings: Settings, names: Sequence[str], *, rounds: int | None, minutes: float | None, json: bool
) -> int:
    """Run the named drills (all when none is named), `rounds` and `minutes` as in `ChaosOptions`, None for its defaults.

    Returns the exit code: 1 when something was found, or when a drill asked for by name could not run here.

    Raises Problem (2) for a name that is not known.
    """
    from gtm_dagster.chaos.outcome import ChaosError, UnknownExperimentError
    from gtm_dagster.chaos.running import ROUNDS, ChaosOptions, outcome_lines, run_experiments

    options = ChaosOptions(rounds or ROUNDS, minutes)
    outcomes = []
    # A plain `kill` unwinds like Ctrl-C: what a drill started ends with it, and its folder goes.
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        for outcome in run_experiments(names, settings, options, note):
            outcomes.append(outcome)
            if not json:
                for line in outcome_lines(outcome):
                    say(line)
            elif outcome.skipped is not None:
                note(f"SKIPPED {outcome.experiment}: {outcome.skipped}")
    except UnknownExperimentError as error:
        raise Problem(str(error), 2) from None
    except ChaosError as error:
        raise Problem(str(error)) from None
    finally:
        signal.signal(signal.SIGTERM, before)
    ok = all(outcome.ok or (outcome.skipped is not None and outcome.experiment not in names) for outcome in outcomes)
    if json:
        say_json({"ok": ok, "drills": [outcome.document() for outcome in outcomes]})
    return 0 if ok else 1
