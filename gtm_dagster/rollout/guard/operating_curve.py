"""The operating curve of a guard: what becomes of each true drop at a traffic, by simulation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from gtm_dagster.rollout.guard.rule import Rule
from gtm_dagster.rollout.guard.simulation import Scenario, simulate

CURVE_DROPS = (0.0, 0.05, 0.10, 0.12, 0.14, 0.15, 0.16, 0.20, 0.30)


@dataclass(frozen=True)
class CurvePoint:
    """Of histories with this drop, the share that was rolled back, and the median minutes from the break until then.

    `*_error`: one standard error. The median is None when fewer than half were rolled back.
    """

    drop: float
    share: float
    share_error: float
    median_minutes: float | None
    median_error: float | None


def operating_curve(
    scenario: Scenario, rule: Rule, runs: int, seed: int, progress: Callable[[int, int], None] | None = None
) -> list[CurvePoint]:
    """The curve of CURVE_DROPS over the scenario, whatever drop it has itself. Raises ValueError as `simulate` does."""
    points = []
    for number, drop in enumerate(CURVE_DROPS):

        def tell(done: int, of: int, before: int = number) -> None:
            if progress:
                progress(before * of + done, len(CURVE_DROPS) * of)

        found = simulate(replace(scenario, drop=drop), rule, runs, seed, progress=tell).rollbacks
        points.append(CurvePoint(drop, found.share, found.share_error, found.median_minutes, found.median_error))
    return points
