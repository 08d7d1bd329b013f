"""The figures of a drill: how long until the rule is fulfilled, and until the flag is off, each on a clock that is named."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from gtm_dagster.rollout.control.evidence import from_json
from gtm_dagster.rollout.guard.detector import decided_us, trace

if TYPE_CHECKING:
    from gtm_dagster.opsstore import RollbackRow


@dataclass(frozen=True)
class DrillResult:
    """The result of a drill, on two clocks that are never mixed: traffic runs many times faster than real.

    Of the events: `detected_after_minutes`, from the planted break to the first moment at which the rule says so, its hold
    included, however late the guard looks. Of this machine: the seconds from the first look that sees the decision to the
    run's intent (`requested_seconds`), to off and to verified, and `seconds` in all.
    """

    episode: str
    drop: float
    visitors: int
    detected_after_minutes: float
    estimate: float
    log_e: float
    requested_seconds: float
    off_seconds: float
    verified_seconds: float
    verified: bool
    served_new_after: int
    seconds: float


def first_decided_us(row: RollbackRow) -> int:
    """The event time at which the rule was first fulfilled, recomputed from the evidence; the record has that of the look."""
    evidence = from_json(row.bundle or "")
    counts, rule = evidence.counts, evidence.rule
    first = decided_us(trace(counts, rule), rule.hold_minutes, counts.watermark_us)
    return evidence.decided_us if first is None else first


def drill_lines(result: DrillResult) -> list[str]:
    """The result in words, one line a stage."""
    return [
        f"episode {result.episode}: {result.visitors} visitors, planted drop {result.drop:.0%}, estimated {result.estimate:.0%}, log e {result.log_e:.1f}",
        "by the events' times (the drill sends a minute of them a second):",
        f"  break -> the rule says so  {result.detected_after_minutes:6.1f} min, the hold of 5 min included",
        "by this machine's clock, from the first look that sees it:",
        f"  -> run begins  {result.requested_seconds:6.1f} s",
        f"  -> flag off    {result.off_seconds:6.1f} s",
        f"  -> verified    {result.verified_seconds:6.1f} s",
        f"fresh visitors still on the new flow: {result.served_new_after} of 200",
    ]
