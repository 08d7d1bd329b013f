"""A rollback as the Dagster UI shows it: what happened in a few sentences, the pictures of its evidence, figures, names last."""

from typing import Any

import dagster as dg

from gtm_dagster.opsstore import RollbackRow
from gtm_dagster.orchestration.guard_page import linked
from gtm_dagster.rollout.control import evidence
from gtm_dagster.rollout.control.chart import curves, inline, picture
from gtm_dagster.rollout.control.messages import loss_text, moment

_HEADS = {
    "rolled_back": "was turned off",
    "would_roll_back": "would have been turned off (dry run: it stays as it is)",
    "superseded": "was changed by somebody during the breach; the guard stands down",
    "given_up": "is NOT proven off: a person gave the rollback up",
    "rollback_failed": "could NOT be proven off; gates hold the old flow by the kill list",
}


def rollback_metadata(context: dg.OpExecutionContext, row: RollbackRow) -> dict[str, Any]:
    """Figures of an episode as the UI shows them, in digits that mean something. A picture that cannot be drawn is left out
    and logged."""
    shown: dict[str, Any] = {"what_happened": dg.MetadataValue.md(what_happened(row))}
    shown |= {"metric": row.metric} if row.metric else {}
    recorded = _drawn(context, row, shown)
    if row.estimate is not None:
        shown["estimate"] = round(row.estimate, 3)
    if row.log_e is not None:
        shown["log_e"] = round(row.log_e, 2)
    if recorded is not None:
        shown["above_threshold_minutes"] = round(recorded.verdict.above_minutes, 1)
    shown |= _seconds(row) | {
        "outcome": row.outcome or "",
        "verified": row.verified,
        "actor": row.actor or "",
        "reason": row.reason or "",
        "decided_at": moment(row.decided_us) or "",
    }
    if row.last_exposure_us is not None:
        shown["last_new_exposure_at"] = moment(row.last_exposure_us)
    shown |= linked()
    shown |= {"flag": row.flag, "guard": row.guard, "episode": row.episode}
    if row.bundle:
        shown["replay"] = f"gtm guard replay {row.episode}"
        # 64 letters without a break would widen the table until its sentences are cut
        shown["bundle_sha256"] = f"{evidence.digest(row.bundle)[:16]}… (all of it is in ops.rollbacks)"
    return shown


def what_happened(row: RollbackRow) -> str:
    """What the rollback did, why, how fast, and what a person does to try again; Markdown."""
    lines = [
        f"**{row.flag}** in {row.environment} {_HEADS.get(row.outcome or '', row.outcome or 'is being turned off')}."
    ]
    if loss := loss_text(row):
        lines.append(f"{loss[0].upper()}{loss[1:]}.")
    if row.actor and row.actor != "conversion_guard":
        lines.append(f"{row.actor} asked for it: {row.reason}.")
    stages = _seconds(row)
    if row.verified and "seconds_intent_to_verified" in stages:
        lines.append(
            f"{row.provider} served the old flow to every sampled unit {stages['seconds_intent_to_verified']:.1f} s after "
            "the run began."
        )
    lines.append(f"To watch it again: `gtm guard rearm {row.flag} --reason TEXT`.")
    return " ".join(lines)


def _drawn(context: dg.OpExecutionContext, row: RollbackRow, shown: dict[str, Any]) -> evidence.Evidence | None:
    """The evidence, with its pictures put into `shown`; None when there is none that can be read and drawn."""
    if not row.bundle:
        return None
    try:
        recorded = evidence.from_json(row.bundle)
        verdict = recorded.verdict
        drawn = curves(recorded.counts, recorded.rule, verdict.log_budget, metric=verdict.metric)
        title = f"{row.flag}: {verdict.metric or 'conversion'} and evidence"
        shown["chart"] = dg.MetadataValue.md(inline(title, drawn))
        shown["picture"] = dg.MetadataValue.md(picture(title, drawn))
    except Exception as error:  # noqa: BLE001 - the flag is off already; a picture must not fail its run
        context.log.warning(f"no picture: {type(error).__name__}: {error}")
        return None
    return recorded


def _seconds(row: RollbackRow) -> dict[str, float]:
    """Seconds per stage on the machine's clock, where both ends are known.

    The decision is on the events' clock: how far that one is behind is a figure of its own, and no stage.
    """
    stages = {
        "seconds_intent_to_off": (row.intent_us, row.acked_us),
        "seconds_off_to_verified": (row.acked_us, row.effective_us),
        "seconds_intent_to_verified": (row.intent_us, row.effective_us),
        "seconds_stream_is_behind": (row.decided_us, row.intent_us),
    }
    return {
        name: round((end - start) / 1e6, 1)
        for name, (start, end) in stages.items()
        if start is not None and end is not None
    }
