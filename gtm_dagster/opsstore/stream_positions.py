"""Where the stream worker stands in the event log, and the watermark: how far the producers' events are counted.

Methods that take a connection belong into the worker's transaction.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

import msgspec
from sqlalchemy import Connection, Row, delete, select

from gtm_dagster.eventlog import Position
from gtm_dagster.opsstore import ops_tables
from gtm_dagster.opsstore.connection import Store
from gtm_dagster.opsstore.rows import ProducerRow
from gtm_dagster.settings import DRILL_FLAG

MISSING_US = 120_000_000
"""A producer without a heartbeat for this long is missing (2 min): what it has not sent may still come."""
VANISHED_US = 600_000_000
"""One that is silent for longer than this has vanished (10 min): guards go on without it, and say so."""
LATE_US = 86_400_000_000
"""One that is this far behind its own heartbeat (24 h) is not waited for: what is older does not count any more."""
COLLECTOR = "collector"
"""The collector's own name among the producers, without a key; it is waited for however long it is silent."""
BEHIND = "stream/"
"""Before a guard's key: the worker's own name among the producers while that guard's counts are behind the log."""
DRILL = "drill/"
"""Before the canary's flag: producers that count for it alone; while there are any, only they count for it."""
_FORGOTTEN = "forgotten/"

_offsets, _producers, _meta = ops_tables.stream_offsets, ops_tables.producers, ops_tables.meta


class Waiting(msgspec.Struct, frozen=True):
    """The producers that serve a guard, at a moment. `awaited`: its clock waits for them; `vanished` and `late` it does not
    wait for any more."""

    awaited: tuple[ProducerRow, ...]
    vanished: tuple[ProducerRow, ...]
    late: tuple[ProducerRow, ...]
    now_us: int

    @property
    def watermark_us(self) -> int | None:
        """Event time up to which everything is counted: the earliest of those awaited; None without one."""
        return min((row.ts_us for row in self.awaited), default=None)

    @property
    def counted_us(self) -> int | None:
        """The watermark; where nobody is awaited any more, as after a drill, what those that vanished had sent."""
        if self.awaited:
            return self.watermark_us
        return min((row.ts_us for row in self.vanished), default=None)

    @property
    def missing(self) -> tuple[str, ...]:
        """Those awaited without a heartbeat for two minutes."""
        return tuple(row.name for row in self.awaited if row.received_us < self.now_us - MISSING_US)


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
        """Every source of events that has not been forgotten, by name and key."""
        with self.reading() as con:
            forgotten = _forgotten(con)
            rows = con.execute(select(_producers).order_by(_producers.c.name, _producers.c.write_key))
            return [
                row for row in (ProducerRow(*each) for each in rows) if row.received_us > forgotten.get(row.name, -1)
            ]

    def forget_producer(self, name: str, at_us: int) -> None:
        """Wait no more for the producer's heartbeats of until `at_us`; with its next one it is back."""
        with self.transaction() as con:
            self._put(con, _meta, key=_FORGOTTEN + name, value=str(at_us))

    def waiting(self, flag: str, now_us: int, keys: Collection[str] = ()) -> Waiting:
        """The producers of the flag as they stand; with `keys`, those of these write keys and of none."""
        rows = [
            row for row in _about(flag, self.producers()) if not (keys and row.write_key and row.write_key not in keys)
        ]
        vanished = [row for row in rows if _may_vanish(row) and row.received_us < now_us - VANISHED_US]
        late = [row for row in rows if row not in vanished and row.ts_us < row.received_us - LATE_US]
        awaited = [row for row in rows if row not in vanished and row not in late]
        return Waiting(tuple(awaited), tuple(vanished), tuple(late), now_us)

    def watermark_us(self, flag: str) -> int | None:
        """Event time up to which everything about `flag` is counted: the earliest of its producers; None without one."""
        return min((row.ts_us for row in _about(flag, self.producers())), default=None)

    def missing_producers(self, flag: str, now_us: int) -> tuple[str, ...]:
        """Producers of the flag without a heartbeat for two minutes."""
        return tuple(row.name for row in _about(flag, self.producers()) if row.received_us < now_us - MISSING_US)

    def set_producers(self, con: Connection, rows: Iterable[ProducerRow]) -> None:
        """Replace the producers; the worker's own holds stay."""
        con.execute(delete(_producers).where(_producers.c.name.not_like(f"{BEHIND}%")))
        values = [msgspec.structs.asdict(row) for row in rows]
        if values:
            con.execute(self._insert(_producers), values)
        gone = _forgotten(con).keys() - {value["name"] for value in values}
        if gone:
            con.execute(delete(_meta).where(_meta.c.key.in_([_FORGOTTEN + name for name in gone])))

    def hold(self, con: Connection, guard: str, ts_us: int, received_us: int) -> None:
        """Keep the watermark of the guard's flag at `ts_us`: its counts are behind. An earlier hold stays."""
        self._insert_new(con, _producers, name=BEHIND + guard, ts_us=ts_us, received_us=received_us, write_key="")

    def release(self, con: Connection, guard: str) -> None:
        """The guard's counts have caught up."""
        con.execute(delete(_producers).where(_producers.c.name == BEHIND + guard))


def _position(row: Row[Any]) -> Position:
    return Position(row.log_id, row.seq, row.received_us)


def _forgotten(con: Connection) -> dict[str, int]:
    rows = con.execute(select(_meta.c.key, _meta.c.value).where(_meta.c.key.startswith(_FORGOTTEN)))
    return {key.removeprefix(_FORGOTTEN): int(value) for key, value in rows}


def _may_vanish(row: ProducerRow) -> bool:
    return not row.name.startswith(BEHIND) and (row.name != COLLECTOR or bool(row.write_key))


def _about(flag: str, rows: list[ProducerRow]) -> list[ProducerRow]:
    newest: dict[str, ProducerRow] = {}  # a drill follows another, maybe with another key
    for row in sorted(rows, key=lambda row: row.received_us):
        if flag == DRILL_FLAG and (row.name + "/").startswith(f"{DRILL}{flag}/"):
            newest[row.name] = row
    drills = list(newest.values())
    others = [row for row in rows if not row.name.startswith((DRILL, BEHIND))]
    return (drills or others) + [row for row in rows if row.name.startswith(f"{BEHIND}{flag}:")]
