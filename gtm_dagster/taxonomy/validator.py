"""EventValidator: from the JSON of one event to a typed event, or every reason against it.

msgspec decides on the envelope, `properties.check_properties` on the rest; `explain`, the reject path, adds reasons.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from math import isfinite
from typing import Any

import msgspec

from gtm_dagster.taxonomy.decoding import MAX_DEPTH, too_deep
from gtm_dagster.taxonomy.envelope import MAX_FUTURE_US, MAX_US, MIN_US, Context, Envelope
from gtm_dagster.taxonomy.event import EMAIL, Event, FieldError, shown_name
from gtm_dagster.taxonomy.explain import explain
from gtm_dagster.taxonomy.plan import Plan
from gtm_dagster.taxonomy.properties import check_properties

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_US = timedelta(microseconds=1)
_NO_CONTEXT = Context()


class Accepted(msgspec.Struct, frozen=True, gc=False):
    """The event satisfies the plan."""

    event: Event


class Rejected(msgspec.Struct, frozen=True, gc=False):
    """The event breaks at least one rule; `event_id` and `event_name` as sent, None when they are not readable."""

    errors: tuple[FieldError, ...]
    event_id: str | None = None
    event_name: str | None = None


class EventValidator:
    """Judges single events by one plan. Thread safe; one instance serves a process."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self._decode = msgspec.json.Decoder(Envelope).decode

    def validate(
        self, raw: bytes | str | dict[str, Any], *, live: bool = False, now_us: int | None = None
    ) -> Accepted | Rejected:
        """The verdict on one event in the native shape.

        `live=True` also refuses events more than an hour ahead of `now_us` (microseconds UTC; the clock when None);
        imports of history leave it off. Never raises on data, whatever the data is.
        """
        if isinstance(raw, dict):
            encoded = _encode(raw)
            if isinstance(encoded, FieldError):
                return _rejected((encoded,), raw.get("event_id"), raw.get("event_name"))
            raw = encoded
        elif isinstance(raw, str):
            try:
                raw = raw.encode()
            except UnicodeEncodeError:
                return Rejected((FieldError("", "lone_surrogate", "holds half of a surrogate pair"),))
        if too_deep(raw):
            return Rejected((FieldError("", "too_deep", f"nested deeper than {MAX_DEPTH} levels"),))
        if live and now_us is None:
            now_us = time.time_ns() // 1000
        latest_us = now_us + MAX_FUTURE_US if live and now_us is not None else MAX_US
        try:
            envelope = self._decode(raw)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, ValueError) as error:
            errors, event_id, event_name = explain(self.plan, raw, str(error), latest_us)
            return _rejected(errors, event_id, event_name)
        return self._judge(envelope, raw, latest_us)

    def _judge(self, envelope: Envelope, raw: bytes, latest_us: int) -> Accepted | Rejected:
        plan = self.plan
        name = plan.resolve(envelope.event_name)
        event_us = (envelope.timestamp - _EPOCH) // _US
        properties = envelope.properties or {}
        if (
            name is None
            or not MIN_US <= event_us < MAX_US
            or event_us > latest_us
            or (envelope.user_id is None and envelope.anonymous_id is None)
            or "@" in envelope.event_id
            or b"\\u0000" in raw
            or check_properties(plan.events[name], properties)
        ):
            errors, event_id, event_name = explain(plan, raw, "", latest_us)
            if errors:
                return _rejected(errors, event_id, event_name)
            assert name is not None  # noqa: S101  (explain names an unknown event)
        context = envelope.context or _NO_CONTEXT
        return Accepted(
            Event(
                event_id=envelope.event_id,
                event_name=name,
                event_us=event_us,
                user_id=envelope.user_id,
                anonymous_id=envelope.anonymous_id,
                session_id=envelope.session_id,
                properties=properties,
                source=context.source or None,
                medium=context.medium or None,
                campaign=context.campaign or None,
                term=context.term or None,
                content=context.content or None,
                device_type=context.device_type,
                locale=context.locale or None,
                page_url=context.page_url or None,
                referrer=context.referrer or None,
                click_id=context.click_id or None,
                country=context.country or None,
                region=context.region or None,
                consent=context.consent,  # type: ignore[arg-type]
            )
        )


def _rejected(errors: tuple[FieldError, ...], event_id: object, event_name: object) -> Rejected:
    readable = isinstance(event_id, str) and 0 < len(event_id) <= 128 and not EMAIL.search(event_id)
    name = shown_name(event_name) if isinstance(event_name, str) else None
    return Rejected(errors, str(event_id) if readable else None, name)


def _encode(raw: dict[str, Any]) -> bytes | FieldError:
    """JSON of a Python event; a value without JSON is refused here, because encoders turn NaN into null."""
    properties = raw.get("properties")
    if isinstance(properties, dict):
        for name, value in properties.items():
            if isinstance(value, float) and not isfinite(value):
                return FieldError(f"properties.{shown_name(name)}", "not_finite", "JSON has neither NaN nor infinity")
    try:
        return msgspec.json.encode(raw)
    except UnicodeEncodeError:
        return FieldError("", "lone_surrogate", "holds half of a surrogate pair")
    except RecursionError:
        return FieldError("", "too_deep", f"nested deeper than {MAX_DEPTH} levels")
    except (TypeError, ValueError, OverflowError) as error:
        return FieldError("", "type", f"holds a value that JSON does not have ({type(error).__name__})")
