"""EventValidator: from the JSON of one event to a normal, typed event, or every reason against it.

Two ways to one verdict: msgspec and a few comparisons take an event without fault; whatever they do not take is judged
by `explain`, reason by reason. Normal: ids, texts, campaign and referrer as `absent` and `touch` read them.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import msgspec

from gtm_dagster.taxonomy.absent import present_id, present_text
from gtm_dagster.taxonomy.decoding import MAX_DEPTH, too_deep
from gtm_dagster.taxonomy.envelope import CONTEXT_LIMITS, ID_LIMITS, MAX_FUTURE_US, MAX_US, MIN_US, Context, Envelope
from gtm_dagster.taxonomy.event import EMAIL, Event, FieldError, shown_name
from gtm_dagster.taxonomy.explain import decoded, explain_document
from gtm_dagster.taxonomy.plan import EventSpec, Plan
from gtm_dagster.taxonomy.properties import check_properties
from gtm_dagster.taxonomy.python_values import json_of
from gtm_dagster.taxonomy.times import read_time
from gtm_dagster.taxonomy.touch import NO_TOUCH, HostOf, Touch, normal_touch

_NO_CONTEXT = Context()
_ALIAS_NAMES = ("alias_of", "previous_id")
BotOf = Callable[[object], str | None]


class Accepted(msgspec.Struct, frozen=True, gc=False):
    """The event satisfies the plan; `event` is its normal form. `id_is_new`: it came without an id that names it."""

    event: Event
    id_is_new: bool = False


class Rejected(msgspec.Struct, frozen=True, gc=False):
    """The event breaks at least one rule; `event_id` and `event_name` as sent, None when they are not readable."""

    errors: tuple[FieldError, ...]
    event_id: str | None = None
    event_name: str | None = None


class EventValidator:
    """Judges single events by one plan. Thread safe; one instance serves a process.

    `host_of` says which host a referrer names; without it every referrer counts as one. `bot_of` says which program a user
    agent is of; of the agent nothing else is kept.
    """

    def __init__(self, plan: Plan, host_of: HostOf | None = None, bot_of: BotOf | None = None) -> None:
        self.plan = plan
        self._host_of = host_of
        self._bot_of = bot_of
        self._decode = msgspec.json.Decoder(Envelope).decode

    def validate(
        self,
        raw: bytes | str | dict[str, Any],
        *,
        live: bool = False,
        now_us: int | None = None,
        make_id: Callable[[], str] | None = None,
    ) -> Accepted | Rejected:
        """The verdict on one event in the native shape.

        `now_us`: its receipt (microseconds UTC); times more than an hour later are refused. `live`: an event without a
        time happened at its receipt, which is the clock when `now_us` is None. `make_id` makes the id of an event
        without one; such an event is refused where it is None. Never raises on data, whatever the data is.
        """
        if isinstance(raw, dict):
            encoded = json_of(raw)
            if isinstance(encoded, FieldError):
                return self._rejected((encoded,), raw)
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
        try:
            envelope = self._decode(raw)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, ValueError) as error:
            document, errors = decoded(raw, str(error))
            if document is None:
                return Rejected(errors)
            verdict = self.validate_document(
                document, _moment(document.get("timestamp"), now_us if live else None), now_us, make_id
            )
            if isinstance(verdict, Accepted):  # no rule explains what msgspec refuses
                invalid = (FieldError("", "invalid", str(error)),)
                return self._rejected(invalid, document)
            return verdict
        moment = _moment(envelope.timestamp, now_us if live else None)
        event = self._plainly_good(envelope, raw, moment, now_us, make_id)
        return event or self.validate_document(msgspec.json.decode(raw), moment, now_us, make_id)

    def validate_document(
        self,
        document: dict[str, Any],
        moment: int | str | None,
        now_us: int | None,
        make_id: Callable[[], str] | None = None,
    ) -> Accepted | Rejected:
        """The verdict on a decoded event whose time was read already.

        `moment`: microseconds UTC, the code of a reason, or None where there is no time. The rest as in `validate`.
        """
        errors = explain_document(self.plan, document, moment, latest(now_us), needs_id=make_id is None)
        if errors:
            return self._rejected(tuple(errors), document)
        context = document.get("context")
        fields = {k: v for k, v in context.items() if k in Context.__struct_fields__} if context else {}
        name = self.plan.resolve(document["event_name"])
        assert name is not None and isinstance(moment, int)  # noqa: S101  (explain refuses the others)
        return self._accepted(
            self.plan.events[name],
            present_id(document.get("event_id")),
            make_id,
            moment,
            present_id(document.get("user_id")),
            present_id(document.get("anonymous_id")),
            present_id(document.get("session_id")),
            document.get("properties") or {},
            Context(**fields) if fields else _NO_CONTEXT,
        )

    def _rejected(self, errors: tuple[FieldError, ...], document: dict[str, Any]) -> Rejected:
        event_id, name = document.get("event_id"), document.get("event_name")
        readable = isinstance(event_id, str) and 0 < len(event_id) <= 128 and not EMAIL.search(event_id)
        known = isinstance(name, str) and self.plan.resolve(name) is not None
        shown = name if known or name is None else shown_name(name) if isinstance(name, str) else None
        return Rejected(errors, present_id(str(event_id)) if readable else None, shown)

    def _plainly_good(
        self,
        envelope: Envelope,
        raw: bytes,
        moment: int | str | None,
        now_us: int | None,
        make_id: Callable[[], str] | None,
    ) -> Accepted | None:
        plan = self.plan
        name = plan.resolve(envelope.event_name)
        if name is None or not isinstance(moment, int) or not MIN_US <= moment < MAX_US or moment > latest(now_us):
            return None
        event_id, user_id = present_id(envelope.event_id), present_id(envelope.user_id)
        anonymous_id, session_id = present_id(envelope.anonymous_id), present_id(envelope.session_id)
        context = envelope.context or _NO_CONTEXT
        if (
            (user_id is None and anonymous_id is None)
            or (event_id is None and make_id is None)
            or (event_id is not None and "@" in event_id)
            or not _fits(envelope, context, len(raw))
            or b"\\u0000" in raw
        ):
            return None
        spec, properties = plan.events[name], envelope.properties or {}
        if check_properties(spec, properties):
            return None
        return self._accepted(spec, event_id, make_id, moment, user_id, anonymous_id, session_id, properties, context)

    def _accepted(
        self, spec: EventSpec, event_id: str | None, make_id: Callable[[], str] | None, event_us: int, user_id: str | None,
        anonymous_id: str | None, session_id: str | None, properties: dict[str, Any], context: Context,
    ) -> Accepted:  # fmt: skip
        id_is_new = event_id is None
        if event_id is None:
            assert make_id is not None  # noqa: S101  (explain refuses it)
            event_id = make_id()
        touch = touch_of(context, self._host_of)
        return Accepted(
            Event(
                event_id=event_id,
                event_name=spec.name,
                event_us=event_us,
                user_id=user_id,
                anonymous_id=anonymous_id,
                session_id=session_id,
                properties=normal_properties(properties),
                source=touch.source,
                medium=touch.medium,
                campaign=touch.campaign,
                term=touch.term,
                content=touch.content,
                device_type=normal_device(context.device_type, touch, spec.browsing),
                locale=present_text(context.locale),
                page_url=touch.page_url,
                referrer=touch.referrer,
                click_id=touch.click_id,
                country=present_text(context.country),
                region=present_text(context.region),
                timezone=present_text(context.timezone),
                consent=context.consent,  # type: ignore[arg-type]
                bot_reason=self._bot_of(context.user_agent) if self._bot_of and context.user_agent else None,
            ),
            id_is_new,
        )


def latest(received_us: int | None) -> int:
    """The latest time (microseconds UTC) of an event received then."""
    return MAX_US if received_us is None else received_us + MAX_FUTURE_US


def touch_of(context: Context, host_of: HostOf | None) -> Touch:
    """The normal touch of a context: a field of the five wins over its other name utm_..., unless it is absent."""
    c = context
    sent = Touch(
        _first(c.source, c.utm_source), _first(c.medium, c.utm_medium), _first(c.campaign, c.utm_campaign),
        _first(c.term, c.utm_term), _first(c.content, c.utm_content), c.click_id, c.page_url, c.referrer,
    )  # fmt: skip
    return NO_TOUCH if sent == NO_TOUCH else normal_touch(sent, host_of)


def _first(text: str | None, other: str | None) -> str | None:
    return text if other is None or present_text(text) is not None else other


def normal_device(sent: str | None, touch: Touch, browsing: bool) -> str:
    """The device as sent; without one `web` for what happens on a page, `api` for the rest."""
    return sent or ("web" if touch.is_browsing or browsing else "api")


def normal_properties(properties: dict[str, Any]) -> dict[str, Any]:
    """The properties, without other ids of a person that name nobody."""
    for name in _ALIAS_NAMES:
        if name in properties and isinstance(properties[name], str) and present_id(properties[name]) is None:
            properties = {key: value for key, value in properties.items() if key != name}
    return properties


_SHORTEST_LIMIT = min(*CONTEXT_LIMITS.values(), *ID_LIMITS.values())
_LIMITS = tuple(CONTEXT_LIMITS.items())


def _fits(envelope: Envelope, context: Context, size: int) -> bool:
    """Whether every text is at most as long as it may be."""
    if size <= _SHORTEST_LIMIT:
        return True
    for text, limit in (
        (envelope.event_id, 128), (envelope.user_id, 256), (envelope.anonymous_id, 256), (envelope.session_id, 256)
    ):  # fmt: skip
        if text is not None and len(text) > limit:
            return False
    return context is _NO_CONTEXT or context_fits(context)


def context_fits(context: Context) -> bool:
    """Whether every text of a context is at most as long as it may be."""
    for field, limit in _LIMITS:
        text = getattr(context, field)
        if text is not None and len(text) > limit:
            return False
    for text in (context.utm_source, context.utm_medium, context.utm_campaign, context.utm_term, context.utm_content):
        if text is not None and len(text) > 512:
            return False
    return True


def _moment(value: Any, otherwise: int | None) -> int | str | None:
    """The time of an event; `otherwise` without one. An empty text is missing at every door, as an empty cell is."""
    if value is None:
        return otherwise
    return read_time(value) if isinstance(value, str) and value else None
