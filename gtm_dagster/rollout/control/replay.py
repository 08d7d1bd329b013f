"""Does a rollback's evidence still give its decision?"""

from __future__ import annotations

from dataclasses import dataclass

from gtm_dagster.rollout.control.evidence import Evidence, replay, replayed_decision

TOLERANCE = 1e-9


@dataclass(frozen=True)
class Comparison:
    """A recorded verdict beside the recomputed one. `difference` names what differs, empty when `same`."""

    guard: str
    episode: str
    epoch: int
    same: bool
    difference: str
    fires: bool
    recorded_log_e: float
    log_e: float
    recorded_estimate: float | None
    estimate: float | None


def compare(evidence: Evidence, intact: bool | None = None) -> Comparison:
    """Recompute and compare: decision equal, log e and estimate within 1e-9.

    `intact`: whether the evidence is the one of the guard's history, None when there is none to ask.
    """
    recorded = evidence.verdict
    recomputed = replay(evidence).of_metric(recorded.metric)
    wrong = []
    if intact is False:
        wrong.append("the bundle is not the one whose digest stands in the guard's history")
    if recomputed.fires != recorded.fires:
        wrong.append(f"recorded fires={recorded.fires}, recomputed fires={recomputed.fires}")
    if evidence.by_evidence and not replayed_decision(evidence).act:
        wrong.append("the guard would not act on it")
    if abs(recomputed.log_e - recorded.log_e) > TOLERANCE:
        wrong.append(f"log e differs by {recomputed.log_e - recorded.log_e:.3g}")
    if not _equal(recomputed.estimate, recorded.estimate):
        wrong.append(f"estimate {recomputed.estimate} instead of {recorded.estimate}")
    return Comparison(
        evidence.guard.key, evidence.episode, evidence.epoch, not wrong, "; ".join(wrong), recomputed.fires, recorded.log_e,
        recomputed.log_e, recorded.estimate, recomputed.estimate,
    )  # fmt: skip


def _equal(one: float | None, other: float | None) -> bool:
    if one is None or other is None:
        return one is other
    return abs(one - other) <= TOLERANCE
