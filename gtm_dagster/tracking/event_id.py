"""Ids of events: UUID version 7 (RFC 9562), made some hundred at a time where that is possible."""

from __future__ import annotations

import os
import time

_AT_ONCE = 256
_tails: list[str] = []


def uuid7() -> str:
    """A UUID version 7: milliseconds since the epoch, then 74 random bits. Sorts by time."""
    while True:
        try:
            tail = _tails.pop()
            break
        except IndexError:
            _fill()
    milliseconds = time.time_ns() // 1_000_000
    return f"{milliseconds >> 16 & 0xFFFFFFFF:08x}-{milliseconds & 0xFFFF:04x}-{tail}"


def _fill() -> None:
    """Random parts for the next ids: one call of the kernel for many costs a tenth of one for each."""
    random = os.urandom(10 * _AT_ONCE).hex()
    _tails.extend(
        f"7{part[:3]}-{'89ab'[int(part[3], 16) & 3]}{part[4:7]}-{part[7:19]}"
        for part in (random[start : start + 20] for start in range(0, len(random), 20))
    )


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_tails.clear)  # else parent and child would give the same ids
