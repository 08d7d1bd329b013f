"""The short way of a live event without fault: from its bytes to its record, nothing looked at twice.

It only ever says "plainly good", as the batch form does: whatever it does not take is judged by `EventValidator` and
`Admission`, and both ways give one record. Contexts and properties repeat, so what lands of them is remembered by their
bytes. Light on import.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from typing import Annotated, Any, NamedTuple

import msgspec

from gtm_dagster.admission.admission import Admission, Sender
from gtm_dagster.admission.record import Record
from gtm_dagster.admission.rules import DRILL_EVENTS
from gtm_dagster.channels.bots import bot_reason
from gtm_dagster.channels.hosts import host_of
from gtm_dagster.privacy.event_ids import UUID_ALONE, stored_event_id
from gtm_dagster.privacy.masking import UndeclaredText, clean_url, landed_text, scrub_properties
from gtm_dagster.settings import DRILL_FLAG
from gtm_dagster.taxonomy import FieldError
from gtm_dagster.taxonomy.absent import present_id, present_text
from gtm_dagster.taxonomy.envelope import CONTEXT_LIMITS, MAX_FUTURE_US, MAX_US, MIN_US, UTM_FIELDS, Context
from gtm_dagster.taxonomy.plan import EventSpec
from gtm_dagster.taxonomy.properties import check_properties
from gtm_dagster.taxonomy.times import read_time
from gtm_dagster.taxonomy.validator import normal_device, normal_properties, touch_of

_REMEMBERED = 4096
_LONGEST_REMEMBERED = 1024
"""Bytes of a context or of properties; with `_REMEMBERED` this bounds the memory of a process to some megabytes."""
_LIMITS = (*CONTEXT_LIMITS.items(), *((field, 512) for field in UTM_FIELDS))
_NOTHING = msgspec.Raw()
_Id = Annotated[str, msgspec.Meta(max_length=256)]
_encode = msgspec.json.Encoder(order="deterministic").encode
_decode_properties = msgspec.json.Decoder(dict[str, str | int | float | bool | None] | None).decode
_record: Callable[..., Record] = Record
_is_uuid = re.compile(UUID_ALONE.replace("$", r"\Z")).match
_decode_context = msgspec.json.Decoder(Context | None).decode


class _Plain(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """The fields of an `Envelope`, as narrow as most events have them."""

    event_name: str
    event_id: Annotated[str, msgspec.Meta(max_length=128)]
    timestamp: str | None = None
    user_id: _Id | None = None
    anonymous_id: _Id | None = None
    session_id: _Id | None = None
    properties: msgspec.Raw = _NOTHING
    context: msgspec.Raw = _NOTHING
    received_at: str | None = None
    write_key: str | None = None
    plan_version: str | None = None


class _Landing(NamedTuple):
    """What lands of a context: `columns` are those of `Record` from source to consent; and what consent is judged by."""

    columns: tuple[str | None, ...]
    timezone: str | None
    bot: str | None
    analytics: bool | None
    country: str | None
    region: str | None


class ShortWay:
    """The short way to the records of one `Admission`. Thread safe."""

    def __init__(self, admission: Admission) -> None:
        plan = admission.plan
        self._admission = admission
        self._pseudonymize, self._pseudonymize_id = admission.pseudonymize, admission.pseudonymize_id
        self._version, self._rules = plan.version, admission.rules
        self._specs = {name: plan.events[target] for name, target in plan.aliases.items()} | plan.events
        self._decode = msgspec.json.Decoder(_Plain).decode
        self._known_context = lru_cache(_REMEMBERED)(_landing)
        self._known_properties = lru_cache(_REMEMBERED)(self._properties)
        # what is personal stays in no memory but that of the pseudonyms
        self._forgotten = {
            spec.name
            for spec in plan.events.values()
            if any(rule.privacy != "plain" for rule in spec.properties.values())
        }

    def __call__(
        self, raw: bytes, sender: Sender, received_us: int
    ) -> tuple[str, Record, tuple[FieldError, ...]] | None:
        """(id, record, reasons) of a live event; None where the long way says what becomes of it."""
        # a field given twice counts by its last value, and `"context"` may be written with escapes
        if b"\\u" in raw or raw.count(b'"context"') > 1 or raw.count(b'"properties"') > 1:
            return None
        try:
            event = self._decode(raw)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, ValueError):
            return None
        spec = self._specs.get(event.event_name)
        event_id, user_id, anonymous_id, session_id = (
            event.event_id,
            event.user_id,
            event.anonymous_id,
            event.session_id,
        )
        # most ids are UUIDs: they name something, unless they are all zeros, and are stored as sent
        is_uuid = _is_uuid(event_id) is not None and event_id[:2] != "00"
        if not is_uuid and (present_id(event_id) is None or "@" in event_id):
            return None
        if user_id is not None:
            user_id = present_id(user_id)
        if anonymous_id is not None:
            anonymous_id = present_id(anonymous_id)
        if session_id is not None:
            session_id = present_id(session_id)
        if spec is None or (user_id is None and anonymous_id is None):
            return None
        written = event.timestamp
        moment = received_us if written is None else read_time(written)
        if isinstance(moment, str) or not MIN_US <= moment < MAX_US or moment > received_us + MAX_FUTURE_US:
            return None
        context = bytes(event.context)
        short = len(context) <= _LONGEST_REMEMBERED
        landing = self._known_context(context, spec.browsing) if short else _landing(context, spec.browsing)
        if landing is None:
            return None
        text = bytes(event.properties)
        forgotten = len(text) > _LONGEST_REMEMBERED or spec.name in self._forgotten
        properties = self._properties(spec.name, text) if forgotten else self._known_properties(spec.name, text)
        if properties is None:
            return None
        columns, timezone, bot, analytics, country, region = landing
        admission = self._admission
        if analytics is not True and admission.consent.suppresses(
            analytics, spec.basis, country, region, gates_consent=sender.gates_consent
        ):
            return event_id, *admission.suppressed(spec.name, analytics, sender, received_us)
        pseudonymize = self._pseudonymize
        stored_id = event_id if is_uuid else stored_event_id(event_id, self._pseudonymize_id)
        # by position, in the order of the columns: a third of the time that keywords take
        record = _record(
            sender.write_key, stored_id, spec.name, moment, received_us,
            None if user_id is None else pseudonymize(user_id),
            None if anonymous_id is None else pseudonymize(anonymous_id),
            None if session_id is None else pseudonymize(session_id), properties, *columns, self._version,
            "accepted", None, None, None, None, "log", 0, timezone, self._rules, sender.key_role,
            sender.bot_of(bot), sender.trace_id, sender.sent_with,
        )  # fmt: skip
        return event_id, record, ()

    def _properties(self, event_name: str, text: bytes) -> str | None:
        try:
            properties = (_decode_properties(text) or {}) if text else {}
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, ValueError):
            return None
        admission = self._admission
        return plain_properties(
            admission.plan.events[event_name], properties, self._pseudonymize, admission.undeclared_text
        )


def plain_properties(
    spec: EventSpec, properties: dict[str, Any], pseudonymize: Callable[[str], str], undeclared: UndeclaredText
) -> str | None:
    """What lands of properties, JSON; None for those with a fault and those of a drill."""
    if check_properties(spec, properties) or (spec.name in DRILL_EVENTS and properties.get("flag") == DRILL_FLAG):
        return None
    return _encode(scrub_properties(spec, normal_properties(properties), pseudonymize, undeclared)).decode()


def _landing(text: bytes, browsing: bool) -> _Landing | None:
    """What lands of the context with this JSON."""
    try:
        context = (_decode_context(text) or Context()) if text else Context()
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, ValueError):
        return None
    for field, limit in _LIMITS:
        value = getattr(context, field)
        if value is not None and len(value) > limit:
            return None
    if isinstance(context.ip, dict | list) or isinstance(context.user_agent, dict | list):  # may nest too deep
        return None
    touch = touch_of(context, host_of)
    country, region = present_text(context.country), present_text(context.region)
    consent = context.consent
    columns = (
        *map(landed_text, touch[:5]),
        normal_device(context.device_type, touch, browsing),
        landed_text(present_text(context.locale)),
        clean_url(touch.page_url) if touch.page_url is not None else None,
        clean_url(touch.referrer) if touch.referrer is not None else None,
        landed_text(touch.click_id),
        landed_text(country),
        landed_text(region),
        _encode(consent).decode() if consent is not None else None,
    )
    analytics = consent.get("analytics") if consent else None  # type: ignore[call-overload]
    timezone = landed_text(present_text(context.timezone))
    return _Landing(columns, timezone, bot_reason(context.user_agent), analytics, country, region)
