"""Admission of one event, whoever brings it: from its verdict by the plan to the record that is stored."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

import msgspec

from gtm_dagster.admission.record import Record, record_from_event, record_from_rejection
from gtm_dagster.admission.rules import (
    DRILL,
    NO_CONSENT,
    REFUSED_CONSENT,
    canonical_document,
    is_drill,
    rules_fingerprint,
)
from gtm_dagster.channels.bots import bot_reason
from gtm_dagster.channels.hosts import host_of
from gtm_dagster.privacy.consent import ConsentPolicy
from gtm_dagster.privacy.event_ids import stored_event_id
from gtm_dagster.privacy.masked_event import mask_event
from gtm_dagster.privacy.masking import UndeclaredText, scrub
from gtm_dagster.taxonomy import Accepted, Event, EventValidator, FieldError, Plan, Rejected
from gtm_dagster.taxonomy.absent import present_id, present_text
from gtm_dagster.taxonomy.envelope import ID_LIMITS

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Seals(Protocol):
    """What seals an original event; None where none is kept."""

    def seal(self, plain: bytes) -> bytes | None: ...


class Sender(msgspec.Struct, frozen=True):
    """Who sent an event: the name of its key, whether it asks for consent before it sends, and the role of the key.

    `role`: "server", or "client" for a key that ships in pages and apps and so is public. `bot_reason`: the program that
    sent the request, for events that name no user agent of their own (`of_request`). `trace_id`: that of the request. `gpc`: it
    came with `Sec-GPC: 1`. `sent_with`: protocol and client library.
    """

    write_key: str
    gates_consent: bool = False
    role: str = "server"
    bot_reason: str | None = None
    trace_id: str | None = None
    gpc: bool = False
    sent_with: str | None = None

    @property
    def key_role(self) -> str | None:
        """The column `key_role` of this sender's records."""
        return "client" if self.role == "client" else None

    def bot_of(self, named: str | None) -> str | None:
        """The column `bot_reason` of an event whose own user agent was judged as `named` (None: it has none)."""
        return (self.bot_reason if named is None else named) or None


class Admission:
    """Knows the plan, the consent policy, the pseudonyms and the seal of a deployment; no clock, and who sends is told.

    A record has a verdict; its reasons are those of `validator`, or one of consent or drill.
    """

    def __init__(
        self,
        plan: Plan,
        pseudonymize: Callable[[str], str],
        sealer: Seals,
        consent: ConsentPolicy,
        undeclared_text: UndeclaredText = "token",
        pseudonymize_id: Callable[[str], str] | None = None,
    ) -> None:
        self.plan = plan
        self.consent = consent
        self.undeclared_text = undeclared_text
        self.pseudonymize = pseudonymize
        # ids of events come once: they would fill a memory of pseudonyms for nothing
        self.pseudonymize_id = pseudonymize_id or pseudonymize
        self.validator = EventValidator(plan, host_of, bot_reason)
        self.rules = rules_fingerprint(plan)
        self._sealer = sealer

    def accept(self, event: Event, sender: Sender, received_us: int) -> tuple[Record, tuple[FieldError, ...]]:
        """The record of an event that satisfies the plan: accepted, or suppressed for want of consent or as a drill."""
        analytics = event.consent.get("analytics") if event.consent else None
        basis = self.plan.events[event.event_name].basis
        if self.consent.suppresses(analytics, basis, event.country, event.region, gates_consent=sender.gates_consent):
            return self.suppressed(event.event_name, analytics, sender, received_us)
        record = record_from_event(
            scrub(event, self.plan, self.pseudonymize, self.undeclared_text),
            write_key=sender.write_key,
            received_us=received_us,
            plan_version=self.plan.version,
            pseudonymize=self.pseudonymize,
            pseudonymize_id=self.pseudonymize_id,
            rules=self.rules,
            key_role=sender.key_role,
            bot_reason=sender.bot_of(event.bot_reason),
            trace_id=sender.trace_id,
            sent_with=sender.sent_with,
        )
        if is_drill(event):
            return msgspec.structs.replace(record, verdict="suppressed", reason_codes=DRILL.code), (DRILL,)
        return record, ()

    def refuse(
        self, verdict: Rejected, document: dict[str, Any] | None, original: bytes, sender: Sender, received_us: int
    ) -> tuple[Record, tuple[FieldError, ...]]:
        """The record of an event that breaks the plan: quarantined, or suppressed where consent is wanting.

        `document`: the event as decoded, None when it is not readable; `original`: its bytes, sealed for replay.
        """
        analytics, basis, country, region = self._consent_facts(document)
        if self.consent.suppresses(analytics, basis, country, region, gates_consent=sender.gates_consent):
            return self.suppressed(verdict.event_name, analytics, sender, received_us)
        record = record_from_rejection(
            verdict.errors,
            event_id=None if verdict.event_id is None else stored_event_id(verdict.event_id, self.pseudonymize_id),
            event_name=verdict.event_name,
            write_key=sender.write_key,
            received_us=received_us,
            plan_version=self.plan.version,
            raw=mask_event(
                self.plan, canonical_document(document) if document is not None else original, self.pseudonymize_id
            ),
            sealed=self._sealer.seal(original),
            user_id=self._person(document, "user_id"),
            anonymous_id=self._person(document, "anonymous_id"),
            key_role=sender.key_role,
            bot_reason=sender.bot_of(bot_reason(_agent(document))),
            trace_id=sender.trace_id,
            sent_with=sender.sent_with,
        )
        return record, verdict.errors

    def document(
        self, document: dict[str, Any], moment: int | str | None, sender: Sender, received_us: int
    ) -> tuple[Record, tuple[FieldError, ...]]:
        """The record of one decoded event with an id whose time was read already (`EventValidator.validate_document`)."""
        verdict = self.validator.validate_document(document, moment, received_us)
        if isinstance(verdict, Accepted):
            return self.accept(verdict.event, sender, received_us)
        original = document
        if isinstance(moment, int):  # a replay does not know the format of a mapping
            original = {**document, "timestamp": _rfc3339(moment)}
        return self.refuse(verdict, document, json_bytes(original), sender, received_us)

    def _person(self, document: dict[str, Any] | None, field: str) -> str | None:
        """The pseudonym of an id that could land; None for any other value."""
        value = None if document is None else document.get(field)
        if not isinstance(value, str) or len(value) > ID_LIMITS[field] or present_id(value) is None:
            return None
        return self.pseudonymize(value)

    def _consent_facts(self, document: dict[str, Any] | None) -> tuple[object, str | None, str | None, str | None]:
        """(analytics, basis, country, region) of an event that may be anything."""
        if document is None:
            return None, None, None, None
        name = document.get("event_name")
        resolved = self.plan.resolve(name) if isinstance(name, str) else None
        found = document.get("context")
        context = found if isinstance(found, dict) else {}
        consent = context.get("consent")
        country, region = (
            present_text(value) if isinstance(value := context.get(field), str) else None
            for field in ("country", "region")
        )
        analytics = consent.get("analytics") if isinstance(consent, dict) else None
        return analytics, self.plan.events[resolved].basis if resolved else None, country, region

    def suppressed(
        self, event_name: str | None, analytics: object, sender: Sender, received_us: int
    ) -> tuple[Record, tuple[FieldError, ...]]:
        """The record of an event of which nothing is kept for want of consent, but for its name as it is shown."""
        record = Record(
            write_key=sender.write_key,
            event_id=None,
            event_name=event_name,
            event_us=None,
            received_us=received_us,
            plan_version=self.plan.version,
            verdict="suppressed",
            reason_codes=NO_CONSENT.code,
            key_role=sender.key_role,
        )
        return record, (REFUSED_CONSENT if analytics is False else NO_CONSENT,)


def _agent(document: dict[str, Any] | None) -> object:
    """The user agent that an event names, which may be anything."""
    context = document.get("context") if document else None
    return context.get("user_agent") if isinstance(context, dict) else None


def _rfc3339(us: int) -> str:
    """Microseconds UTC as text; what no clock can say stays a text that is no time."""
    try:
        return (_EPOCH + timedelta(microseconds=us)).isoformat().replace("+00:00", "Z")
    except OverflowError:
        return str(us)


def json_bytes(document: dict[str, Any]) -> bytes:
    """The JSON of a decoded event."""
    return msgspec.json.encode(document)
