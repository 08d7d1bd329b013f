"""What a guard promises: how large a loss, for how long, at how many false rollbacks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import log

from gtm_dagster.settings import Guard


@dataclass(frozen=True)
class Rule:
    """What a guard promises. `threshold`: relative drop; `budget_hours`: mean hours between false rollbacks.

    `shares`: (from microseconds UTC, planned treated share) steps in order, empty when the plan is not known.
    """

    window_minutes: float = 60.0
    threshold: float = 0.15
    hold_minutes: float = 5.0
    budget_hours: float = 8760.0
    shares: tuple[tuple[int, float], ...] = ()

    @classmethod
    def of(cls, guard: Guard, sharing: int = 1, shares: Sequence[tuple[int, float]] = ()) -> Rule:
        """The rule of a declared guard; `sharing` guards of one flag share its budget."""
        planned = tuple(shares) or (((0, guard.treated_share),) if guard.treated_share is not None else ())
        return cls(
            guard.conversion_window_minutes,
            guard.threshold,
            guard.hold_minutes,
            guard.budget_hours * max(sharing, 1),
            planned,
        )

    @property
    def margin(self) -> float:
        """The drop that is no harm: half the threshold."""
        return self.threshold / 2.0

    @property
    def log_budget(self) -> float:
        """The level the evidence has to reach."""
        return log(self.budget_hours + 1.0)
