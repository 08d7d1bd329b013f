"""Whether a log continues what its reader remembers: numbers in, the offset to go on behind or LogChangedError out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta

import msgspec

from gtm_dagster.eventlog.log import Acceptance, LogChangedError, Position

WAY_OUT = "or, when that is gone for good, run `gtm log accept --reason TEXT`"


class LogState(msgspec.Struct, frozen=True):
    """A log as it is: its id, the offsets it keeps, and what a person accepted.

    `unnamed_seq`: the newest offset when the log got its id, None when it was made with one. `gap_seq`: records up to
    here may be missing. `continued`: ids of earlier logs this one stands in for.
    """

    place: str
    log_id: str
    first_seq: int
    last_seq: int
    unnamed_seq: int | None
    gap_seq: int
    continued: frozenset[str]

    def continues(self, log_id: str) -> bool:
        """Whether positions in log `log_id` may be carried over to this one."""
        return log_id == self.log_id or log_id in self.continued or (log_id == "" and self.unnamed_seq is not None)


Receipt = Callable[[int], int | None]
"""offset -> receipt of its record in microseconds UTC, None when the log no longer keeps it."""


def resume(state: LogState, position: Position | None, receipt: Receipt, *, from_start: bool) -> int:
    """As EventLog.resume."""
    kept = state.first_seq - 1
    if position is None or position == Position("", 0):
        if from_start and kept > state.gap_seq:
            raise _trimmed(state, 0)
        return kept
    own = position.log_id == state.log_id
    if not own and not (position.log_id == "" and state.unnamed_seq is not None):
        if position.log_id not in state.continued:
            raise _other(state, position)
        if kept > state.gap_seq:
            raise _trimmed(state, 0)
        return kept
    end = state.last_seq if own else state.unnamed_seq or 0
    if position.seq > end:
        raise _restored(state, position, f"ends at offset {end}")
    if position.seq < kept:
        if kept > state.gap_seq:
            raise _trimmed(state, position.seq)
        return kept
    if position.received_us is not None:
        now = receipt(position.seq)
        if now is not None and now != position.received_us:
            raise _restored(
                state,
                position,
                f"received offset {position.seq} at {_moment(now)}, not at {_moment(position.received_us)}, and has grown since",
            )
    return position.seq


def acceptance(state: LogState, positions: Sequence[tuple[Position | None, bool]], receipt: Receipt, fresh_id: str) -> Acceptance | None:  # fmt: skip
    """What has to be recorded so that all `positions` (each with its `from_start`) resume; None when they do.

    Offsets of a restored copy come a second time, so it gets `fresh_id`.
    """
    missed: list[tuple[str, str]] = []
    for position, from_start in positions:
        try:
            resume(state, position, receipt, from_start=from_start)
        except LogChangedError as changed:
            missed.append((changed.kind, position.log_id if position else state.log_id))
    if not missed:
        return None
    restored = any(kind == "restored" for kind, _ in missed)
    superseded = {log_id for kind, log_id in missed if kind != "trimmed"}
    if restored:
        superseded.add(state.log_id)
        if state.unnamed_seq is not None:
            superseded.add("")
    return Acceptance(
        log_id=fresh_id if restored else state.log_id,
        renamed_from=state.log_id if restored else "",
        continues=sorted(superseded),
        gap_seq=max(state.gap_seq, state.first_seq - 1),
        kinds=sorted({kind for kind, _ in missed}),
    )


def _name(log_id: str) -> str:
    return f"log {log_id}" if log_id else "a log from before logs had an identity"


def _stands(state: LogState, position: Position) -> str:
    return f"{state.place}: its reader stands at offset {position.seq} of {_name(position.log_id)}"


def _other(state: LogState, position: Position) -> LogChangedError:
    return LogChangedError(
        f"{_stands(state, position)}, this file is log {state.log_id} (offsets {state.first_seq} to {state.last_seq}): "
        f"another log took its place; restore the file of that log, {WAY_OUT}",
        "other",
    )


def _restored(state: LogState, position: Position, found: str) -> LogChangedError:
    return LogChangedError(
        f"{_stands(state, position)}, this copy of it {found}: an older copy was restored; "
        f"restore the newest copy, {WAY_OUT}",
        "restored",
    )


def _trimmed(state: LogState, seq: int) -> LogChangedError:
    return LogChangedError(
        f"{state.place}: its reader stands at offset {seq}, the log begins at offset {state.first_seq}: offsets "
        f"{max(seq, state.gap_seq) + 1} to {state.first_seq - 1} left it before they were read; "
        f"restore a copy that holds them, {WAY_OUT}",
        "trimmed",
    )


def _moment(us: int) -> str:
    return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=us)).isoformat()
