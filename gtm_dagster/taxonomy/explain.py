"""The reject path: every reason against one event, as FieldErrors."""

from __future__ import annotations

import json
from functools import lru_cache
from typing import Any

import msgspec

from gtm_dagster.settings.nearest import did_you_mean, nearest
from gtm_dagster.taxonomy.absent import present_id
from gtm_dagster.taxonomy.envelope import (
    CAMPAIGN_FIELDS,
    CONTEXT_LIMITS,
    DEVICE_TYPES,
    ID_LIMITS,
    MAX_US,
    MIN_US,
    NOT_KEPT,
    PURPOSES,
    STAMPED,
    UTM_FIELDS,
)
from gtm_dagster.taxonomy.event import EMAIL, FieldError, shown_name
from gtm_dagster.taxonomy.plan import EventSpec, Plan
from gtm_dagster.taxonomy.properties import check_properties, json_type
from gtm_dagster.taxonomy.times import BAD, WITHOUT_OFFSET
from gtm_dagster.taxonomy.touch import CLICK_ID_NAMES

_FIELDS = {*ID_LIMITS, *STAMPED, "event_name", "timestamp", "properties", "context"}
_TEXT_LIMITS = CONTEXT_LIMITS | {
    name: CONTEXT_LIMITS[field] for name, field in zip(UTM_FIELDS, CAMPAIGN_FIELDS, strict=True)
}
_CONTEXT_FIELDS = {*_TEXT_LIMITS, *NOT_KEPT, "device_type", "consent"}
_OTHER_NAMES = {
    "event": "event_name", "name": "event_name", "type": "event_name", "ts": "timestamp", "time": "timestamp",
    "event_time": "timestamp", "id": "event_id", "messageid": "event_id", "insert_id": "event_id", "distinct_id": "user_id",
    "uid": "user_id", "visitor_id": "anonymous_id", "client_id": "anonymous_id", "device_id": "anonymous_id",
    "props": "properties", "data": "properties", "params": "properties", "traits": "properties",
}  # fmt: skip
_OTHER_CONTEXT_NAMES = {
    "url": "page_url", "page": "page_url", "location": "page_url", "href": "page_url", "ref": "referrer", "referer": "referrer",
    "document_referrer": "referrer", "lang": "locale", "language": "locale", "device": "device_type", "tz": "timezone",
    "utm_id": "campaign", "channel": "medium", "keyword": "term", "utm_keyword": "term", "ip_address": "ip",
    "ua": "user_agent", "state": "region", "country_code": "country",
}  # fmt: skip
_ANY = EventSpec(description="", stage="operations", owner="", additional=True, name="any event")


def decoded(raw: bytes, decoder_error: str) -> tuple[dict[str, Any] | None, tuple[FieldError, ...]]:
    """The object of one event's JSON; None with the reason where it is none. `decoder_error`: the message of msgspec."""
    try:
        document = msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, ValueError) as error:
        return None, (_unreadable(raw, str(error) or decoder_error),)
    if not isinstance(document, dict):
        return None, (FieldError("", "type", f"expected object, got {json_type(document)}"),)
    return document, ()


def explain_document(
    plan: Plan, event: dict[str, Any], moment: int | str | None, latest_us: int = MAX_US, *, needs_id: bool = True
) -> list[FieldError]:
    """Every reason against one decoded event, in the order of its fields.

    `moment`: its time (microseconds UTC), the code of the reason why its text is none, or None without a time.
    `latest_us`: the latest time allowed. `needs_id`: nobody makes an id for an event without one.
    """
    errors: list[FieldError] = []
    for field, limit in ID_LIMITS.items():
        _identifier(event, field, limit, errors)
    if needs_id and event.get("event_id") is None:
        errors.append(FieldError("event_id", "missing_field", "event_id is needed"))
    elif needs_id and _names_nothing(event["event_id"]):
        errors.append(FieldError("event_id", "placeholder_id", "is a word for nothing or blank; send an id of its own"))
    _person(event, errors)
    name = _event_name(plan, event, errors)
    _timestamp(event, moment, latest_us, errors)
    _properties(plan.events[name] if name else _ANY, event.get("properties"), errors)
    _context(event.get("context"), errors)
    for field in sorted(event.keys() - _FIELDS):
        errors.append(FieldError(shown_name(field), "unknown_field", _unknown_field(field)))
    return errors


def _unknown_field(field: str) -> str:
    if field in _CONTEXT_FIELDS or _OTHER_CONTEXT_NAMES.get(field.lower()):
        return f"not a field of an event; it is context.{_OTHER_CONTEXT_NAMES.get(field.lower(), field)}"
    hint = _hint(field, _FIELDS, _OTHER_NAMES)
    return f"not a field of an event{hint or '; put data under properties'}"


def meant_field(path: str) -> str | None:
    """Where the value of an unknown field (`utm_source`, `context.url`) belongs: `context.NAME` or `event.NAME`, None when
    no field is near.
    """
    part, _, name = path.rpartition(".")
    if shown_name(name) != name or part not in ("", "context"):
        return None
    lower = name.lower()
    if part == "" and (name in _CONTEXT_FIELDS or lower in _OTHER_CONTEXT_NAMES):
        return f"context.{_OTHER_CONTEXT_NAMES.get(lower, name)}"
    fields, others = (_CONTEXT_FIELDS, _OTHER_CONTEXT_NAMES) if part else (_FIELDS - set(STAMPED), _OTHER_NAMES)
    close = (others[lower],) if lower in others else nearest(name, sorted(fields), most=1)
    return f"{part or 'event'}.{close[0]}" if close else None


def _hint(name: str, known: set[str], others: dict[str, str]) -> str:
    """`; did you mean FIELD?`, empty when no field is near or the name may not be shown."""
    if shown_name(name) != name:
        return ""
    other = others.get(name.lower())
    return f"; did you mean {other}?" if other else _near(name, tuple(sorted(known - set(STAMPED))))


_near = lru_cache(1024)(did_you_mean)
"""One wrong name is in every row of a file, and looking for its neighbours costs a millisecond."""


def _names_nothing(value: Any) -> bool:
    return isinstance(value, str) and present_id(value) is None


def _person(event: dict[str, Any], errors: list[FieldError]) -> None:
    """One of both ids names somebody; a blank is as good as nothing, a word for nothing has a reason of its own."""
    given = [(field, event.get(field)) for field in ("user_id", "anonymous_id")]
    if any(value is not None and not _names_nothing(value) for _, value in given):
        return
    words = [field for field, value in given if value is not None and value.strip()]
    if words:
        message = "is a word that programs write for nothing; without a user id leave it out and send anonymous_id"
        errors.append(FieldError(words[0], "placeholder_id", message))
    else:
        errors.append(FieldError("user_id", "missing_identity", "one of user_id and anonymous_id is needed"))


def _identifier(event: dict[str, Any], field: str, limit: int, errors: list[FieldError]) -> None:
    value = event.get(field)
    if value is None:
        return
    if not isinstance(value, str):
        errors.append(FieldError(field, "type", f"expected string, got {json_type(value)}"))
        return
    _text(field, value, limit, errors)
    if field == "event_id" and EMAIL.search(value):
        errors.append(FieldError(field, "personal_data", "holds an e-mail address; send an opaque id"))


def _event_name(plan: Plan, event: dict[str, Any], errors: list[FieldError]) -> str | None:
    value = event.get("event_name")
    if value is None or value == "":
        errors.append(FieldError("event_name", "missing_field", "event_name is needed"))
        return None
    if not isinstance(value, str):
        errors.append(FieldError("event_name", "type", f"expected string, got {json_type(value)}"))
        return None
    name = plan.resolve(value)
    if name is None:
        shown = shown_name(value)
        near = _near(value, (*plan.events, *plan.aliases)) if shown == value else ""
        where = f" ({plan.where})" if plan.where else ""
        message = f"{shown} is not an event of plan {plan.version}{where}{near}"
        errors.append(FieldError("event_name", "unknown_event", message))
    return name


def _timestamp(event: dict[str, Any], moment: int | str | None, latest_us: int, errors: list[FieldError]) -> None:
    value = event.get("timestamp")
    if value is not None and not isinstance(value, str):
        errors.append(FieldError("timestamp", "type", f"expected string, got {json_type(value)}"))
    elif moment is None:
        errors.append(FieldError("timestamp", "missing_field", "timestamp is needed"))
    elif isinstance(moment, str):
        errors.append(FieldError("timestamp", moment, _NO_TIME.get(moment, "is no time")))
    elif not MIN_US <= moment < MAX_US:
        errors.append(FieldError("timestamp", "timestamp_out_of_range", "outside the years 1990 to 2099"))
    elif moment > latest_us:
        errors.append(FieldError("timestamp", "future_timestamp", "more than 1 h after its receipt"))


_NO_TIME = {
    BAD: "not a time such as 2026-01-31T09:30:00Z; a file's own format stands in its mapping",
    WITHOUT_OFFSET: "needs an offset from UTC, such as Z or +02:00; a file's zone stands in its mapping",
}


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
    for field, item in sorted(value.items()):  # whatever the order in a file
        if item is None and field in _CONTEXT_FIELDS:
            continue
        path = f"context.{shown_name(field)}"
        if field not in _CONTEXT_FIELDS:
            errors.append(FieldError(path, "unknown_field", _unknown_context_field(field)))
        elif field in NOT_KEPT:
            continue
        elif field == "consent":
            _consent(item, errors)
        elif not isinstance(item, str):
            errors.append(FieldError(path, "type", f"expected string, got {json_type(item)}"))
        elif field == "device_type":
            if item and item not in DEVICE_TYPES:
                errors.append(FieldError(path, "not_allowed", f"allowed: {', '.join(DEVICE_TYPES)}"))
        else:
            _text(path, item, _TEXT_LIMITS[field], errors)


def _unknown_context_field(field: str) -> str:
    if field.lower() in CLICK_ID_NAMES:
        return f'not a field of context; send click_id = "{field.lower()}=VALUE"'
    hint = _hint(field, _CONTEXT_FIELDS - set(UTM_FIELDS), _OTHER_CONTEXT_NAMES)
    return f"not a field of context{hint or '; put data under properties'}"


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
