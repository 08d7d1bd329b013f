"""What the stream worker counts: offsets, producers, units, conversions and cells.

Methods that take a connection belong into the worker's transaction.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from sqlalchemy import Connection, bindparam, delete, func, select

from gtm_dagster.opsstore import tables
from gtm_dagster.opsstore.connection import Store
from gtm_dagster.opsstore.rows import ProducerRow, UnitRow

MISSING_US = 120_000_000
"""A producer that has said nothing for this long is missing (2 min)."""
HELD = "stream/"
"""Before a guard's key: the worker's own name among the producers while that guard's counts are behind the log."""
DRILL = "drill/"
"""Before a flag: producers that count for that flag alone; while there are any, only they count for it."""
_CHUNK = 900

_offsets, _producers, _epochs = tables.stream_offsets, tables.producers, tables.guard_epochs
_units, _conversions, _counts = tables.guard_units, tables.guard_conversions, tables.guard_counts

Cell = tuple[int, int, str, int]
"""(epoch, slot, arm, age)."""


class Counted(Store):
    """Counts and watermark for readers; units, conversions and offsets for the worker."""

    # For readers

    def counts(self, key: str, epoch: int, since_slot: int | None = None) -> list[tuple[int, str, int, int]]:
        """(slot, arm, age, n) of one epoch, sorted; age -1 is exposures, else slots from exposure to conversion."""
        chosen = select(_counts.c.slot, _counts.c.arm, _counts.c.age, _counts.c.n).where(
            _counts.c.guard == key, _counts.c.epoch == epoch
        )
        if since_slot is not None:
            chosen = chosen.where(_counts.c.slot >= since_slot)
        with self.reading() as con:
            rows = con.execute(chosen.order_by(_counts.c.slot, _counts.c.arm, _counts.c.age))
            return [(slot, arm, age, n) for slot, arm, age, n in rows]

    def producers(self) -> list[ProducerRow]:
        """Every source of events that has not been forgotten, by name."""
        with self.reading() as con:
            return [ProducerRow(*row) for row in con.execute(select(_producers).order_by(_producers.c.name))]

    def watermark_us(self, flag: str) -> int | None:
        """Event time up to which everything about `flag` is counted: the earliest of its producers; None without one."""
        return min((row.ts_us for row in _about(flag, self.producers())), default=None)

    def missing_producers(self, flag: str, now_us: int) -> tuple[str, ...]:
        """Producers of the flag that have said nothing for two minutes."""
        return tuple(row.name for row in _about(flag, self.producers()) if row.received_us < now_us - MISSING_US)

    def last_exposure_us(self, key: str, epoch: int) -> int | None:
        """When the last unit of an epoch was first exposed to the treated arm, None before the first."""
        chosen = select(func.max(_units.c.exposed_us)).where(
            _units.c.guard == key, _units.c.epoch == epoch, _units.c.arm == "treatment"
        )
        with self.reading() as con:
            told = con.execute(chosen).scalar()
        return None if told is None else int(told)

    # For the worker

    def epochs(self) -> dict[str, list[tuple[int, int]]]:
        """(epoch, since_us) of every guard that was ever armed, by epoch."""
        found: dict[str, list[tuple[int, int]]] = {}
        with self.reading() as con:
            for guard, epoch, since_us in con.execute(select(_epochs).order_by(_epochs.c.guard, _epochs.c.epoch)):
                found.setdefault(guard, []).append((epoch, since_us))
        return found

    def offsets(self) -> dict[str, int]:
        """How far each consumer has read."""
        with self.reading() as con:
            return {row.consumer: row.seq for row in con.execute(select(_offsets))}

    def lock_offset(self, con: Connection, consumer: str) -> int | None:
        """The consumer's offset; another transaction that asks for it waits until this one ends."""
        seq = con.execute(select(_offsets.c.seq).where(_offsets.c.consumer == consumer).with_for_update()).scalar()
        return None if seq is None else int(seq)

    def set_offset(self, con: Connection, consumer: str, seq: int) -> None:
        """Store the consumer's offset."""
        self._put(con, _offsets, consumer=consumer, seq=seq)

    def set_producers(self, con: Connection, rows: Iterable[ProducerRow]) -> None:
        """Replace the producers; the worker's own holds stay."""
        con.execute(delete(_producers).where(_producers.c.name.not_like(f"{HELD}%")))
        told = [{"name": row.name, "ts_us": row.ts_us, "received_us": row.received_us} for row in rows]
        if told:
            con.execute(self._insert(_producers), told)

    def hold(self, con: Connection, guard: str, ts_us: int, received_us: int) -> None:
        """Keep the watermark of the guard's flag at `ts_us`: its counts are behind. An earlier hold stays."""
        self._keep(con, _producers, name=HELD + guard, ts_us=ts_us, received_us=received_us)

    def release(self, con: Connection, guard: str) -> None:
        """The guard's counts have caught up."""
        con.execute(delete(_producers).where(_producers.c.name == HELD + guard))

    def units(self, con: Connection, guard: str, names: Iterable[str]) -> list[UnitRow]:
        """The named units of all epochs, those there are."""
        chosen = select(_units.c.unit, _units.c.epoch, _units.c.arm, _units.c.exposed_us, _units.c.converted_us).where(
            _units.c.guard == guard, _units.c.unit.in_(bindparam("names", expanding=True))
        )
        return [UnitRow(*row) for chunk in _chunks(names) for row in con.execute(chosen, {"names": chunk})]

    def units_since(self, con: Connection, guard: str, epoch: int, since_us: int) -> list[UnitRow]:
        """Units of an epoch first exposed at or after `since_us`."""
        chosen = select(_units.c.unit, _units.c.epoch, _units.c.arm, _units.c.exposed_us, _units.c.converted_us).where(
            _units.c.guard == guard, _units.c.epoch == epoch, _units.c.exposed_us >= since_us
        )
        return [UnitRow(*row) for row in con.execute(chosen)]

    def put_units(self, con: Connection, guard: str, rows: Iterable[UnitRow]) -> None:
        """Insert the units, or overwrite them."""
        told = [
            {"guard": guard, "unit": row.unit, "epoch": row.epoch, "arm": row.arm, "exposed_us": row.exposed_us,
             "converted_us": row.converted_us}
            for row in rows
        ]  # fmt: skip
        if told:
            made = self._insert(_units)
            rest = {name: made.excluded[name] for name in ("arm", "exposed_us", "converted_us")}
            con.execute(made.on_conflict_do_update(index_elements=["guard", "unit", "epoch"], set_=rest), told)

    def drop_units(self, con: Connection, guard: str, rows: Iterable[UnitRow]) -> None:
        """Delete the units."""
        told = [{"u": row.unit, "e": row.epoch} for row in rows]
        if told:
            con.execute(
                delete(_units).where(
                    _units.c.guard == guard, _units.c.unit == bindparam("u"), _units.c.epoch == bindparam("e")
                ),
                told,
            )

    def conversions(self, con: Connection, guard: str, names: Iterable[str]) -> dict[str, list[int]]:
        """Times of the named units' conversion events, in order."""
        chosen = select(_conversions.c.unit, _conversions.c.event_us).where(
            _conversions.c.guard == guard, _conversions.c.unit.in_(bindparam("names", expanding=True))
        )
        found: dict[str, list[int]] = {}
        for chunk in _chunks(names):
            for unit, event_us in con.execute(chosen, {"names": chunk}):
                found.setdefault(unit, []).append(event_us)
        for times in found.values():
            times.sort()
        return found

    def add_conversions(self, con: Connection, guard: str, times: Iterable[tuple[str, int]]) -> None:
        """Store (unit, time) of conversion events, each once."""
        told = [{"guard": guard, "unit": unit, "event_us": event_us} for unit, event_us in times]
        if told:
            con.execute(self._insert(_conversions).on_conflict_do_nothing(), told)

    def prune_conversions(self, con: Connection, guard: str, before_us: int) -> None:
        """Delete conversion events before `before_us`; the units keep what they converted."""
        con.execute(delete(_conversions).where(_conversions.c.guard == guard, _conversions.c.event_us < before_us))

    def add_cells(self, con: Connection, guard: str, changes: Mapping[Cell, int]) -> None:
        """Add to the cells; a cell that comes to nothing is deleted."""
        told = [
            {"guard": guard, "epoch": epoch, "slot": slot, "arm": arm, "age": age, "n": n}
            for (epoch, slot, arm, age), n in sorted(changes.items())
            if n
        ]
        if not told:
            return
        made = self._insert(_counts)
        keys = ["guard", "epoch", "slot", "arm", "age"]
        con.execute(made.on_conflict_do_update(index_elements=keys, set_={"n": _counts.c.n + made.excluded.n}), told)
        fewer = [{"e": epoch, "s": slot, "r": arm, "a": age} for (epoch, slot, arm, age), n in changes.items() if n < 0]
        if fewer:
            con.execute(
                delete(_counts).where(
                    _counts.c.guard == guard, _counts.c.epoch == bindparam("e"), _counts.c.slot == bindparam("s"),
                    _counts.c.arm == bindparam("r"), _counts.c.age == bindparam("a"), _counts.c.n == 0,
                ),
                fewer,
            )  # fmt: skip

    def forget_counts(self, con: Connection, guard: str) -> None:
        """Delete all that was counted for a guard."""
        for table in (_units, _conversions, _counts):
            con.execute(delete(table).where(table.c.guard == guard))


def _about(flag: str, rows: list[ProducerRow]) -> list[ProducerRow]:
    drills = [row for row in rows if (row.name + "/").startswith(f"{DRILL}{flag}/")]
    others = [row for row in rows if not row.name.startswith((DRILL, HELD))]
    return (drills or others) + [row for row in rows if row.name.startswith(f"{HELD}{flag}:")]


def _chunks(names: Iterable[str]) -> Iterator[list[Any]]:
    told = sorted(set(names))
    for at in range(0, len(told), _CHUNK):
        yield told[at : at + _CHUNK]
