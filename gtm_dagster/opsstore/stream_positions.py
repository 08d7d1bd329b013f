"""Where the stream worker stands in the event log, and the watermark: how far the producers' events are counted.

Methods that take a connection belong into the worker's transaction.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from sqlalchemy import Connection, Row, delete, select

from gtm_dagster.eventlog import Position
from gtm_dagster.opsstore import ops_tables
from gtm_dagster.opsstore.connection import Store
from gtm_dagster.opsstore.rows import ProducerRow

MISSING_US = 120_000_000
"""A producer without a heartbeat for this long is missing (2 min)."""
BEHIND = "stream/"
"""Before a guard's key: the worker's own name among the producers while that guard's counts are behind the log."""
DRILL = "drill/"
"""Before a flag: producers that count for that flag alone; while there are any, only they count for it."""

_offsets, _producers = ops_tables.stream_offsets, ops_tables.producers


class StreamPositions(Store):
    """The watermark for readers; positions and producers for the worker."""

    def positions(self) -> dict[str, Position]:
        """The position of each consumer of the worker."""
        with self.reading() as con:
            return {row.consumer: _position(row) for row in con.execute(select(_offsets))}

    def lock_position(self, con: Connection, consumer: str) -> Position | None:
        """The consumer's position; another transaction that asks for it waits until this one ends."""
        row = con.execute(select(_offsets).where(_offsets.c.consumer == consumer).with_for_update()).first()
        return None if row is None else _position(row)

    def set_position(self, con: Connection, consumer: str, position: Position) -> None:
        """Store the consumer's position."""
        self._put(
            con, _offsets, consumer=consumer, seq=position.seq, log_id=position.log_id, received_us=position.received_us
        )

    def producers(self) -> list[ProducerRow]:
        """Every source of events that has not been forgotten, by name."""
        with self.reading() as con:
            return [ProducerRow(*row) for row in con.execute(select(_producers).order_by(_producers.c.name))]

    def watermark_us(self, flag: str) -> int | None:
        """Event time up to which everything about `flag` is counted: the earliest of its producers; None without one."""
        return min((row.ts_us for row in _about(flag, self.producers())), default=None)

    def missing_producers(self, flag: str, now_us: int) -> tuple[str, ...]:
        """Producers of the flag without a heartbeat for two minutes."""
        return tuple(row.name for row in _about(flag, self.producers()) if row.received_us < now_us - MISSING_US)

    def set_producers(self, con: Connection, rows: Iterable[ProducerRow]) -> None:
        """Replace the producers; the worker's own holds stay."""
        con.execute(delete(_producers).where(_producers.c.name.not_like(f"{BEHIND}%")))
        values = [{"name": row.name, "ts_us": row.ts_us, "received_us": row.received_us} for row in rows]
        if values:
            con.execute(self._insert(_producers), values)

    def hold(self, con: Connection, guard: str, ts_us: int, received_us: int) -> None:
        """Keep the watermark of the guard's flag at `ts_us`: its counts are behind. An earlier hold stays."""
        self._insert_new(con, _producers, name=BEHIND + guard, ts_us=ts_us, received_us=received_us)

    def release(self, con: Connection, guard: str) -> None:
        """The guard's counts have caught up."""
        con.execute(delete(_producers).where(_producers.c.name == BEHIND + guard))


def _position(row: Row[Any]) -> Position:
    return Position(row.log_id, row.seq, row.received_us)


def _about(flag: str, rows: list[ProducerRow]) -> list[ProducerRow]:
    drills = [row for row in rows if (row.name + "/").startswith(f"{DRILL}{flag}/")]
    others = [row for row in rows if not row.name.startswith((DRILL, BEHIND))]
    return (drills or others) + [row for row in rows if row.name.startswith(f"{BEHIND}{flag}:")]
