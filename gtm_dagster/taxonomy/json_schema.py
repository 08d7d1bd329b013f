"""The plan as JSON Schema (draft 2020-12), for documentation and editors; the verdict is that of EventValidator."""

from __future__ import annotations

from typing import Any

from gtm_dagster.taxonomy.envelope import CONTEXT_LIMITS, DEVICE_TYPES, ID_LIMITS, NOT_KEPT, PURPOSES, STAMPED
from gtm_dagster.taxonomy.plan import DEFAULT_MAX_LENGTH, EventSpec, Plan, PropertySpec
from gtm_dagster.taxonomy.properties import INT64_MAX, INT64_MIN

_OPEN: dict[str, Any] = {
    "anyOf": [
        {"type": "string", "maxLength": DEFAULT_MAX_LENGTH},
        {"type": "integer", "minimum": INT64_MIN, "maximum": INT64_MAX},
        {"type": ["number", "boolean", "null"]},
    ]
}


def plan_schema(plan: Plan) -> dict[str, Any]:
    """One schema for all events of `plan`: an event matches the branch of `oneOf` with its `event_name`."""
    spellings = _spellings(plan)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"Tracking plan {plan.version}",
        "type": "object",
        "required": ["event_id", "event_name", "timestamp"],
        "properties": _envelope(),
        "additionalProperties": False,
        "anyOf": [_present("user_id"), _present("anonymous_id")],
        "oneOf": [event_schema(spec, spellings[name]) for name, spec in plan.events.items()],
    }


def event_schemas(plan: Plan) -> dict[str, dict[str, Any]]:
    """By event name one schema that stands for itself, of draft 7, which every registry of schemas knows.

    It says nothing of the plan's version, so that it changes with the event alone.
    """
    return {
        name: {
            "$schema": "http://json-schema.org/draft-07/schema#",
            "type": "object",
            "additionalProperties": False,
            "anyOf": [_present("user_id"), _present("anonymous_id")],
            **(branch := event_schema(plan.events[name], spellings)),
            "required": ["event_id", "event_name", "timestamp", *branch.get("required", ())],
            "properties": _envelope() | branch["properties"],
        }
        for name, spellings in _spellings(plan).items()
    }


def _spellings(plan: Plan) -> dict[str, list[str]]:
    """The names by which each event may be sent."""
    found: dict[str, list[str]] = {name: [name] for name in plan.events}
    for alias, name in plan.aliases.items():
        found[name].append(alias)
    return found


def event_schema(spec: EventSpec, spellings: list[str]) -> dict[str, Any]:
    """The branch of one event: its names and its properties."""
    properties: dict[str, Any] = {
        "type": "object" if spec.required else ["object", "null"],
        "properties": {name: _property(rule) for name, rule in spec.properties.items()},
        "additionalProperties": _OPEN if spec.additional else False,
    }
    branch: dict[str, Any] = {
        "title": spec.name,
        "description": spec.description,
        "properties": {"event_name": {"enum": spellings}, "properties": properties},
        "x-stage": spec.stage,
        "x-owner": spec.owner,
    }
    if spec.required:
        properties["required"] = list(spec.required)
        branch["required"] = ["properties"]
    return branch


def _property(rule: PropertySpec) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": rule.type if rule.required else [rule.type, "null"], "x-privacy": rule.privacy}
    if rule.description:
        schema["description"] = rule.description
    if rule.allowed:
        schema["enum"] = [*rule.allowed] if rule.required else [*rule.allowed, None]
    if rule.minimum is not None:
        schema["minimum"] = rule.minimum
    if rule.maximum is not None:
        schema["maximum"] = rule.maximum
    if rule.type == "string":
        schema["maxLength"] = rule.max_length
        if rule.pattern:
            schema["pattern"] = f"^(?:{rule.pattern})$"
    return schema


def _envelope() -> dict[str, Any]:
    fields: dict[str, Any] = {
        name: {"type": "string" if name == "event_id" else ["string", "null"], "minLength": 1, "maxLength": limit}
        for name, limit in ID_LIMITS.items()
    }
    fields["event_name"] = {"type": "string"}
    fields["timestamp"] = {
        "type": "string",
        "format": "date-time",
        "description": "RFC 3339 with an offset; years 1990 to 2099",
    }
    fields["properties"] = {"type": ["object", "null"]}
    fields["context"] = _context()
    fields |= {name: {"description": "Added by the collector, ignored when sent"} for name in STAMPED}
    fields["original_timestamp"] = {"description": "The sender's own time, where the collector moved `timestamp`"}
    fields["traceparent"] = {"description": "The trace it belongs to (W3C Trace Context), before that of its request"}
    return fields


def _context() -> dict[str, Any]:
    fields: dict[str, Any] = {
        name: {"type": ["string", "null"], "maxLength": limit} for name, limit in CONTEXT_LIMITS.items()
    }
    fields["device_type"] = {"enum": [*DEVICE_TYPES, None]}
    fields["consent"] = {
        "type": ["object", "null"],
        "properties": {purpose: {"type": "boolean"} for purpose in PURPOSES},
        "additionalProperties": False,
    }
    fields |= {name: {"description": "Accepted, never kept"} for name in NOT_KEPT}
    fields["user_agent"] = {"description": "Of the person's browser: says whether a bot sent the event; never kept"}
    return {"type": ["object", "null"], "properties": fields, "additionalProperties": False}


def _present(name: str) -> dict[str, Any]:
    return {"required": [name], "properties": {name: {"type": "string"}}}
