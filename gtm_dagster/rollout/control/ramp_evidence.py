"""Why a step of a ramp could be taken: the figures that are kept with it, and what people are shown of them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from gtm_dagster.rollout.control.messages import moment
from gtm_dagster.rollout.control.ramp_readiness import percent
from gtm_dagster.rollout.control.ramp_standing import RampStanding
from gtm_dagster.rollout.guard.planner import duration

if TYPE_CHECKING:
    from gtm_dagster.opsstore import RampStepRow


def readiness(standing: RampStanding) -> dict[str, Any]:
    """Why a step could be taken, in figures: kept with it. Shares of 1, minutes, times RFC 3339."""
    power = standing.power
    found: dict[str, Any] = {
        "state": standing.state,
        "watermark_at": moment(standing.watermark_us),
        "share": standing.share,
    }
    if power is not None:
        found |= {
            "loss": power.harm, "elapsed_minutes": round(power.elapsed_minutes, 1),
            "needed_minutes": None if power.needed_minutes is None else round(power.needed_minutes, 1),
            "visitors_per_minute": power.traffic.visitors_per_minute, "treated_share": power.traffic.treated_share,
            "base_rate": power.traffic.base_rate, "delay_minutes": power.traffic.delay_minutes,
        }  # fmt: skip
    further = [each for each in standing.powers if each is not power]
    if further:
        found["metrics"] = [
            {
                "metric": each.metric, "bad": "up" if each.rises else "down", "loss": each.harm,
                "elapsed_minutes": round(each.elapsed_minutes, 1),
                "needed_minutes": None if each.needed_minutes is None else round(each.needed_minutes, 1),
                "base": each.traffic.base_rate, "spread": each.flow.spread,
            }
            for each in further
        ]  # fmt: skip
    return found


def evidence_of(step: RampStepRow) -> dict[str, Any]:
    """The figures of `readiness` that were kept with a step."""
    found: dict[str, Any] = json.loads(step.evidence or "{}")
    return found


def step_text(step: RampStepRow) -> str:
    """From which share to which, and who approved it."""
    by = f"approved by {step.approved_by}: {step.approval_reason}" if step.approved_by else "as auto = true declares"
    return f"from {percent(step.from_share or 0.0)} to {percent(step.to_share)}, {by}"


def readiness_text(step: RampStepRow) -> str:
    """Why the step could be taken, in words."""
    found = evidence_of(step)
    if "loss" not in found:
        return "the first step of its epoch: nothing could have been lost before it"
    seen = f"a loss of {found['loss']:.0%} would have been seen after {duration(found['needed_minutes'])}"
    for each in found.get("metrics", ()):
        word = "rise" if each["bad"] == "up" else "loss"
        seen += f", a {word} of {each['loss']:.0%} of {each['metric']} after {duration(each['needed_minutes'])}"
    return f"{seen} of the {duration(found['elapsed_minutes'])} at {percent(step.from_share or 0.0)}"
