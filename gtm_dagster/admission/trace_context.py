"""W3C Trace Context (https://www.w3.org/TR/trace-context/): the id of the trace that a request belongs to."""

from __future__ import annotations

import hashlib
import re

_HEADER = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(?:-.*)?\Z")
_TRACE_ID = re.compile(r"(?!0{32})[0-9a-f]{32}\Z")


def trace_id_of(header: bytes | None) -> str | None:
    """The 32 hex characters of a `traceparent`; None for none and, as the standard has it, for one that is not well-formed."""
    found = _HEADER.match(header.decode("latin-1").strip()) if header else None
    if found is None or (found[0][:2] == "00" and len(found[0]) != 55):
        return None
    return found[1]


def trace_id_in(value: object) -> str | None:
    """As `trace_id_of`, of a value that an event names."""
    return trace_id_of(value.encode()) if isinstance(value, str) and value.isascii() else None


def traceparent(trace_id: object, message: str, otherwise: str) -> str:
    """A `traceparent` of what was caused by `trace_id`; without a good one, of the trace that all of `otherwise` share.

    `message` names what is sent: the same at every attempt, so the receiver sees one span.
    """
    known = trace_id if isinstance(trace_id, str) and _TRACE_ID.match(trace_id) else _hex(otherwise, 32)
    return f"00-{known}-{_hex(message, 16)}-01"


def _hex(text: str, characters: int) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:characters]
