"""What a reducer is: it names the events it wants and applies them in the transaction that moves its position.

A reducer has parts (a guard each, a rule each, or one), and every part has a position of its own in the log: a part that
fails, or begins further back, is behind and catches up alone, while all others go on. Each event reaches a part once, in
the order of the log, unless the part itself begins again further back.

State in the ops store is written through the connection it is given, so it is stored together with the position. State
kept elsewhere is written before the position is: its reducer keeps the offset of the last event there (column `row_no`)
and skips what it has.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import msgspec
import pyarrow as pa
import pyarrow.compute as pc
from sqlalchemy import Connection

from gtm_dagster.settings import DRILL_REASON

Rows = list[tuple[Any, ...]]
"""Events in the order of the log, each with the wanted columns."""


class Wanted(msgspec.Struct, frozen=True):
    """Accepted events of these names, with these landing columns; `drills`: those of a guard's drill as well.

    `refused`: also those of these names that were quarantined or suppressed; they may lack a time. A column that the log
    does not have is None in every row.
    """

    events: frozenset[str]
    columns: tuple[str, ...]
    drills: bool = False
    refused: bool = False

    def rows(self, table: pa.Table) -> Rows:
        """The wanted ones among records of the log; the others never become Python objects."""
        named = pc.is_in(table["event_name"], value_set=pa.array(sorted(self.events), pa.string()))
        admitted = pc.equal(table["verdict"], "accepted")
        if self.drills:
            drill = pc.and_(pc.equal(table["verdict"], "suppressed"), pc.equal(table["reason_codes"], DRILL_REASON))
            admitted = pc.or_kleene(admitted, drill)
        wanted = pc.and_(named, pc.and_(admitted, pc.is_valid(table["event_us"])))
        if self.refused:
            wanted = pc.or_(wanted, pc.and_(named, pc.not_equal(table["verdict"], "accepted")))
        have = set(table.column_names)
        selected = table.select([name for name in self.columns if name in have]).filter(wanted)
        absent = [None] * selected.num_rows
        return list(
            zip(*(selected[name].to_pylist() if name in have else absent for name in self.columns), strict=True)
        )


class Start(msgspec.Struct, frozen=True):
    """A part that begins now. It goes on from its stored position; the first time, and with `again`, from `since_us`.

    `since_us`: the part needs what was received then or later (microseconds UTC), as far as the log still keeps it.
    """

    part: str
    since_us: int
    again: bool = False


class Batch(msgspec.Struct, frozen=True):
    """The records of the log with after < offset <= last; `received_us` is their newest receipt, 0 without one."""

    after: int
    last: int
    received_us: int


class Reducer(Protocol):
    """Called by one thread. What it raises holds back its own part alone; an OpsStoreError is the store's, and all wait."""

    @property
    def name(self) -> str:
        """Of its positions: part `p` of the reducer `guard` stands at `guard:p`."""
        ...

    def load(self) -> None:
        """Forget what is in memory and take up what is stored: at the start, and after a transaction that failed."""
        ...

    def starts(self) -> Sequence[Start]:
        """Parts that begin, or begin again, since the last call; asked before every batch."""
        ...

    def begin(self, con: Connection, start: Start, behind: bool) -> None:
        """The part stands where it was to begin; `behind`: there are events before it that other parts have had."""
        ...

    def wanted(self, parts: Sequence[str]) -> Wanted:
        """What these parts need."""
        ...

    def divide(self, rows: Rows, parts: Sequence[str]) -> Mapping[str, Any]:
        """The rows of a batch as each part takes them; one pass for all parts that stand at the same offset."""
        ...

    def apply(self, con: Connection, part: str, rows: Any, batch: Batch) -> int:
        """Take the part's share of a batch; returns how much it changed."""
        ...

    def caught_up(self, con: Connection, part: str) -> None:
        """The part has had all that the others have had; called after every batch that it takes with them."""
        ...

    def failed(self, con: Connection, part: str) -> None:
        """What the part did with its last batch was undone; it is tried again later."""
        ...
