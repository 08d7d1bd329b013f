"""The row that lands: one judged event with pseudonyms for its identifiers, and the names of its columns.

Light on import: the collector writes these, the loader reads them, the SDK never sees them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import msgspec

from gtm_dagster.privacy.event_ids import stored_event_id

if TYPE_CHECKING:
    from gtm_dagster.taxonomy import Event, FieldError

_encode = msgspec.json.Encoder(order="deterministic").encode


class Record(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """One landed row. Times are microseconds UTC; `user_id`, `anonymous_id`, `session_id` and an `event_id` that is not
    plainly random are pseudonyms.

    `verdict`: accepted, quarantined or suppressed. `event_us` is None only for a quarantined row without a readable
    time. `errors` is a JSON list of {path, code, message}; `raw` the masked event, `sealed` the encrypted original.
    `timezone`: IANA name of the sender's clock. `rules`: fingerprint of the plan and the rules that admitted the row.
    `key_role`: "client" when the event came with a key that ships in pages and apps, else None. `bot_reason`: the program
    whose user agent it came with, None for a person; the agent itself is never kept.
    `trace_id`: 32 hex characters of the `traceparent` its request came with (W3C Trace Context), None without one.
    `sent_with`: the protocol of its request and the client library where that is a known one, such as
    "segment analytics-python/2.4.0"; None for imported rows and those of before this column.
    """

    write_key: str
    event_id: str | None
    event_name: str | None
    event_us: int | None
    received_us: int
    user_id: str | None = None
    anonymous_id: str | None = None
    session_id: str | None = None
    properties: str | None = None
    source: str | None = None
    medium: str | None = None
    campaign: str | None = None
    term: str | None = None
    content: str | None = None
    device_type: str | None = None
    locale: str | None = None
    page_url: str | None = None
    referrer: str | None = None
    click_id: str | None = None
    country: str | None = None
    region: str | None = None
    consent: str | None = None
    plan_version: str | None = None
    verdict: str = "accepted"
    reason_codes: str | None = None
    errors: str | None = None
    raw: str | None = None
    sealed: bytes | None = None
    origin: str = "log"
    row_no: int = 0
    timezone: str | None = None
    rules: str | None = None
    key_role: str | None = None
    bot_reason: str | None = None
    trace_id: str | None = None
    sent_with: str | None = None


_KINDS = {"event_us": "int64", "received_us": "int64", "row_no": "int64", "sealed": "bytes"}
LANDING_COLUMNS: list[tuple[str, str]] = [(name, _KINDS.get(name, "str")) for name in Record.__struct_fields__]
"""Column names of the landing files in order, each with its kind: str, int64 or bytes."""
DEFAULTS: dict[str, str | int | None] = dict(
    zip(Record.__struct_fields__[-len(Record.__struct_defaults__) :], Record.__struct_defaults__, strict=True)
)
"""The value of a column that a stored row does not have, because its writer did not know it or left NULLs out."""
REQUIRED_COLUMNS = ("write_key", "event_id", "event_name", "event_us", "received_us", "verdict")
"""A landing file without one of these is broken: they say which event it is, when it was received, and whether it
counts. No version wrote files without them, and no default could stand in."""


def record_from_event(
    event: Event,
    *,
    write_key: str,
    received_us: int,
    plan_version: str,
    pseudonymize: Callable[[str], str],
    pseudonymize_id: Callable[[str], str] | None = None,
    rules: str | None = None,
    key_role: str | None = None,
    bot_reason: str | None = None,
    trace_id: str | None = None,
    sent_with: str | None = None,
) -> Record:
    """The record of an accepted, scrubbed event. `pseudonymize_id`: `pseudonymize` for what comes once."""
    return Record(
        write_key=write_key,
        event_id=stored_event_id(event.event_id, pseudonymize_id or pseudonymize),
        event_name=event.event_name,
        event_us=event.event_us,
        received_us=received_us,
        user_id=pseudonymize(event.user_id) if event.user_id is not None else None,
        anonymous_id=pseudonymize(event.anonymous_id) if event.anonymous_id is not None else None,
        session_id=pseudonymize(event.session_id) if event.session_id is not None else None,
        properties=_encode(event.properties).decode(),
        source=event.source,
        medium=event.medium,
        campaign=event.campaign,
        term=event.term,
        content=event.content,
        device_type=event.device_type,
        locale=event.locale,
        page_url=event.page_url,
        referrer=event.referrer,
        click_id=event.click_id,
        country=event.country,
        region=event.region,
        consent=_encode(event.consent).decode() if event.consent is not None else None,
        plan_version=plan_version,
        timezone=event.timezone,
        rules=rules,
        key_role=key_role,
        bot_reason=bot_reason,
        trace_id=trace_id,
        sent_with=sent_with,
    )


def record_from_rejection(
    errors: tuple[FieldError, ...],
    *,
    event_id: str | None,
    event_name: str | None,
    write_key: str,
    received_us: int,
    plan_version: str,
    raw: str,
    sealed: bytes | None,
    user_id: str | None = None,
    anonymous_id: str | None = None,
    key_role: str | None = None,
    bot_reason: str | None = None,
    trace_id: str | None = None,
    sent_with: str | None = None,
) -> Record:
    """The record of a refused event: every reason, the masked event, the sealed original, and the pseudonyms of its person
    where it names one, so that a guard knows whose conversion was refused.
    """
    return Record(
        write_key=write_key,
        event_id=event_id,
        event_name=event_name,
        event_us=None,
        received_us=received_us,
        user_id=user_id,
        anonymous_id=anonymous_id,
        plan_version=plan_version,
        verdict="quarantined",
        reason_codes=",".join(sorted({error.code for error in errors})),
        errors=_encode([{"path": e.path, "code": e.code, "message": e.message} for e in errors]).decode(),
        raw=raw,
        sealed=sealed,
        key_role=key_role,
        bot_reason=bot_reason,
        trace_id=trace_id,
        sent_with=sent_with,
    )
