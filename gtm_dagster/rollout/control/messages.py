"""Messages about an episode, put into the outbox of the ops store; `delivery` sends them from there."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from gtm_dagster.settings import CONVERSION

if TYPE_CHECKING:
    from gtm_dagster.opsstore import OpsStore, RollbackRow
    from gtm_dagster.settings import Settings


@dataclass(frozen=True)
class Message:
    """A message: `event` (rolled_back, would_roll_back, rollback_failed, given_up, superseded, srm_hold,
    blind, harm; ramp_step, ramp_approval; silent, back; run_failed, run_well_again, check_failed), one text, figures."""

    event: str
    guard: str
    text: str
    figures: dict[str, Any]


def enqueue(store: OpsStore, settings: Settings, episode: str, occurrence: str, message: Message, at_us: int) -> int:
    """Put the message into the outbox, once a sink and occurrence; returns to how many sinks it is new."""
    payload = json.dumps(asdict(message), sort_keys=True, ensure_ascii=False)
    return sum(
        store.enqueue(f"{episode}:{occurrence}:{name}", episode, name, payload, at_us) for name in settings.sinks
    )


def rollback_message(row: RollbackRow, event: str, detail: str = "") -> Message:
    """The message about an episode, with its figures."""
    subject = f"{row.flag} in {row.environment}"
    head = {
        "rolled_back": f"{subject} was rolled back",
        "would_roll_back": f"{subject} would have been rolled back (dry run, the flag stays as it is)",
        "rollback_failed": f"{subject} could NOT be proven off at {row.provider}; gates hold the old flow by the kill list",
        "given_up": f"the rollback of {subject} was given up: the flag is NOT proven off at {row.provider}",
        "superseded": f"{subject} was changed by somebody during the breach; the guard stands down",
    }[event]
    parts = [head, loss_text(row)]
    if row.acked_us and row.decided_us and row.effective_us:
        parts.append(f"decided {moment(row.decided_us)}, verified off {moment(row.effective_us)}")
    if detail:
        parts.append(detail)
    if row.actor != "conversion_guard":
        parts.append(f"asked for by {row.actor}: {row.reason}")
    if event != "rollback_failed":
        parts.append(f"to watch it again: `gtm guard rearm {row.flag} --reason ...`")
    figures = {
        "flag": row.flag, "environment": row.environment, "provider": row.provider, "episode": row.episode,
        "estimate": row.estimate, "low": row.low, "high": row.high, "log_e": row.log_e, "log_budget": row.log_budget,
        "decided_at": moment(row.decided_us), "effective_at": moment(row.effective_us), "verified": row.verified,
        "dry_run": row.dry_run, "metric": row.metric, "run_id": row.run_id, "actor": row.actor, "reason": row.reason,
    }  # fmt: skip
    return Message(event, row.guard, ". ".join(part for part in parts if part) + ".", figures)


def loss_text(row: RollbackRow) -> str:
    """The loss with its interval and evidence; of another metric than the conversion the reason; empty without an estimate."""
    if row.metric not in (None, CONVERSION):
        return row.reason or "" if row.actor == "conversion_guard" else ""
    if row.estimate is None:
        return ""
    between = f" (95 %: {row.low:.0%} to {row.high:.0%})" if row.low is not None and row.high is not None else ""
    evidence = (
        f", evidence {row.log_e:.1f} of {row.log_budget:.1f} needed" if row.log_e is not None and row.log_budget else ""
    )
    return f"the treated arm lost {row.estimate:.0%} of the control's conversion{between}{evidence}"


def moment(us: int | None) -> str | None:
    """RFC 3339 in UTC with Z."""
    if us is None:
        return None
    return datetime.fromtimestamp(us / 1e6, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
