"""The reject path: every reason against one event, as FieldErrors."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import msgspec

from gtm_dagster.taxonomy.envelope import (
    CONTEXT_LIMITS,
    DEVICE_TYPES,
    ID_LIMITS,
    MAX_US,
    MIN_US,
    NOT_KEPT,
    PURPOSES,
    STAMPED,
)
from gtm_dagster.taxonomy.event import EMAIL, FieldError, shown_name
from gtm_dagster.taxonomy.plan import EventSpec, Plan
from gtm_dagster.taxonomy.properties import check_properties, json_type

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_US = timedelta(microseconds=1)
_FIELDS = {*ID_LIMITS, *STAMPED, "event_name", "timestamp", "properties", "context"}
_CONTEXT_FIELDS = {*CONTEXT_LIMITS, *NOT_KEPT, "device_type", "consent"}
_ANY = EventSpec(description="", stage="operations", owner="", additional=True, name="any event")

Verdict = tuple[tuple[FieldError, ...], Any, Any]


def explain(plan: Plan, raw: bytes, decoder_error: str, latest_us: int = MAX_US) -> Verdict:
    """(errors, event_id, event_name) of one event's JSON.

    `decoder_error` is the message of msgspec, empty when it decoded the event; it is the reason when no rule gives one.
    `latest_us`: the latest event time allowed (microseconds UTC). No errors are returned only without `decoder_error`.
    """
    try:
        document = msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, ValueError) as error:
        return (_unreadable(raw, str(error)),), None, None
    if not isinstance(document, dict):
        return (FieldError("", "type", f"expected object, got {json_type(document)}"),), None, None
    errors = explain_document(plan, document, latest_us)
    if not errors and decoder_error:
        errors.append(FieldError("", "invalid", decoder_error))
    return tuple(errors), document.get("event_id"), document.get("event_name")


def explain_document(plan: Plan, event: dict[str, Any], latest_us: int = MAX_US) -> list[FieldError]:
    """Every reason against one decoded event, in the order of its fields."""
    errors: list[FieldError] = []
    for field, limit in ID_LIMITS.items():
        _identifier(event, field, limit, errors)
    if event.get("user_id") is None and event.get("anonymous_id") is None:
        errors.append(FieldError("user_id", "missing_identity", "one of user_id and anonymous_id is needed"))
    name = _event_name(plan, event, errors)
    _timestamp(event, latest_us, errors)
    _properties(plan.events[name] if name else _ANY, event.get("properties"), errors)
    _context(event.get("context"), errors)
    for field in event.keys() - _FIELDS:
        errors.append(
            FieldError(shown_name(field), "unknown_field", "not a field of an event; put data under properties")
        )
    return errors


def _identifier(event: dict[str, Any], field: str, limit: int, errors: list[FieldError]) -> None:
    value = event.get(field)
    if value is None:
        if field == "event_id":
            errors.append(FieldError(field, "missing_field", "event_id is needed"))
        return
    if not isinstance(value, str):
        errors.append(FieldError(field, "type", f"expected string, got {json_type(value)}"))
        return
    _text(field, value, limit, errors)
    if not value:
        errors.append(FieldError(field, "too_short", "an identifier has at least 1 character"))
    if field == "event_id" and EMAIL.search(value):
        errors.append(FieldError(field, "personal_data", "holds an e-mail address; send an opaque id"))


def _event_name(plan: Plan, event: dict[str, Any], errors: list[FieldError]) -> str | None:
    value = event.get("event_name")
    if value is None:
        errors.append(FieldError("event_name", "missing_field", "event_name is needed"))
        return None
    if not isinstance(value, str):
        errors.append(FieldError("event_name", "type", f"expected string, got {json_type(value)}"))
        return None
    name = plan.resolve(value)
    if name is None:
        message = f"{shown_name(value)} is not an event of plan {plan.version}"
        errors.append(FieldError("event_name", "unknown_event", message))
    return name


def _timestamp(event: dict[str, Any], latest_us: int, errors: list[FieldError]) -> None:
    value = event.get("timestamp")
    if value is None:
        errors.append(FieldError("timestamp", "missing_field", "timestamp is needed"))
        return
    if not isinstance(value, str):
        errors.append(FieldError("timestamp", "type", f"expected string, got {json_type(value)}"))
        return
    try:
        moment = msgspec.convert(value, Annotated[datetime, msgspec.Meta(tz=True)])
    except (msgspec.ValidationError, OverflowError, ValueError):
        errors.append(_bad_timestamp(value))
        return
    event_us = (moment - _EPOCH) // _US
    if not MIN_US <= event_us < MAX_US:
        errors.append(FieldError("timestamp", "timestamp_out_of_range", "outside the years 1990 to 2099"))
    elif event_us > latest_us:
        errors.append(FieldError("timestamp", "future_timestamp", "more than 1 h ahead of the receiver's clock"))


def _bad_timestamp(value: str) -> FieldError:
    try:
        msgspec.convert(value, Annotated[datetime, msgspec.Meta(tz=False)])
    except (msgspec.ValidationError, OverflowError, ValueError):
        return FieldError("timestamp", "bad_timestamp", "not RFC 3339, such as 2026-01-31T09:30:00Z")
    return FieldError("timestamp", "timestamp_without_offset", "needs an offset from UTC, such as Z or +02:00")


def _properties(spec: EventSpec, value: Any, errors: list[FieldError]) -> None:
    if value is None:
        value = {}
    if not isinstance(value, dict):
        errors.append(FieldError("properties", "type", f"expected object, got {json_type(value)}"))
        return
    errors.extend(check_properties(spec, value))


def _context(value: Any, errors: list[FieldError]) -> None:
    if value is None:
        return
    if not isinstance(value, dict):
        errors.append(FieldError("context", "type", f"expected object, got {json_type(value)}"))
        return
    for field, item in value.items():
        if item is None and field in _CONTEXT_FIELDS:
            continue
        path = f"context.{shown_name(field)}"
        if field not in _CONTEXT_FIELDS:
            errors.append(FieldError(path, "unknown_field", "not a field of context; put data under properties"))
        elif field in NOT_KEPT:
            continue
        elif field == "consent":
            _consent(item, errors)
        elif not isinstance(item, str):
            errors.append(FieldError(path, "type", f"expected string, got {json_type(item)}"))
        elif field == "device_type":
            if item not in DEVICE_TYPES:
                errors.append(FieldError(path, "not_allowed", f"allowed: {', '.join(DEVICE_TYPES)}"))
        else:
            _text(path, item, CONTEXT_LIMITS[field], errors)


def _consent(value: Any, errors: list[FieldError]) -> None:
    if not isinstance(value, dict):
        errors.append(FieldError("context.consent", "type", f"expected object, got {json_type(value)}"))
        return
    for purpose, granted in value.items():
        path = f"context.consent.{shown_name(purpose)}"
        if purpose not in PURPOSES:
            errors.append(FieldError(path, "not_allowed", f"purposes: {', '.join(PURPOSES)}"))
        elif not isinstance(granted, bool):
            errors.append(FieldError(path, "type", f"expected boolean, got {json_type(granted)}"))


def _text(path: str, value: str, limit: int, errors: list[FieldError]) -> None:
    if len(value) > limit:
        errors.append(FieldError(path, "too_long", f"{len(value)} characters, at most {limit}"))
    if "\x00" in value:
        errors.append(FieldError(path, "nul", "holds a NUL character"))


def _unreadable(raw: bytes, decoder_error: str) -> FieldError:
    """Why bytes are not JSON; msgspec calls a lone surrogate "truncated", so this looks again."""
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        return FieldError("", "invalid_utf8", "not UTF-8")
    if "out of range" in decoder_error:
        return FieldError("", "number_out_of_range", "a number beyond the range of a 64-bit float")
    try:
        json.dumps(json.loads(text, parse_constant=_refuse), ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return FieldError("", "lone_surrogate", "holds half of a surrogate pair")
    except (ValueError, RecursionError):
        pass
    return FieldError("", "invalid_json", decoder_error)


def _refuse(constant: str) -> None:
    raise ValueError(constant)
