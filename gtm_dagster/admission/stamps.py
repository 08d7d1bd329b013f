"""What collector and SDK add to a live event: its time by the sender's clock, and its trace."""

from __future__ import annotations

from typing import Any, NamedTuple

import msgspec

from gtm_dagster.admission.trace_context import trace_id_in
from gtm_dagster.taxonomy.times import read_time


class Stamps(NamedTuple):
    """The columns `original_us` and `trace_id` of an event; None where it does not say."""

    original_us: int | None = None
    trace_id: str | None = None


class _Fields(msgspec.Struct):
    original_timestamp: Any = None
    traceparent: Any = None


_NONE = Stamps()
_decode = msgspec.json.Decoder(_Fields).decode


def original_us(text: object) -> int | None:
    """Microseconds UTC of an `original_timestamp`; None for what is no time."""
    moment = read_time(text) if isinstance(text, str) else None
    return moment if isinstance(moment, int) else None


def stamps_of(raw: bytes) -> Stamps:
    """The stamps of an event's JSON, which may be anything."""
    if b"original_timestamp" not in raw and b"traceparent" not in raw:
        return _NONE
    try:
        fields = _decode(raw)
    except (msgspec.DecodeError, UnicodeError, RecursionError, ValueError):
        return _NONE
    return Stamps(original_us(fields.original_timestamp), trace_id_in(fields.traceparent))
