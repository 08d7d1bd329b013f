"""Telling people: messages go through the outbox of the ops store, so that a sink that is down delays and never loses one."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import requests

if TYPE_CHECKING:
    from gtm_dagster.opsstore import NotificationRow, OpsStore, RollbackRow
    from gtm_dagster.settings import Notify, Settings

TIMEOUT_SECONDS = 3.0
FIRST_WAIT_US = 5_000_000
LONGEST_WAIT_US = 600_000_000


@dataclass(frozen=True)
class Message:
    """What is told: `event` (rolled_back, would_roll_back, rollback_failed, superseded, srm_hold, blind), one text, figures."""

    event: str
    guard: str
    text: str
    figures: dict[str, Any]


@dataclass(frozen=True)
class Delivery:
    """One attempt: `error` is None when the sink took it."""

    id: str
    sink: str
    error: str | None


def sinks(settings: Settings) -> dict[str, Notify]:
    """The declared sinks by the name the outbox keeps: kind and place in gtm.toml, never the address."""
    return {f"{sink.kind}[{index}]": sink for index, sink in enumerate(settings.notify)}


def enqueue(store: OpsStore, settings: Settings, episode: str, occurrence: str, message: Message, at_us: int) -> int:
    """Put the message into the outbox, once a sink and occurrence; returns to how many sinks it is new."""
    payload = json.dumps(asdict(message), sort_keys=True, ensure_ascii=False)
    return sum(
        store.enqueue(f"{episode}:{occurrence}:{name}", episode, name, payload, at_us) for name in sinks(settings)
    )


def deliver_due(
    store: OpsStore, settings: Settings, now_us: int, environ: Mapping[str, str] | None = None, only: str | None = None
) -> list[Delivery]:
    """Send what is due (`only` an episode's); what a sink refuses is due again after 5, 10, 20 ... at most 600 s."""
    declared = sinks(settings)
    environ = os.environ if environ is None else environ
    told = []
    for note in store.due(now_us):
        if only is not None and note.episode != only:
            continue
        sink = declared.get(note.sink)
        error = f"{note.sink} is no longer declared in gtm.toml" if sink is None else _post(sink, note, environ)
        if error is None:
            store.delivered(note.id, now_us)
        else:
            wait = min(FIRST_WAIT_US * 2 ** min(note.attempts, 20), LONGEST_WAIT_US)
            store.failed(note.id, error, now_us + wait)
        told.append(Delivery(note.id, note.sink, error))
    return told


def _post(sink: Notify, note: NotificationRow, environ: Mapping[str, str]) -> str | None:
    """The reason it was not taken, None when it was. An address may be a secret: it never stands in the reason."""
    url = sink.url or environ.get(sink.url_env or "")
    if not url:
        return f"no address: set {sink.url_env}" if sink.url_env else "no address: give url or url_env under [[notify]]"
    message = json.loads(note.payload)
    body = {"text": message["text"]} if sink.kind == "slack" else {"id": note.id, "episode": note.episode, **message}
    try:
        answer = requests.post(url, json=body, timeout=TIMEOUT_SECONDS, allow_redirects=False)
    except requests.RequestException as error:
        return f"not reached ({type(error).__name__})"
    return None if answer.status_code // 100 == 2 else f"answered {answer.status_code}"


def not_delivered(store: OpsStore) -> list[NotificationRow]:
    """Messages that were tried and have not arrived."""
    return [note for note in store.notifications() if note.status != "delivered" and note.attempts]


def undelivered_line(notes: Sequence[NotificationRow]) -> str:
    """One line for states and skip reasons; empty when everything arrived."""
    if not notes:
        return ""
    last = notes[-1]
    return f"not delivered: {len(notes)} message(s), {last.sink} {last.last_error} after {last.attempts} attempt(s)"


def rollback_message(row: RollbackRow, event: str, detail: str = "") -> Message:
    """The message about an episode, with its figures."""
    subject = f"{row.flag} in {row.environment}"
    head = {
        "rolled_back": f"{subject} was rolled back",
        "would_roll_back": f"{subject} would have been rolled back (dry run, the flag stays as it is)",
        "rollback_failed": f"{subject} could NOT be proven off at {row.provider}; gates hold the old flow by the kill list",
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
        parts.append(f"to watch it again: gtm guard rearm {row.flag} --reason ...")
    figures = {
        "flag": row.flag, "environment": row.environment, "provider": row.provider, "episode": row.episode,
        "estimate": row.estimate, "low": row.low, "high": row.high, "log_e": row.log_e, "log_budget": row.log_budget,
        "decided_at": moment(row.decided_us), "effective_at": moment(row.effective_us), "verified": row.verified,
        "dry_run": row.dry_run, "run_id": row.run_id, "actor": row.actor, "reason": row.reason,
    }  # fmt: skip
    return Message(event, row.guard, ". ".join(part for part in parts if part) + ".", figures)


def loss_text(row: RollbackRow) -> str:
    """The loss with its interval and evidence; empty without an estimate."""
    if row.estimate is None:
        return ""
    between = f" (95 %: {row.low:.0%} to {row.high:.0%})" if row.low is not None and row.high is not None else ""
    evidence = f", log e {row.log_e:.1f} of {row.log_budget:.1f}" if row.log_e is not None and row.log_budget else ""
    return f"the treated arm lost {row.estimate:.0%} of the control's conversion{between}{evidence}"


def moment(us: int | None) -> str | None:
    """RFC 3339 in UTC with Z."""
    if us is None:
        return None
    return datetime.fromtimestamp(us / 1e6, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
