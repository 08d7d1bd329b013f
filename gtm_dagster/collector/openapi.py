"""The collector's requests and answers as an OpenAPI document: what its routes take, every status they give, and how an answer looks.

An event's own form is not said here: whatever JSON it is, it gets a verdict of its own. The plan says what is accepted, at /plan.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from gtm_dagster.collector.protocols import SenderProtocol

ROUTE = "/openapi.json"
Schema = dict[str, Any]

_TEXT: Schema = {"type": "string"}
_COUNT: Schema = {"type": "integer", "minimum": 0}
_COUNTS: Schema = dict.fromkeys(("accepted", "duplicates", "quarantined", "suppressed"), _COUNT)
_ANYTHING: Schema = {}
_OBJECTS: Schema = {"type": "array", "items": _ANYTHING}


def _object(required: Mapping[str, Schema], optional: Mapping[str, Schema] | None = None) -> Schema:
    return {"type": "object", "properties": {**required, **(optional or {})}, "required": list(required)}


def _ref(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


_SCHEMAS: dict[str, Schema] = {
    "Error": _object({"code": _TEXT, "message": _TEXT}),
    "Reason": _object({"path": _TEXT, "code": _TEXT, "message": _TEXT}),
    "Result": _object(
        {
            "event_id": {"type": ["string", "null"]},
            "status": {"enum": ["accepted", "duplicate", "quarantined", "suppressed"]},
            "errors": {"type": "array", "items": _ref("Reason")},
        },
        {"note": _TEXT, "offset": _TEXT, "plan_version": _TEXT},
    ),
    "Answer": _object(
        {**_COUNTS, "results": {"type": "array", "items": _ref("Result")}, "plan_version": _TEXT, "offset": _TEXT}
    ),
    "SegmentAnswer": _object(
        {"success": {"const": True}, **_COUNTS, "refused": {"type": "array", "items": _ref("Result")}}
    ),
    "PostHogAnswer": _object({"status": {"const": 1}, **_COUNTS, "refused": {"type": "array", "items": _ref("Result")}}),
    "PostHogResults": _object(
        {
            "results": {
                "type": "object",
                "additionalProperties": _object({"result": {"enum": ["ok", "warning", "drop"]}}, {"details": _TEXT}),
            },
            **_COUNTS,
        }
    ),
    "Status": _object({"status": _TEXT}),
    "Trace": _object(
        {
            "event_id": _TEXT,
            "write_key": _TEXT,
            "verdict": _TEXT,
            "staged": {"type": "boolean"},
            "errors": {"type": "array", "items": _ref("Reason")},
            "credit": _OBJECTS,
            "other_copies": _OBJECTS,
        },
        {
            name: {"type": [kind, "null"]}
            for kind, names in {
                "string": (
                    "received_at", "event_name", "event_time", "original_time", "trace_id", "log_id", "sent_with", "plan_version",
                    "landed_file", "not_staged", "no_session",
                ),
                "integer": ("offset",),
                "object": ("session", "conversion"),
                "boolean": ("original_kept",),
            }.items()
            for name in names
        },
    ),
    "Rollback": _object({"outcome": _TEXT}, dict.fromkeys(("guard", "episode", "message", "actor", "reason"), _TEXT)),
}  # fmt: skip
_EVENTS: Schema = {"anyOf": [{"type": "object"}, _OBJECTS]}

_BATCH: Schema = {"type": "object", "properties": {"batch": _OBJECTS}, "required": ["batch"]}
_BATCH_FIELD = {"amplitude": "events", "snowplow": "data"}
"""Protocols whose requests hold their events under another name than `batch`."""
_MEDIA = {"snowplow": "text/plain", "snowplow_pixel": "image/gif"}
"""What protocols answer with that is no JSON."""
_MOMENT: Schema = {
    "description": "RFC 3339 with an offset, or seconds since 1970.",
    "anyOf": [
        {"type": "string", "pattern": r"^20\d\d-(0[1-9]|1[0-2])-(0[1-9]|1\d|2[0-8])T([01]\d|2[0-3]):[0-5]\d:[0-5]\dZ$"},
        {"type": "number", "minimum": 0, "exclusiveMaximum": 4_102_444_800},
        {"type": "null"},
    ],
}
_PROGRAM: Schema = {
    "type": "string",
    "pattern": r"^[!-$&-?A-~]{1,128}$",
    "description": "The name of a program or host; nobody's address or number.",
}
_HEARTBEAT: Schema = _object(
    {"producer": _PROGRAM},
    {
        "ts": _MOMENT,
        "sent_at": _MOMENT,
        "instance": {"anyOf": [_PROGRAM, {"const": ""}]},
        "closing": {"type": "boolean"},
    },
)
_ANSWERS = {
    "native": "Answer",
    "cloudevents": "Answer",
    "segment": "SegmentAnswer",
    "jitsu": "SegmentAnswer",
    "posthog": "PostHogAnswer",
    "posthog_v1": "PostHogResults",
}
"""Schemas of answers; of a protocol that is not here anything is answered."""
_PROBLEMS = {
    400: "It cannot be read.",
    401: "No key, or none that is good here.",
    403: "The key may not do this, or the request comes from elsewhere.",
    404: "There is nothing of this name for this key.",
    405: "Another method; `Allow` names those that are taken.",
    408: "The body did not arrive in time; the connection is closed.",
    409: "The guard is latched.",
    413: "Too many bytes or too many events; send fewer.",
    415: "A Content-Encoding that is not taken.",
    429: "Too much; send it again after `Retry-After` seconds.",
    501: "This installation lacks what answers this.",
    503: "It cannot be made durable now; send it again after `Retry-After` seconds.",
}
_WAITING = (429, 503)
_OF_EVENTS = (400, 401, 403, 405, 408, 413, 415, 429, 503)
_KEYS: list[dict[str, list[str]]] = [{"writeKey": []}, {"bearer": []}, {"basic": []}]
_KEYS_OF_EVENTS: list[dict[str, list[str]]] = [*_KEYS, {"inAddress": []}]


def document(protocols: Iterable[SenderProtocol], version: str) -> Schema:
    """The OpenAPI 3.1 document of a collector that speaks `protocols`; `version`: of the program."""
    paths: dict[str, Schema] = {}
    for protocol in protocols:
        for path in protocol.paths:
            paths[path] = {"get" if protocol.in_query else "post": _events_of(protocol, path)}
    paths |= _PAGES
    return {
        "openapi": "3.1.0",
        "info": {"title": "gtm-dagster collector", "version": version},
        "paths": paths,
        "components": {
            "schemas": _SCHEMAS,
            "securitySchemes": {
                "writeKey": {"type": "apiKey", "in": "header", "name": "X-Write-Key"},
                "bearer": {"type": "http", "scheme": "bearer"},
                "basic": {"type": "http", "scheme": "basic", "description": "The key as the user, no password."},
                "inAddress": {"type": "apiKey", "in": "query", "name": "writeKey", "description": "Client keys alone."},
            },
        },
    }


def _events_of(protocol: SenderProtocol, path: str) -> Schema:
    is_batch = protocol.name == "posthog_v1" or (
        protocol.name == "segment" and path.endswith(("batch", "/b", "/import"))
    )
    answer = (
        _ref(_ANSWERS[protocol.name]) if protocol.name in _ANSWERS else _TEXT if protocol.name in _MEDIA else _ANYTHING
    )
    field = _BATCH_FIELD.get(protocol.name)
    body = _object({field: _OBJECTS}) if field else _BATCH if is_batch else _EVENTS
    operation = _operation(
        f"Events by the protocol {protocol.name}.", 200, answer, _OF_EVENTS,
        body=None if protocol.in_query else body, media=_MEDIA.get(protocol.name, "application/json"),
    )  # fmt: skip
    return operation | {"security": _KEYS_OF_EVENTS if protocol.key_of is None else [*_KEYS_OF_EVENTS, {}]}


def _operation(
    summary: str,
    status: int,
    answer: Schema | None,
    problems: Iterable[int],
    *,
    body: Schema | None = None,
    media: str = "application/json",
    security: list[dict[str, list[str]]] | None = None,
    parameter: str | None = None,
) -> Schema:
    success: Schema = {"description": "Done."}
    if answer is not None:
        success["content"] = {media: {"schema": answer}}
    operation: Schema = {
        "summary": summary,
        "responses": {str(status): success} | {str(each): _problem(each) for each in sorted({400, *problems})},
    }
    if body is not None:
        operation["requestBody"] = {"required": True, "content": {"application/json": {"schema": body}}}
    if security is not None:
        operation["security"] = security
    if parameter is not None:
        operation["parameters"] = [
            {"name": parameter, "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}
        ]
    return operation


def _problem(status: int) -> Schema:
    found: Schema = {
        "description": _PROBLEMS[status],
        "content": {"application/json": {"schema": _ref("Error")}},
    }
    if status in _WAITING:
        found["headers"] = {"Retry-After": {"schema": {"type": "integer", "minimum": 1}}}
    return found


_PAGES: dict[str, Schema] = {
    "/heartbeat": {
        "post": _operation(
            "A producer has delivered everything up to a moment.", 200, _ref("Status"),
            (401, 403, 405, 408, 413, 415, 429, 503), body=_HEARTBEAT, security=_KEYS,
        )
    },
    "/events/{id}": {
        "get": _operation(
            "What became of one event of the key that asks.", 200, _ref("Trace"), (401, 403, 404, 405, 501, 503),
            security=_KEYS, parameter="id",
        )
    },
    "/guards/{flag}/rollback": {
        "post": _operation(
            "An alerting system asks for the rollback of a guarded flag.", 202, _ref("Rollback"),
            (401, 403, 404, 405, 408, 409, 413, 415, 501, 503), body={"type": "object"}, security=_KEYS, parameter="flag",
        )
    },
    "/livez": {"get": _operation("Whether the process works.", 200, _ref("Status"), (405, 503))},
    "/readyz": {"get": _operation("Whether it takes events now.", 200, _ref("Status"), (405, 503))},
    "/metrics": {
        "get": _operation("Figures for Prometheus.", 200, _TEXT, (401, 403, 405, 503), media="text/plain", security=[*_KEYS, {}])
    },
    "/plan": {
        "get": _operation("The JSON Schema of every event.", 200, {"type": "object"}, (401, 403, 405, 503), security=[*_KEYS, {}])
    },
    "/gtm.js": {"get": _operation("The script for pages.", 200, _TEXT, (405,), media="text/javascript")},
    ROUTE: {"get": _operation("This document.", 200, {"type": "object"}, (405,))},
}  # fmt: skip
_PAGES["/guards/{flag}/rollback"]["post"]["responses"]["200"] = {
    "description": "The alert is over; nothing was asked.",
    "content": {"application/json": {"schema": _ref("Rollback")}},
}
