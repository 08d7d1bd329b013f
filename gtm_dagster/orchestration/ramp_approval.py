"""People are notified of a step of a ramp that waits for nothing but their approval: once a step, by a run of `page_guard`."""

from __future__ import annotations

import dagster as dg

from gtm_dagster.opsstore import OpsStore
from gtm_dagster.orchestration.guard_jobs import PAGE, RAMP_APPROVAL, page_occurrence
from gtm_dagster.rollout.control.ramp_readiness import percent
from gtm_dagster.rollout.control.ramp_standing import RampStanding
from gtm_dagster.settings import Settings

_TAGS = {"dagster/priority": "50", "dagster/max_retries": "0"}


def approval_request(store: OpsStore, settings: Settings, standing: RampStanding) -> dg.RunRequest | None:
    """The request for the one message about a step; None while more is missing, once it was stored, and without [[notify]]."""
    key, row = standing.guard.key, standing.guard_row
    if not standing.waits_for_approval_alone or not standing.id or row is None or not settings.sinks:
        return None
    if store.notifications(page_occurrence(key, RAMP_APPROVAL, standing.id)):
        return None
    config = {
        "guard": key, "state": RAMP_APPROVAL, "since_us": standing.watermark_us or 0, "reason": approval_text(standing),
        "epoch": row.epoch, "step": standing.id,
    }  # fmt: skip
    return dg.RunRequest(
        run_key=f"page-{key}-{RAMP_APPROVAL}-{standing.id}",
        job_name=PAGE,
        run_config={"ops": {"page": {"config": config}}},
        tags={**_TAGS, "gtm/guard": key, "gtm/flag": standing.guard.flag},
    )


def approval_text(standing: RampStanding) -> str:
    """Which step waits, what would have been seen before it, and how it is approved."""
    guard, to = standing.guard, percent(standing.next_share or 0.0)
    at = "no single share" if standing.share is None else percent(standing.share)
    return (
        f"the ramp of {guard.flag} in {guard.environment} waits for approval alone: step {standing.number} from {at} to {to}. "
        f"To approve it: `gtm guard ramp {guard.flag} --approve --by NAME --reason ...`, or the job ramp_flag"
    )
