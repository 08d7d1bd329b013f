"""Does a rollback's evidence still give its decision?"""

from __future__ import annotations

from dataclasses import dataclass

from gtm_dagster.rollout.control.evidence import Bundle, replay, replayed_decision

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


def compare(bundle: Bundle, intact: bool | None = None) -> Comparison:
    """Recompute and compare: decision equal, log e and estimate within 1e-9.

    `intact`: whether the bundle is the one of the guard's history, None when there is none to ask.
    """
    told, recorded = replay(bundle), bundle.verdict
    wrong = []
    if intact is False:
        wrong.append("the bundle is not the one whose digest stands in the guard's history")
    if told.fires != recorded.fires:
        wrong.append(f"recorded fires={recorded.fires}, recomputed fires={told.fires}")
    if bundle.by_evidence and not replayed_decision(bundle).act:
        wrong.append("the guard would not act on it")
    if abs(told.log_e - recorded.log_e) > TOLERANCE:
        wrong.append(f"log e differs by {told.log_e - recorded.log_e:.3g}")
    if not _equal(told.estimate, recorded.estimate):
        wrong.append(f"estimate {told.estimate} instead of {recorded.estimate}")
    return Comparison(
        bundle.guard.key, bundle.episode, bundle.epoch, not wrong, "; ".join(wrong), told.fires, recorded.log_e,
        told.log_e, recorded.estimate, told.estimate,
    )  # fmt: skip


def _equal(one: float | None, other: float | None) -> bool:
    if one is None or other is None:
        return one is other
    return abs(one - other) <= TOLERANCE
