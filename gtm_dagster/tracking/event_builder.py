"""From the arguments of `track` to the line that is sent: defaults, the plan's verdict, consent, pseudonyms."""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import datetime
from typing import Any, NamedTuple

import msgspec

from gtm_dagster.taxonomy import EventValidator, FieldError, Plan, Rejected
from gtm_dagster.taxonomy.absent import present_id
from gtm_dagster.taxonomy.envelope import DEVICE_TYPES, MAX_FUTURE_US, MIN_US
from gtm_dagster.taxonomy.plain_event import PlainEvents
from gtm_dagster.taxonomy.python_values import json_of
from gtm_dagster.taxonomy.times import read_time
from gtm_dagster.tracking.consent_gate import Consent, ConsentGate
from gtm_dagster.tracking.current_request import CurrentRequest, current_request
from gtm_dagster.tracking.event_id import uuid7
from gtm_dagster.tracking.event_time import rfc3339
from gtm_dagster.tracking.identifier_pseudonyms import IdentifierPseudonyms

_OF_A_VISIT = (
    "page_url", "referrer", "source", "medium", "campaign", "click_id", "utm_source", "utm_medium", "utm_campaign",
)  # fmt: skip
"""Context fields of an event that happened on a page: the collector takes its device type for web."""


class InvalidEvent(ValueError):
    """The event breaks the tracking plan; `errors` holds every reason."""

    def __init__(self, event_name: str, errors: tuple[FieldError, ...]) -> None:
        self.event_name = event_name
        self.errors = errors
        reasons = "; ".join(f"{e.path or 'event'}: {e.message} ({e.code})" for e in errors)
        super().__init__(f"event {event_name!r} was not sent, it breaks the tracking plan: {reasons}")


class BuiltEvent(NamedTuple):
    """An event that keeps to the plan; `line` is its JSON, None when its person has not agreed to it."""

    event_id: str
    line: bytes | None
    event_us: int


class EventBuilder:
    """Builds the events of one tracker. Thread safe. ValueError for a device type, purpose or key that there is not."""

    def __init__(
        self, plan: Plan, device_type: str | None, consent: Consent, pseudonym_key: bytes | str | None
    ) -> None:
        if device_type is not None and device_type not in DEVICE_TYPES:
            raise ValueError(f"device_type={device_type!r} is none of {', '.join(DEVICE_TYPES)}")
        self._device_type = device_type
        self._alone = {} if device_type is None else {"device_type": device_type}
        self._gate = ConsentGate(plan, consent)
        self._pseudonyms = None if pseudonym_key is None else IdentifierPseudonyms(plan, pseudonym_key)
        self._validate = EventValidator(plan).validate
        self._encoded = PlainEvents(plan).encoded

    def build(
        self,
        event_name: str,
        user_id: str | None,
        anonymous_id: str | None,
        session_id: str | None,
        properties: Mapping[str, Any] | None,
        context: Mapping[str, Any] | None,
        timestamp: datetime | str | None,
        event_id: str | None,
    ) -> BuiltEvent:
        """The event of these arguments. Raises InvalidEvent with every reason."""
        for field, given in (("properties", properties), ("context", context)):
            if given is not None and type(given) is not dict and not isinstance(given, Mapping):
                wrong = FieldError(field, "type", f"expected a mapping, got {type(given).__name__}")
                raise InvalidEvent(event_name, (wrong,))
        now_us = time.time_ns() // 1000
        if event_id is None or (isinstance(event_id, str) and present_id(event_id) is None):
            event_id = uuid7()
        event_us: int | None = None
        if timestamp is None:
            event_us = now_us
            timestamp = rfc3339(now_us)
        elif isinstance(timestamp, datetime):
            timestamp = timestamp.isoformat().replace("+00:00", "Z")
        event: dict[str, Any] = {"event_id": event_id, "event_name": event_name, "timestamp": timestamp}
        if user_id is not None:
            event["user_id"] = user_id
        if anonymous_id is not None:
            event["anonymous_id"] = anonymous_id
        if session_id is not None:
            event["session_id"] = session_id
        event["properties"] = dict(properties) if properties else {}
        request = current_request()
        whole = self._context(context, request, user_id, anonymous_id)
        if whole:
            event["context"] = whole
        if event_us is None:
            event_us = _past_time(timestamp, now_us)
        line = None if event_us is None else self._encoded(event)
        if line is None or event_us is None:
            encoded = json_of(event)
            if isinstance(encoded, FieldError):
                raise InvalidEvent(event_name, (encoded,))
            verdict = self._validate(encoded, live=True)
            if isinstance(verdict, Rejected):
                raise InvalidEvent(event_name, verdict.errors)
            event_us, line, event = verdict.event.event_us, encoded, msgspec.json.decode(encoded)
        if self._gate.asks and self._gate.withholds(event_name, whole):
            return BuiltEvent(event["event_id"], None, event_us)
        if self._pseudonyms is not None:
            line = msgspec.json.encode(self._pseudonyms.of(event))
        if request is not None and request.traceparent is not None:
            line = b'%s,"traceparent":%s}' % (line[:-1], msgspec.json.encode(request.traceparent))
        return BuiltEvent(event["event_id"], line, event_us)

    def _context(
        self,
        context: Mapping[str, Any] | None,
        current: CurrentRequest | None,
        user_id: str | None,
        anonymous_id: str | None,
    ) -> dict[str, Any]:
        """The context of a call over that of the current request, with the tracker's device type and consent."""
        agreed = self._gate.consent_of(user_id, anonymous_id)
        if not context and current is None and not agreed:
            return self._alone
        request = {} if current is None else current.context
        whole = {**request, **(context or {})}
        if self._device_type is not None and not whole.get("device_type"):
            whole.pop("device_type", None)
            if self._device_type != "api" or not any(whole.get(field) for field in _OF_A_VISIT):
                whole["device_type"] = self._device_type
        own = whole.get("consent")
        asked = {**agreed, **request.get("consent", {})}
        if asked and (own is None or isinstance(own, Mapping)):
            whole["consent"] = {**asked, **(own or {})}
        return whole


def _past_time(timestamp: Any, now_us: int) -> int | None:
    """Microseconds UTC of a time that an event may have; None where it takes a closer look."""
    moment = read_time(timestamp) if type(timestamp) is str else None
    return moment if type(moment) is int and MIN_US <= moment <= now_us + MAX_FUTURE_US else None
