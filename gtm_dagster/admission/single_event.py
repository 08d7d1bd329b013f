"""Admission of single events: the record that is stored, and the verdict and reasons that the sender sees."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from gtm_dagster.admission.record import Record, record_from_event, record_from_rejection
from gtm_dagster.privacy.masking import mask_event, scrub
from gtm_dagster.privacy.sealing import Sealer
from gtm_dagster.settings import DRILL_EVENT, DRILL_FLAG, DRILL_REASON
from gtm_dagster.taxonomy import Accepted, EventValidator, FieldError, Plan, Rejected
from gtm_dagster.taxonomy.event import EMAIL, shown_name

_NO_CONSENT = FieldError(
    "context.consent.analytics", "consent", "sent without consent to analytics; nothing of it is kept"
)

_DRILL = FieldError("properties.flag", DRILL_REASON, "drill traffic: the guard counts it, no table keeps it")
_DRILL_EVENTS = frozenset({"flag_exposed", DRILL_EVENT})


class _Purposes(msgspec.Struct):
    analytics: Any = None


class _Context(msgspec.Struct):
    consent: _Purposes | None = None


class _WithConsent(msgspec.Struct):
    context: _Context | None = None


class _Named(msgspec.Struct):
    event_id: str | None = None
    event_name: str | None = None


_consent = msgspec.json.Decoder(_WithConsent).decode
_named = msgspec.json.Decoder(_Named).decode


class Judged(msgspec.Struct, frozen=True):
    """A record to store, the event's id as sent (None when unreadable), and the reasons as the answer shows them."""

    record: Record
    event_id: str | None
    errors: list[dict[str, str]]


class Judge:
    """The form of admission for single events: an event never changes the verdict on its neighbour."""

    def __init__(self, plan: Plan, pseudonymize: Callable[[str], str], sealer: Sealer, max_event_bytes: int) -> None:
        self.plan = plan
        self._validate = EventValidator(plan).validate
        self._pseudonymize = pseudonymize
        self._sealer = sealer
        self._max_event_bytes = max_event_bytes

    def __call__(self, events: list[bytes], *, write_key: str, received_us: int) -> list[Judged]:
        """Verdicts in the order of `events`. `received_us`: microseconds UTC, the clock of live validation too."""
        return [self._one(raw, write_key, received_us) for raw in events]

    def _one(self, raw: bytes, write_key: str, received_us: int) -> Judged:
        if len(raw) > self._max_event_bytes:
            return self._too_large(raw, write_key, received_us)
        verdict = self._validate(raw, live=True, now_us=received_us)
        if isinstance(verdict, Rejected):
            # Without consent nothing of a refused event is kept either, the sealed original least of all.
            if _refuses_analytics(raw):
                return self._suppressed(verdict.event_id, verdict.event_name, write_key, received_us)
            masked = mask_event(self.plan, raw)
            return self._quarantined(verdict, masked, raw, write_key, received_us)
        return self._accepted(verdict, write_key, received_us)

    def _accepted(self, verdict: Accepted, write_key: str, received_us: int) -> Judged:
        event = verdict.event
        if event.consent is not None and event.consent.get("analytics") is False:
            return self._suppressed(event.event_id, event.event_name, write_key, received_us)
        record = record_from_event(
            scrub(event, self.plan, self._pseudonymize),
            write_key=write_key,
            received_us=received_us,
            plan_version=self.plan.version,
            pseudonymize=self._pseudonymize,
        )
        if event.event_name in _DRILL_EVENTS and event.properties.get("flag") == DRILL_FLAG:
            # Synthetic traffic: the guard and the books count it, and no table keeps it.
            record = msgspec.structs.replace(record, verdict="suppressed", reason_codes=DRILL_REASON)
            return Judged(record, event.event_id, [_shown(_DRILL)])
        return Judged(record, event.event_id, [])

    def _suppressed(self, event_id: str | None, event_name: str | None, write_key: str, received_us: int) -> Judged:
        record = Record(
            write_key=write_key,
            event_id=None,
            event_name=event_name,
            event_us=None,
            received_us=received_us,
            plan_version=self.plan.version,
            verdict="suppressed",
            reason_codes=_NO_CONSENT.code,
        )
        return Judged(record, event_id, [_shown(_NO_CONSENT)])

    def _too_large(self, raw: bytes, write_key: str, received_us: int) -> Judged:
        try:
            named = _named(raw)
        except (msgspec.DecodeError, UnicodeError, RecursionError):
            named = _Named()
        event_id, event_name = named.event_id, named.event_name
        readable = event_id is not None and 0 < len(event_id) <= 128 and not EMAIL.search(event_id)
        verdict = Rejected(
            (FieldError("", "too_large", f"has {len(raw)} bytes; at most {self._max_event_bytes} are taken"),),
            event_id if readable else None,
            shown_name(event_name) if event_name is not None else None,
        )
        if _refuses_analytics(raw):
            return self._suppressed(verdict.event_id, verdict.event_name, write_key, received_us)
        return self._quarantined(verdict, f'{{"unreadable":"<{len(raw)} bytes>"}}', raw, write_key, received_us)

    def _quarantined(self, verdict: Rejected, masked: str, raw: bytes, write_key: str, received_us: int) -> Judged:
        record = record_from_rejection(
            verdict.errors,
            event_id=verdict.event_id,
            event_name=verdict.event_name,
            write_key=write_key,
            received_us=received_us,
            plan_version=self.plan.version,
            raw=masked,
            sealed=self._sealer.seal(raw),
        )
        return Judged(record, verdict.event_id, [_shown(error) for error in verdict.errors])


def _refuses_analytics(raw: bytes) -> bool:
    if b"analytics" not in raw:
        return False
    try:
        event = _consent(raw)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return False
    return bool(event.context and event.context.consent and event.context.consent.analytics is False)


def _shown(error: FieldError) -> dict[str, str]:
    return {"path": error.path, "code": error.code, "message": error.message}
