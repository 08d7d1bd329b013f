"""A guard before anything fires, for people: where it stands, what both arms did, and when a loss would be known."""

from __future__ import annotations

from gtm_dagster.rollout.control.evaluation import Evaluation
from gtm_dagster.rollout.guard.bounds import minutes_to_proof
from gtm_dagster.rollout.guard.counts import Counts
from gtm_dagster.rollout.guard.decide import Decision
from gtm_dagster.rollout.guard.guarded_traffic import observed_traffic
from gtm_dagster.rollout.guard.planner import duration
from gtm_dagster.rollout.guard.rule import Rule
from gtm_dagster.settings import CONVERSION, Guard

DEAD = 1.0
"""The drop of a flow that converts nobody."""


def standing_text(guard: Guard, decision: Decision, evaluation: Evaluation | None) -> str:
    """State and reason; of an armed guard both arms' conversions and when a loss would be known; Markdown."""
    dry_run = ", dry run" if guard.dry_run else ""
    reason = decision.reason.replace(" FLAG ", f" {guard.flag} ")
    lines = [f"**{decision.state}**{dry_run}: {reason}."]
    if evaluation is not None:
        lines += [arms_text(guard, evaluation), when_known(evaluation.counts, evaluation.rule)]
    return "\n\n".join(lines)


def arms_text(guard: Guard, evaluation: Evaluation) -> str:
    """The conversions of both arms since the guard was armed."""
    verdict = evaluation.verdict.of_conversion
    arms = ", ".join(
        f"{arm} {converted:,} of {exposed:,} ({converted / exposed:.1%})" if exposed else f"{arm} nobody"
        for arm, converted, exposed in (
            ("control", verdict.control_converted, verdict.control_exposed),
            ("treated", verdict.treated_converted, verdict.treated_exposed),
        )
    )
    return f"{guard.conversion}: {arms}."


def when_known(counts: Counts, rule: Rule) -> str:
    """How long a loss that begins now would stay unseen at the traffic counted so far, for losses from the threshold on."""
    traffic = observed_traffic(counts, rule.window_minutes)
    if traffic is None or not 0 < traffic.treated_share < 1:
        return "When a loss would be known cannot be said yet: there are no visitors of both arms, or no conversion."
    judged = rule.of_metric(CONVERSION)
    # At the threshold the estimate is below it half of the time, so the first loss told is a larger one.
    losses = sorted({min(2 * rule.threshold, DEAD), 0.5 if rule.threshold < 0.25 else DEAD, DEAD})
    known = [
        minutes_to_proof(
            traffic.base_rate, traffic.visitors_per_minute, traffic.treated_share, loss, judged,
            delay_minutes=traffic.delay_minutes,
        )
        for loss in losses
    ]  # fmt: skip
    texts = [
        f"{'a dead flow' if loss == DEAD else f'{loss:.0%}'}: {duration(minutes if minutes is None else minutes + rule.hold_minutes)}"
        for loss, minutes in zip(losses, known, strict=True)
    ]
    pace = traffic.visitors_per_minute
    visitors = f"{pace:,.0f}" if pace >= 10 else f"{pace:.2g}"
    return f"A loss that begins now would be rolled back within (median, {visitors} visitors a minute): {', '.join(texts)}."
