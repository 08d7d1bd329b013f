"""The past of an epoch that no verdict needs cell by cell: totals in place of cells, fingerprints in place of units.

The worker folds in its own transactions, slice by slice. A reader gets the same totals whether the worker has come that
far or not. Methods that take a connection belong into the worker's transaction.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import Any

from sqlalchemy import Connection, Select, bindparam, case, delete, func, select

from gtm_dagster.opsstore import metric_tables, ops_tables
from gtm_dagster.opsstore.rows import FoldedRow
from gtm_dagster.opsstore.unit_counts import UnitCounts

KNOWN_DAYS = 8
"""A unit that is pruned stays known for so many days after it was last seen: longer than a cohort is evaluated."""
CellRow = tuple[int, int, int, int]
"""(slot, 1 for the treated arm and 0 for control, age, n): a week holds some 300,000, so they are plain tuples."""
_DAY_US = 86_400_000_000

_units, _counts, _folded = ops_tables.guard_units, ops_tables.guard_counts, ops_tables.guard_folded
_ended, _known, _left_out = ops_tables.guard_units_ended, ops_tables.guard_units_known, ops_tables.guard_left_out
_OF_AN_EPOCH = (
    _units, _counts, _folded, _ended, _known, _left_out, metric_tables.guard_metric_counts, metric_tables.guard_segments,
)  # fmt: skip


class FoldedCounts(UnitCounts):
    """Cells and totals for readers; folding, pruning and what is known of pruned units for the worker."""

    def evaluated(
        self, key: str, epoch: int, since_slot: int, before_slot: int, plan_slots: Sequence[int]
    ) -> tuple[list[CellRow], list[FoldedRow]]:
        """The cells of the slots in [since_slot, before_slot) in any order, and the totals of what came before them.

        `plan_slots`: where a step of the plan begins or ends, ascending; totals never lie on both sides of one. Totals
        that reach `before_slot` (the watermark went back by days) are left out.
        """
        with self.reading() as con:
            return self._evaluated(con, key, epoch, since_slot, before_slot, plan_slots)

    def _evaluated(
        self, con: Connection, key: str, epoch: int, since_slot: int, before_slot: int, plan_slots: Sequence[int]
    ) -> tuple[list[CellRow], list[FoldedRow]]:
        totals = self._totals(con, key, epoch)
        for row in _summed(con, key, epoch, since_slot, plan_slots):
            _add(totals, row)
        rows = _cells(con, key, epoch, since_slot, before_slot)
        ordered = sorted(totals.values(), key=lambda row: (row.from_slot, row.arm))
        return rows, [row for row in ordered if row.last_slot < before_slot]

    def _totals(self, con: Connection, key: str, epoch: int) -> dict[tuple[int, str], FoldedRow]:
        columns = [_folded.c[name] for name in FoldedRow.__struct_fields__]
        statement = select(*columns).where(_folded.c.guard == key, _folded.c.epoch == epoch)
        rows = [FoldedRow(*row) for row in con.execute(statement)]
        return {(row.from_slot, row.arm): row for row in rows}

    def fold_cells(
        self, con: Connection, guard: str, epoch: int, before_slot: int, plan_slots: Sequence[int], rows: int
    ) -> bool:
        """Fold cells of slots before `before_slot`, the oldest some `rows` of them; True when there are more."""
        mine = (_counts.c.guard == guard, _counts.c.epoch == epoch, _counts.c.slot < before_slot)
        oldest = select(_counts.c.slot).where(*mine).order_by(_counts.c.slot)
        first = con.execute(oldest.limit(1)).scalar()
        if first is None:
            return False
        beyond = con.execute(oldest.limit(1).offset(rows)).scalar()
        until = before_slot if beyond is None else max(beyond, first + 1)
        totals = self._totals(con, guard, epoch)
        for row in _summed(con, guard, epoch, until, plan_slots):
            changed = _add(totals, row)
            self._put(con, _folded, guard=guard, epoch=epoch, **_columns(changed))
        con.execute(delete(_counts).where(*mine, _counts.c.slot < until))
        return beyond is not None

    def prune_units(self, con: Connection, guard: str, before_us: int, at_us: int, rows: int) -> bool:
        """Delete at most `rows` units first exposed before `before_us`, the oldest first; True when there are more.

        Their cells stay, and they stay known for KNOWN_DAYS from `at_us` on (microseconds UTC).
        """
        statement = select(_units.c.unit, _units.c.epoch, _units.c.exposed_us).where(
            _units.c.guard == guard, _units.c.exposed_us < before_us
        )
        old = con.execute(statement.order_by(_units.c.exposed_us).limit(rows)).all()
        if old:
            self.know_units(con, guard, [(unit, epoch) for unit, epoch, _ in old], at_us)
            con.execute(
                delete(_units).where(
                    _units.c.guard == guard, _units.c.unit == bindparam("u"), _units.c.epoch == bindparam("e")
                ),
                [{"u": unit, "e": epoch} for unit, epoch, _ in old],
            )
        more = len(old) == rows
        ended = old[-1].exposed_us if more else before_us
        for epoch in {epoch for _, epoch, _ in old}:
            self._put(con, _ended, guard=guard, epoch=epoch, before_us=ended)
        return more

    def units_ended(self, con: Connection, guard: str) -> dict[int, int]:
        """By epoch: an exposure before this time was counted already, if it was ever sent; its unit is pruned."""
        rows = con.execute(select(_ended.c.epoch, _ended.c.before_us).where(_ended.c.guard == guard))
        return {row.epoch: row.before_us for row in rows}

    def know_units(self, con: Connection, guard: str, units: Iterable[tuple[str, int]], at_us: int) -> None:
        """(unit, epoch) was seen on the day of `at_us`."""
        day = at_us // _DAY_US
        values = [{"guard": guard, "epoch": epoch, "day": day, "unit": fingerprint(unit)} for unit, epoch in units]
        if values:
            con.execute(self._insert(_known).on_conflict_do_nothing(), values)

    def known_units(
        self, con: Connection, guard: str, units: Iterable[tuple[str, int]], at_us: int
    ) -> set[tuple[str, int]]:
        """Those of the units, as (unit, epoch), that were pruned and seen in the KNOWN_DAYS before `at_us`."""
        wanted = {(fingerprint(unit), epoch): (unit, epoch) for unit, epoch in units}
        last = at_us // _DAY_US
        statement = select(_known.c.unit, _known.c.epoch).where(
            _known.c.guard == guard,
            _known.c.epoch == bindparam("epoch"),
            _known.c.day.in_(bindparam("days", expanding=True)),
            _known.c.unit.in_(bindparam("units", expanding=True)),
        )
        found = set()
        days = list(range(last - KNOWN_DAYS, last + 2))  # a day more: receipt may be ahead of the event
        for epoch in {epoch for _, epoch in wanted}:
            marks = sorted(mark for mark, of in wanted if of == epoch)
            for at in range(0, len(marks), 900):
                values = {"epoch": epoch, "days": days, "units": marks[at : at + 900]}
                found |= {wanted[mark, of] for mark, of in con.execute(statement, values)}
        return found

    def forget_known_units(self, con: Connection, guard: str, at_us: int, rows: int) -> bool:
        """Delete at most `rows` units that were not seen in the KNOWN_DAYS before `at_us`; True when there are more."""
        return self._delete_some(
            con, _known, rows, _known.c.guard == guard, _known.c.day < at_us // _DAY_US - KNOWN_DAYS
        )

    def forget_epochs(self, con: Connection, guard: str, before_epoch: int, rows: int) -> bool:
        """Delete at most `rows` rows a table of what was counted for earlier epochs; True when there are more."""
        more = False
        for table in _OF_AN_EPOCH:
            more |= self._delete_some(con, table, rows, table.c.guard == guard, table.c.epoch < before_epoch)
        return more

    def forget_guard(self, con: Connection, guard: str, consumer: str) -> None:
        """Delete a guard's counts, and how far it was counted under the name `consumer`; history and rollbacks stay."""
        self.forget_counts(con, guard)
        con.execute(delete(ops_tables.guard_progress).where(ops_tables.guard_progress.c.guard == guard))
        con.execute(delete(ops_tables.stream_offsets).where(ops_tables.stream_offsets.c.consumer == consumer))

    def _delete_some(self, con: Connection, table: Any, rows: int, *where: Any) -> bool:
        keys = list(table.primary_key)
        found = con.execute(select(*keys).where(*where).limit(rows)).all()
        if found:
            condition = [column == bindparam(f"k{n}") for n, column in enumerate(keys)]
            values = [{f"k{n}": value for n, value in enumerate(row)} for row in found]
            con.execute(delete(table).where(*condition), values)
        return len(found) == rows

    def left_out(self, key: str, epoch: int) -> int:
        """Records of the epoch that were left out because their write key is not believed."""
        statement = select(_left_out.c.records).where(_left_out.c.guard == key, _left_out.c.epoch == epoch)
        with self.reading() as con:
            return int(con.execute(statement).scalar() or 0)

    def add_left_out(self, con: Connection, guard: str, epoch: int, records: int) -> None:
        """So many records more were left out."""
        statement = self._insert(_left_out).values(guard=guard, epoch=epoch, records=records)
        more = {"records": _left_out.c.records + statement.excluded.records}
        con.execute(statement.on_conflict_do_update(index_elements=["guard", "epoch"], set_=more))


def fingerprint(unit: str) -> int:
    """64 bits of a unit's name, as a signed number."""
    return int.from_bytes(hashlib.blake2b(unit.encode(), digest_size=8).digest(), signed=True)


def _cells(con: Connection, key: str, epoch: int, since_slot: int, before_slot: int) -> list[CellRow]:
    treated = case((_counts.c.arm == "treatment", 1), else_=0)
    result = con.execute(
        select(_counts.c.slot, treated, _counts.c.age, _counts.c.n).where(
            _counts.c.guard == key, _counts.c.epoch == epoch, _counts.c.slot >= since_slot, _counts.c.slot < before_slot
        )
    )
    assert result.cursor is not None  # noqa: S101 - a SELECT has one
    return list(result.cursor.fetchall())


def _summed(con: Connection, key: str, epoch: int, before_slot: int, plan_slots: Sequence[int]) -> Iterator[FoldedRow]:
    """Totals of the cells before a slot, by step of the plan and arm."""
    mine = (_counts.c.guard == key, _counts.c.epoch == epoch, _counts.c.slot < before_slot)
    bounds = con.execute(select(func.min(_counts.c.slot), func.max(_counts.c.slot)).where(*mine)).one()
    if bounds[0] is None:
        return
    first, last = bounds
    begins = [max((slot for slot in plan_slots if slot <= first), default=min(first, 0))]
    begins += [slot for slot in plan_slots if first < slot <= last]
    for begin, end in pairwise([*begins, before_slot]):
        for row in con.execute(_sums().where(*mine, _counts.c.slot >= begin, _counts.c.slot < end)):
            yield FoldedRow(begin, row[0], *(int(value) for value in row[1:]))


def _sums() -> Select[Any]:
    shown = _counts.c.age < 0
    return select(
        _counts.c.arm,
        func.min(_counts.c.slot),
        func.max(_counts.c.slot),
        func.sum(case((shown, _counts.c.n), else_=0)),
        func.sum(case((shown, 0), else_=_counts.c.n)),
        func.sum(case((shown, 0), else_=_counts.c.n * _counts.c.age)),
    ).group_by(_counts.c.arm)


def _add(totals: dict[tuple[int, str], FoldedRow], row: FoldedRow) -> FoldedRow:
    before = totals.get((row.from_slot, row.arm))
    if before is not None:
        row = FoldedRow(
            row.from_slot, row.arm, min(before.first_slot, row.first_slot), max(before.last_slot, row.last_slot),
            before.exposed + row.exposed, before.converted + row.converted, before.age_slots + row.age_slots,
        )  # fmt: skip
    totals[row.from_slot, row.arm] = row
    return row


def _columns(row: FoldedRow) -> dict[str, Any]:
    return {name: getattr(row, name) for name in FoldedRow.__struct_fields__}
