"""Admission of live events: the record that is stored, and the verdict and reasons that the sender sees."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from gtm_dagster.admission.admission import Admission, Seals, Sender
from gtm_dagster.admission.privacy_control import refuse_by_gpc
from gtm_dagster.admission.record import Record
from gtm_dagster.admission.short_way import ShortWay
from gtm_dagster.privacy.consent import REQUIRED, ConsentPolicy
from gtm_dagster.privacy.masking import UndeclaredText
from gtm_dagster.taxonomy import Accepted, FieldError, Plan, Rejected
from gtm_dagster.taxonomy.absent import present_id
from gtm_dagster.taxonomy.decoding import too_deep
from gtm_dagster.taxonomy.event import EMAIL, shown_name

_NEW_ID = "came without an event_id and got this one; sent again it is another event, so send an id of your own"


_KEPT_TIMES = 16
"""An event of more than this many times the limit is quarantined without its original: no limit would be set to take it."""
_OUTLINE_BYTES = 16_384
"""Longest value that is decoded of an event that is too large."""


class Judged(msgspec.Struct, frozen=True):
    """A record to store, the event's id (None when unreadable), the reasons as the answer shows them, and a note.

    `note`: what the sender of a kept event had better know, such as that it sent no id.
    """

    record: Record
    event_id: str | None
    errors: list[dict[str, str]]
    note: str | None = None


class Judge:
    """The form of admission for single events: an event never changes the verdict on its neighbour.

    `make_id` makes the id of an event that has none; where it is None such an event is refused. `pseudonymize_id` is
    `pseudonymize` for what comes once, where that remembers.
    """

    def __init__(
        self,
        plan: Plan,
        pseudonymize: Callable[[str], str],
        sealer: Seals,
        max_event_bytes: int,
        consent: ConsentPolicy = REQUIRED,
        make_id: Callable[[], str] | None = None,
        undeclared_text: UndeclaredText = "token",
        pseudonymize_id: Callable[[str], str] | None = None,
    ) -> None:
        self.plan = plan
        self._admission = Admission(plan, pseudonymize, sealer, consent, undeclared_text, pseudonymize_id)
        self._short_way = ShortWay(self._admission)
        self._validate = self._admission.validator.validate
        self._make_id = make_id
        self._max_event_bytes = max_event_bytes

    def __call__(
        self,
        events: list[bytes],
        *,
        write_key: str,
        received_us: int,
        gates_consent: bool = False,
        role: str = "server",
        bot_reason: str | None = None,
        trace_id: str | None = None,
        gpc: bool = False,
        sent_with: str | None = None,
    ) -> list[Judged]:
        """Verdicts in the order of `events`. `received_us`: microseconds UTC, the time of events that have none too.

        `gates_consent`: the sender asks for consent before it sends; `role`: that of its key, server or client;
        `bot_reason`: the program that sends, for events that name no user agent; `trace_id`: that of the request.
        `gpc`: the person's browser sent `Sec-GPC: 1`, which refuses marketing and personalization. `sent_with`: protocol and client library.
        """
        sender = Sender(write_key, gates_consent, role, bot_reason, trace_id, gpc, sent_with)
        return [self._one(raw, sender, received_us) for raw in events]

    def refused_whole(self, message: str, *, write_key: str, received_us: int, role: str = "server") -> Judged:
        """The verdict on a request that is too large to be looked into, as one event without a name or an original."""
        verdict = Rejected((FieldError("", "too_large", message),), None, None)
        record, errors = self._admission.refuse(verdict, None, b"", Sender(write_key, role=role), received_us)
        return Judged(
            msgspec.structs.replace(record, raw='{"unreadable":"<not read>"}', sealed=None), None, _shown(errors)
        )

    def _one(self, raw: bytes, sender: Sender, received_us: int) -> Judged:
        if len(raw) > self._max_event_bytes:
            return self._too_large(raw, sender, received_us)
        if sender.gpc:
            raw = refuse_by_gpc(raw)
        if (short := self._short_way(raw, sender, received_us)) is not None:
            event_id, record, errors = short
            return Judged(record, event_id, _shown(errors) if errors else [])
        verdict = self._validate(raw, live=True, now_us=received_us, make_id=self._make_id)
        if isinstance(verdict, Accepted):
            record, errors = self._admission.accept(verdict.event, sender, received_us)
            note = _NEW_ID if verdict.id_is_new and record.verdict == "accepted" else None
            return Judged(record, verdict.event.event_id, _shown(errors), note)
        record, errors = self._admission.refuse(verdict, _document(raw), raw, sender, received_us)
        return Judged(record, verdict.event_id, _shown(errors))

    def _too_large(self, raw: bytes, sender: Sender, received_us: int) -> Judged:
        document = _outline(raw)
        event_id, event_name = document.get("event_id"), document.get("event_name")
        readable = isinstance(event_id, str) and len(event_id) <= 128 and not EMAIL.search(event_id)
        verdict = Rejected(
            (FieldError("", "too_large", f"has {len(raw)} bytes; at most {self._max_event_bytes} are taken"),),
            present_id(event_id) if readable else None,
            self._shown_event(event_name) if isinstance(event_name, str) else None,
        )
        is_kept = len(raw) <= _KEPT_TIMES * self._max_event_bytes
        original = (refuse_by_gpc(raw) if sender.gpc else raw) if is_kept else b""
        record, errors = self._admission.refuse(verdict, document, original, sender, received_us)
        if record.verdict == "quarantined":
            record = msgspec.structs.replace(
                record, raw=f'{{"unreadable":"<{len(raw)} bytes>"}}', sealed=record.sealed if is_kept else None
            )
        return Judged(record, verdict.event_id, _shown(errors))

    def _shown_event(self, name: str) -> str:
        return name if self.plan.resolve(name) else shown_name(name)


class _Outline(msgspec.Struct):
    """What is looked at of an event that is too large: the parser passes over all else without making it."""

    event_id: msgspec.Raw = msgspec.Raw()
    event_name: msgspec.Raw = msgspec.Raw()
    context: msgspec.Raw = msgspec.Raw()


_decode_outline = msgspec.json.Decoder(_Outline).decode


def _outline(raw: bytes) -> dict[str, Any]:
    """The id, name and context of an event that is too large, those of a bearable size."""
    try:
        outline = _decode_outline(raw)
    except (msgspec.DecodeError, UnicodeError, RecursionError, ValueError):
        return {}
    found = {field: bytes(getattr(outline, field)) for field in _Outline.__struct_fields__}
    parts = [b'"%s":%s' % (field.encode(), value) for field, value in found.items() if 0 < len(value) <= _OUTLINE_BYTES]
    return _document(b"{%s}" % b",".join(parts)) or {}


def _document(raw: bytes) -> dict[str, Any] | None:
    """The event as decoded; None when it is no readable object."""
    try:
        value = None if too_deep(raw) else msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeError, RecursionError, ValueError):
        return None
    return value if isinstance(value, dict) else None


def _shown(errors: tuple[FieldError, ...]) -> list[dict[str, str]]:
    return [{"path": error.path, "code": error.code, "message": error.message} for error in errors]
