"""What is counted for a guard beside its conversion: further metrics by slot, arm and age, and units by segment.

What a unit came to stands in its own row (`outcomes`, `segment`) and ends with it; here are the events it is taken from and
the sums. Methods that take a connection belong into the worker's transaction.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from sqlalchemy import Connection, bindparam, delete, or_, select

from gtm_dagster.opsstore import metric_tables
from gtm_dagster.opsstore.folded_counts import CellRow, FoldedCounts
from gtm_dagster.opsstore.rows import FoldedRow
from gtm_dagster.opsstore.unit_counts import chunks

_events, _counts, _segments = (
    metric_tables.guard_metric_events,
    metric_tables.guard_metric_counts,
    metric_tables.guard_segments,
)

MetricCell = tuple[int, str, int, str, int]
"""(epoch, metric, slot, arm, age); the age of a mean is a level, see `rollout.guard.counts.Outcomes`."""
SegmentCell = tuple[int, str, str, str]
"""(epoch, kind, segment, arm)."""


class MetricCounts(FoldedCounts):
    """Counts of metrics and segments for readers; events, cells and segments for the worker."""

    def evaluated_metrics(
        self, key: str, epoch: int, since_slot: int, before_slot: int, plan_slots: Sequence[int]
    ) -> tuple[list[CellRow], list[FoldedRow], dict[str, list[tuple[int, str, int, int]]]]:
        """As `evaluated`, and the (slot, arm, age, n) of the same slots by metric; all of one moment."""
        with self.reading() as con:
            rows, folded = self._evaluated(con, key, epoch, since_slot, before_slot, plan_slots)
            statement = select(_counts.c.metric, _counts.c.slot, _counts.c.arm, _counts.c.age, _counts.c.n).where(
                _counts.c.guard == key, _counts.c.epoch == epoch, _counts.c.slot >= since_slot, _counts.c.slot < before_slot
            )  # fmt: skip
            found: dict[str, list[tuple[int, str, int, int]]] = {}
            for metric, slot, arm, age, n in con.execute(statement):
                found.setdefault(metric, []).append((slot, arm, age, n))
        return rows, folded, found

    def add_metric_events(self, con: Connection, guard: str, events: Iterable[tuple[str, str, int, int]]) -> None:
        """Store (metric, unit, event_us, value), each once."""
        values = [
            {"guard": guard, "metric": metric, "unit": unit, "event_us": event_us, "value": value}
            for metric, unit, event_us, value in sorted(set(events))
        ]
        if values:
            con.execute(self._insert(_events).on_conflict_do_nothing(), values)

    def metric_events(self, con: Connection, guard: str, units: Iterable[str]) -> dict[str, list[tuple[str, int, int]]]:
        """(metric, event_us, value) of the named units, by unit, in no order."""
        statement = select(_events.c.unit, _events.c.metric, _events.c.event_us, _events.c.value).where(
            _events.c.guard == guard, _events.c.unit.in_(bindparam("names", expanding=True))
        )
        found: dict[str, list[tuple[str, int, int]]] = {}
        for chunk in chunks(units):
            for unit, *event in con.execute(statement, {"names": chunk}):
                found.setdefault(unit, []).append((event[0], event[1], event[2]))
        return found

    def prune_metric_events(self, con: Connection, guard: str, before_us: int) -> None:
        """Delete events before `before_us`: those of units that are pruned."""
        con.execute(delete(_events).where(_events.c.guard == guard, _events.c.event_us < before_us))

    def add_metric_cells(self, con: Connection, guard: str, changes: Mapping[MetricCell, int]) -> None:
        """Add to the cells; one that comes to nothing is deleted."""
        values = [
            {"guard": guard, "epoch": epoch, "metric": metric, "slot": slot, "arm": arm, "age": age, "n": n}
            for (epoch, metric, slot, arm, age), n in sorted(changes.items())
            if n
        ]
        if not values:
            return
        statement = self._insert(_counts)
        keys = ["guard", "epoch", "metric", "slot", "arm", "age"]
        more = {"n": _counts.c.n + statement.excluded.n}
        con.execute(statement.on_conflict_do_update(index_elements=keys, set_=more), values)
        fewer = [
            {"e": epoch, "m": metric, "s": slot, "r": arm, "a": age}
            for (epoch, metric, slot, arm, age), n in changes.items()
            if n < 0
        ]
        if fewer:
            con.execute(
                delete(_counts).where(
                    _counts.c.guard == guard, _counts.c.epoch == bindparam("e"), _counts.c.metric == bindparam("m"),
                    _counts.c.slot == bindparam("s"), _counts.c.arm == bindparam("r"), _counts.c.age == bindparam("a"),
                    _counts.c.n == 0,
                ),
                fewer,
            )  # fmt: skip

    def prune_metric_cells(self, con: Connection, guard: str, epoch: int, before_slot: int) -> None:
        """Delete cells of slots before `before_slot`: those of cohorts that are folded."""
        con.execute(
            delete(_counts).where(_counts.c.guard == guard, _counts.c.epoch == epoch, _counts.c.slot < before_slot)
        )

    def add_segments(self, con: Connection, guard: str, changes: Mapping[SegmentCell, tuple[int, int]]) -> None:
        """Add (exposed, converted) units to the segments; there are as many rows as segments, whatever the traffic."""
        values = [
            {"guard": guard, "epoch": epoch, "kind": kind, "segment": segment, "arm": arm, "exposed": exposed, "converted": converted}
            for (epoch, kind, segment, arm), (exposed, converted) in sorted(changes.items())
            if exposed or converted
        ]  # fmt: skip
        if values:
            statement = self._insert(_segments)
            more = {name: _segments.c[name] + statement.excluded[name] for name in ("exposed", "converted")}
            keys = ["guard", "epoch", "kind", "segment", "arm"]
            con.execute(statement.on_conflict_do_update(index_elements=keys, set_=more), values)

    def segments(self, key: str, epoch: int) -> list[tuple[str, str, str, int, int]]:
        """(kind, segment, arm, exposed, converted) of the epoch, sorted."""
        columns = [_segments.c[name] for name in ("kind", "segment", "arm", "exposed", "converted")]
        statement = select(*columns).where(
            _segments.c.guard == key, _segments.c.epoch == epoch, or_(_segments.c.exposed > 0, _segments.c.converted > 0)
        )  # fmt: skip
        with self.reading() as con:
            return sorted((str(a), str(b), str(c), int(d), int(e)) for a, b, c, d, e in con.execute(statement))
