"""What one rule remembers of one person: small, frozen, merged in any order, stored with a version.

Tens of thousands are in memory, and none can lead back to itself: the collector of cycles does not look at them (`gc`).
"""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Struct

DAY_US = 86_400 * 1_000_000
LATE_US = DAY_US
"""How much later than others of its person an event may arrive and still be put in its place."""
DECIDED_US = 32 * DAY_US
"""How long a decided start is remembered: as long as the log may bring it again (`dedup_days`)."""
MOST_TIMES = 1_000
MOST_DECIDED = 200
MOST_OPEN = 200
"""Bounds of one state, whatever is sent: the newest counted and decided stay, and no start opens beyond `MOST_OPEN`."""
FORMAT = 1


class Occurrence(Struct, frozen=True, array_like=True, order=True, gc=False):
    """A start that is not decided yet. `held`: "" while it waits for `due_us`, else why it waits until `until_us`."""

    at_us: int
    trigger_event_id: str
    due_us: int
    key: str = ""
    held: str = ""
    until_us: int = 0


class Counted(Struct, frozen=True, array_like=True, order=True, gc=False):
    """An event of a count."""

    at_us: int
    event_id: str
    key: str = ""


class Cancelled(Struct, frozen=True, array_like=True, order=True, gc=False):
    """The last cancelling event of a key; None is every key."""

    at_us: int
    event_id: str
    key: str | None = ""


class Decided(Struct, frozen=True, array_like=True, order=True, gc=False):
    """A start that was decided; starts of its key before `until_us` were part of it (0: none were)."""

    at_us: int
    event_id: str
    key: str = ""
    until_us: int = 0


class RuleState(Struct, frozen=True, array_like=True, gc=False):
    """The state of (rule, person); all tuples are sorted."""

    version: int = FORMAT
    open: tuple[Occurrence, ...] = ()
    counted: tuple[Counted, ...] = ()
    cancelled: tuple[Cancelled, ...] = ()
    decided: tuple[Decided, ...] = ()

    def knows(self, event_id: str) -> bool:
        """Whether a start is open or decided already."""
        is_open = bool(self.open) and any(each.trigger_event_id == event_id for each in self.open)
        return is_open or self.has_decided(event_id)

    def has_decided(self, event_id: str) -> bool:
        return bool(self.decided) and any(each.event_id == event_id for each in self.decided)

    def has_counted(self, event_id: str) -> bool:
        return bool(self.counted) and any(each.event_id == event_id for each in self.counted)


EMPTY = RuleState()
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(RuleState).decode
_BEGINNING = _encode(EMPTY)[:2]
"""Of every state of this format: an array of so many values, and the version."""


def merged(one: RuleState, other: RuleState) -> RuleState:
    """The state of two ids that are one person: commutative, associative, idempotent."""
    decided = _by_id((*one.decided, *other.decided), "event_id")
    finished = {each.event_id for each in decided}
    opened = _by_id((*one.open, *other.open), "trigger_event_id", "held")
    return RuleState(
        FORMAT,
        tuple(each for each in opened if each.held or each.trigger_event_id not in finished),
        _by_id((*one.counted, *other.counted), "event_id"),
        newest_cancels((*one.cancelled, *other.cancelled)),
        decided,
    )


def newest_cancels(cancelled: tuple[Cancelled, ...]) -> tuple[Cancelled, ...]:
    """The last of each key."""
    if len(cancelled) == 2 and cancelled[0].key == cancelled[1].key:
        one, other = cancelled
        return (other,) if (one.at_us, one.event_id) < (other.at_us, other.event_id) else (one,)
    newest: dict[str | None, Cancelled] = {}
    for each in cancelled:
        known = newest.get(each.key)
        if known is None or (known.at_us, known.event_id) < (each.at_us, each.event_id):
            newest[each.key] = each
    return tuple(sorted(newest.values(), key=_cancel_order))


def trimmed(state: RuleState, now_us: int, within_us: int) -> RuleState:
    """`state` without what can decide nothing any more, and within its bounds."""
    counted, cancelled, decided = state.counted, state.cancelled, state.decided
    late_us, decided_us = now_us - within_us - LATE_US, now_us - within_us - DECIDED_US
    if (
        (not counted or (counted[0].at_us > late_us and len(counted) <= MOST_TIMES))
        and (not cancelled or cancelled[0].at_us > late_us)
        and (not decided or (decided[0].at_us > decided_us and len(decided) <= MOST_DECIDED))
    ):
        return state  # as nearly always: nothing is built anew
    counted = _newer(counted, late_us)[-MOST_TIMES:]
    decided = _newer(decided, decided_us)[-MOST_DECIDED:]
    return RuleState(FORMAT, state.open, counted, _newer(cancelled, late_us), decided)


def _newer(rows: tuple[Any, ...], after_us: int) -> tuple[Any, ...]:
    """Those of the sorted `rows` that are later than `after_us`."""
    return tuple(each for each in rows if each.at_us > after_us)


def with_one(rows: tuple[Any, ...], row: Any) -> tuple[Any, ...]:
    """The sorted `rows` with one more, which most often is the last."""
    if not rows or rows[-1] <= row:
        return (*rows, row)
    return tuple(sorted((*rows, row)))


def encoded(state: RuleState) -> bytes:
    """msgpack, whose first value is the version of the format."""
    return _encode(state)


def decoded(data: bytes) -> RuleState:
    """The state of `data`. Raises ValueError for one that a newer version wrote."""
    if data[:2] != _BEGINNING:
        version = msgspec.msgpack.decode(data)[0]
        if version > FORMAT:
            raise ValueError(
                f"a trigger state of format {version} was written by a newer gtm-dagster; install that version"
            )
    return _decode(data)


def _cancel_order(cancel: Cancelled) -> tuple[int, str, bool, str]:
    return cancel.at_us, cancel.event_id, cancel.key is None, cancel.key or ""


def _by_id(rows: tuple[Any, ...], name: str, rank: str | None = None) -> tuple[Any, ...]:
    """One row an id, the greatest (by `rank` first), in order."""
    kept: dict[str, Any] = {}
    for row in rows:
        other = kept.setdefault(getattr(row, name), row)
        if ((getattr(row, rank), row) if rank else row) > ((getattr(other, rank), other) if rank else other):
            kept[getattr(row, name)] = row
    return tuple(sorted(kept.values()))
