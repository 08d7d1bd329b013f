"""What is counted for a guard: units, their conversion events, and the counts by epoch, cohort slot, arm and age.

Methods that take a connection belong into the worker's transaction.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from sqlalchemy import Connection, bindparam, delete, func, select

from gtm_dagster.opsstore import metric_tables, ops_tables
from gtm_dagster.opsstore.connection import Store
from gtm_dagster.opsstore.rows import GuardProgress, UnitRow

_CHUNK = 900

_units, _conversions, _counts, _progress = (
    ops_tables.guard_units,
    ops_tables.guard_conversions,
    ops_tables.guard_counts,
    ops_tables.guard_progress,
)
_FURTHER = (
    ops_tables.guard_folded,
    ops_tables.guard_units_ended,
    ops_tables.guard_units_known,
    ops_tables.guard_left_out,
    ops_tables.guard_records,
    ops_tables.guard_links,
    metric_tables.guard_metric_events,
    metric_tables.guard_metric_counts,
    metric_tables.guard_segments,
)
_unit_columns = tuple(_units.c[name] for name in UnitRow.__struct_fields__)

Cell = tuple[int, int, str, int]
"""(epoch, slot, arm, age)."""


class UnitCounts(Store):
    """Counts for readers; units, conversions and cells for the worker."""

    def counts(self, key: str, epoch: int, since_slot: int | None = None) -> list[tuple[int, str, int, int]]:
        """(slot, arm, age, n) of one epoch, sorted; age -1 is exposures, else slots from exposure to conversion.

        Without what is folded (see FoldedCounts).
        """
        statement = select(_counts.c.slot, _counts.c.arm, _counts.c.age, _counts.c.n).where(
            _counts.c.guard == key, _counts.c.epoch == epoch
        )
        if since_slot is not None:
            statement = statement.where(_counts.c.slot >= since_slot)
        with self.reading() as con:
            rows = con.execute(statement.order_by(_counts.c.slot, _counts.c.arm, _counts.c.age))
            return [(slot, arm, age, n) for slot, arm, age, n in rows]

    def last_exposure_us(self, key: str, epoch: int) -> int | None:
        """When the last unit that is not pruned was first exposed to the treated arm, None without one."""
        statement = select(func.max(_units.c.exposed_us)).where(
            _units.c.guard == key, _units.c.epoch == epoch, _units.c.arm == "treatment"
        )
        with self.reading() as con:
            last_us = con.execute(statement).scalar()
        return None if last_us is None else int(last_us)

    def last_exposure_slot(self, key: str, epoch: int) -> int | None:
        """The slot of the last exposures to the treated arm that are not folded, None without one."""
        statement = select(func.max(_counts.c.slot)).where(
            _counts.c.guard == key, _counts.c.epoch == epoch, _counts.c.arm == "treatment", _counts.c.age < 0
        )
        with self.reading() as con:
            last_slot = con.execute(statement).scalar()
        return None if last_slot is None else int(last_slot)

    def early_conversions(self, key: str, epoch: int, within_us: int) -> dict[str, int]:
        """Units by arm that converted only before their exposure, at most `within_us` before it, as far as events are kept.

        A few are visitors who came back; many in one arm are a clock that is behind.
        """
        same = (_conversions.c.guard == _units.c.guard) & (_conversions.c.unit == _units.c.unit)
        statement = (
            select(_units.c.arm, func.count(_units.c.unit.distinct()))
            .select_from(_units.join(_conversions, same))
            .where(
                _units.c.guard == key, _units.c.epoch == epoch, _units.c.converted_us.is_(None),
                _conversions.c.event_us < _units.c.exposed_us, _conversions.c.event_us >= _units.c.exposed_us - within_us,
            )
        )  # fmt: skip
        with self.reading() as con:
            return {arm: int(n) for arm, n in con.execute(statement.group_by(_units.c.arm))}

    def guard_progress(self) -> dict[str, GuardProgress]:
        """Of every guard that was ever counted, by key."""
        with self.reading() as con:
            return {row.guard: GuardProgress(row.epoch, row.rule) for row in con.execute(select(_progress))}

    def set_guard_progress(self, con: Connection, guard: str, progress: GuardProgress) -> None:
        """Store which epochs and which rule the guard's counts follow."""
        self._put(con, _progress, guard=guard, epoch=progress.epoch, rule=progress.rule)

    def units(self, con: Connection, guard: str, names: Iterable[str]) -> list[UnitRow]:
        """The named units of all epochs, those there are."""
        statement = select(*_unit_columns).where(
            _units.c.guard == guard, _units.c.unit.in_(bindparam("names", expanding=True))
        )
        return [UnitRow(*row) for chunk in chunks(names) for row in con.execute(statement, {"names": chunk})]

    def units_since(self, con: Connection, guard: str, epoch: int, since_us: int) -> list[UnitRow]:
        """Units of an epoch first exposed at or after `since_us`."""
        statement = select(*_unit_columns).where(
            _units.c.guard == guard, _units.c.epoch == epoch, _units.c.exposed_us >= since_us
        )
        return [UnitRow(*row) for row in con.execute(statement)]

    def put_units(self, con: Connection, guard: str, rows: Iterable[UnitRow]) -> None:
        """Insert the units, or overwrite them."""
        values = [{"guard": guard, **{name: getattr(row, name) for name in UnitRow.__struct_fields__}} for row in rows]
        if values:
            statement = self._insert(_units)
            rest = {name: statement.excluded[name] for name in UnitRow.__struct_fields__[2:]}
            con.execute(statement.on_conflict_do_update(index_elements=["guard", "unit", "epoch"], set_=rest), values)

    def drop_units(self, con: Connection, guard: str, rows: Iterable[UnitRow]) -> None:
        """Delete the units."""
        values = [{"u": row.unit, "e": row.epoch} for row in rows]
        if values:
            con.execute(
                delete(_units).where(
                    _units.c.guard == guard, _units.c.unit == bindparam("u"), _units.c.epoch == bindparam("e")
                ),
                values,
            )

    def conversions(self, con: Connection, guard: str, names: Iterable[str]) -> dict[str, list[int]]:
        """Times of the named units' conversion events, in order."""
        statement = select(_conversions.c.unit, _conversions.c.event_us).where(
            _conversions.c.guard == guard, _conversions.c.unit.in_(bindparam("names", expanding=True))
        )
        found: dict[str, list[int]] = {}
        for chunk in chunks(names):
            for unit, event_us in con.execute(statement, {"names": chunk}):
                found.setdefault(unit, []).append(event_us)
        for times in found.values():
            times.sort()
        return found

    def add_conversions(self, con: Connection, guard: str, times: Iterable[tuple[str, int]]) -> None:
        """Store (unit, time) of conversion events, each once."""
        values = [{"guard": guard, "unit": unit, "event_us": event_us} for unit, event_us in times]
        if values:
            con.execute(self._insert(_conversions).on_conflict_do_nothing(), values)

    def prune_conversions(self, con: Connection, guard: str, before_us: int) -> None:
        """Delete conversion events before `before_us`; the units keep what they converted."""
        con.execute(delete(_conversions).where(_conversions.c.guard == guard, _conversions.c.event_us < before_us))

    def add_cells(self, con: Connection, guard: str, changes: Mapping[Cell, int]) -> None:
        """Add to the cells; a cell that comes to nothing is deleted."""
        values = [
            {"guard": guard, "epoch": epoch, "slot": slot, "arm": arm, "age": age, "n": n}
            for (epoch, slot, arm, age), n in sorted(changes.items())
            if n
        ]
        if not values:
            return
        statement = self._insert(_counts)
        keys = ["guard", "epoch", "slot", "arm", "age"]
        more = {"n": _counts.c.n + statement.excluded.n}
        con.execute(statement.on_conflict_do_update(index_elements=keys, set_=more), values)
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
        for table in (_units, _conversions, _counts, *_FURTHER):
            con.execute(delete(table).where(table.c.guard == guard))


def chunks(names: Iterable[str]) -> Iterator[list[Any]]:
    """The names in order, each once, by as many as a statement takes."""
    ordered = sorted(set(names))
    for at in range(0, len(ordered), _CHUNK):
        yield ordered[at : at + _CHUNK]
