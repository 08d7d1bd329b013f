"""What a message may say of the start that led to it: declared plain properties, times, the trace; never who the person is."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from functools import lru_cache
from hashlib import blake2b
from typing import Any

import msgspec

from gtm_dagster.taxonomy.plan import Plan
from gtm_dagster.triggers.outcomes import Action
from gtm_dagster.triggers.trigger_event import TriggerEvent

MOST_BYTES = 20_000
_encode = msgspec.json.Encoder().encode


class Started(msgspec.Struct, frozen=True, omit_defaults=True):
    """The event that started an occurrence. Times are microseconds UTC."""

    event: str
    at_us: int
    received_us: int
    properties: dict[str, Any] = {}
    trace_id: str | None = None


def plain_properties(plan: Plan) -> dict[str, frozenset[str]]:
    """The declared properties of each event that are not about a person."""
    return {
        name: frozenset(each for each, rule in spec.properties.items() if rule.privacy == "plain")
        for name, spec in plan.events.items()
    }


def started_by(event: TriggerEvent, plain: Mapping[str, frozenset[str]]) -> Started:
    """What may be kept of `event`."""
    allowed = plain.get(event.name, frozenset())
    properties = {name: value for name, value in event.properties.items() if name in allowed and value is not None}
    return Started(event.name, event.at_us, event.received_us, properties, event.trace_id)


def payload_of(action: Action, started: Started | None) -> dict[str, Any]:
    """The JSON object of a message, at most 20 kB: of larger ones the longest properties are left out, by name.

    `event` has no properties where the start is not known any more (a count that a late event completed).
    """
    payload: dict[str, Any] = {
        "action_id": action.action_id, "rule": action.rule, "person": action.person, "key": action.key or None,
        "due_at": moment(action.due_us), "decided_at": moment(action.at_us), "expires_at": moment(action.expires_us),
        "event": {"id": action.trigger_event_id},
    }  # fmt: skip
    if started is None:
        return payload
    properties = dict(started.properties)
    payload["event"] |= {
        "name": started.event,
        "at": moment(started.at_us),
        "received_at": moment(started.received_us),
        "properties": properties,
    }
    if started.trace_id:
        span = blake2b(action.action_id.encode(), digest_size=8).hexdigest()
        payload |= {"trace_id": started.trace_id, "traceparent": f"00-{started.trace_id}-{span}-01"}
    left_out: list[str] = []
    while properties and len(_encode(payload)) > MOST_BYTES:
        longest = max(properties, key=lambda name: len(_encode(properties[name])))
        del properties[longest]
        left_out.append(longest)
        payload["event"]["left_out"] = left_out
    return payload


def moment(us: int) -> str:
    """RFC 3339 in UTC with Z."""
    seconds, fraction = divmod(us, 1_000_000)
    return f"{_second(seconds)}.{fraction:06}Z" if fraction else f"{_second(seconds)}Z"


@lru_cache(1024)
def _second(seconds: int) -> str:
    """The messages of a moment name the same few seconds."""
    return datetime.fromtimestamp(seconds, UTC).replace(tzinfo=None).isoformat()
