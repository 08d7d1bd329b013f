"""What admits an event beside the plan: the version of the rules, drills, and the form in which a refused event is kept."""

from __future__ import annotations

import hashlib
from typing import Any

from gtm_dagster.settings import DRILL_EVENT, DRILL_FLAG, DRILL_REASON
from gtm_dagster.taxonomy import Event, FieldError, Plan
from gtm_dagster.taxonomy.envelope import STAMPED

RULES_VERSION = "3"
"""Changes with every change of a verdict or of what lands: rows admitted by other rules are judged again when staged."""

DRILL = FieldError("properties.flag", DRILL_REASON, "drill traffic: the guard counts it, no table keeps it")
DRILL_EVENTS = frozenset({"flag_exposed", DRILL_EVENT})
NO_CONSENT = FieldError(
    "context.consent.analytics",
    "consent",
    "sent without consent to analytics; nothing of it is kept. Send context.consent.analytics = true once the person "
    "agrees; where its sender asks before it sends, make its key with `gtm keys add NAME --gates-consent`",
)
REFUSED_CONSENT = FieldError(
    "context.consent.analytics", "consent", "the person refuses analytics; nothing of it is kept"
)


def rules_fingerprint(plan: Plan) -> str:
    """16 hex characters of the plan and the rules that admit events."""
    return hashlib.sha256(f"{plan.fingerprint}\x00{RULES_VERSION}".encode()).hexdigest()[:16]


def is_drill(event: Event) -> bool:
    """Whether the event is synthetic: the guard and the books count it, and no table keeps it."""
    return event.event_name in DRILL_EVENTS and event.properties.get("flag") == DRILL_FLAG


def canonical_document(document: dict[str, Any]) -> dict[str, Any]:
    """A refused event without what is absent in it or added on its way, so that every door keeps the same of it."""
    kept = {field: value for field, value in document.items() if value is not None and field not in STAMPED}
    context = kept.get("context")
    if isinstance(context, dict):
        kept["context"] = {field: value for field, value in sorted(context.items()) if value is not None}
    return {field: value for field, value in kept.items() if value != {} or field not in ("context", "properties")}
