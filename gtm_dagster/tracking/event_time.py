"""Moments as RFC 3339 texts."""

from __future__ import annotations

from datetime import UTC, datetime

_newest = (0, "1970-01-01T00:00:00")
"""The second that was written last, and its text: most events of a process share it with the one before."""


def rfc3339(us: int) -> str:
    """`us`, microseconds since the epoch, as a time in UTC with six digits of a second."""
    global _newest
    second, fraction = divmod(us, 1_000_000)
    known, text = _newest
    if second != known:
        text = datetime.fromtimestamp(second, UTC).isoformat()[:19]
        _newest = second, text
    return f"{text}.{fraction:06d}Z"
