"""What became of the rows of one file, and why rows were refused."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

_SHOWN_ROWS = 3
_SHOWN_EVENTS = 3
_LOOKED_UP_AT_ONCE = 500_000
"""Accepted rows whose ids are looked up together: each look goes through every landed file."""
_HIDDEN = {"verdict", "reason_codes", "errors", "raw", "sealed", "origin", "row_no", "event_us", "received_us"}
_OF_JSON = ("properties", "consent")


@dataclass(frozen=True)
class Reason:
    """Rows refused for one reason: code, event, field (empty: the event as a whole), how many, and the first rows.

    `event_name` is None where it cannot be read; `rows` are numbers of rows or lines in the file; `message` is that of
    the first.
    """

    code: str
    event_name: str | None
    path: str
    count: int
    rows: tuple[int, ...]
    message: str


@dataclass(frozen=True)
class Known:
    """Ids of the file that landed before: with the same content, with another, and of the latter those received first.

    `batches`: of the ids with another content, how many each landed batch has.
    """

    same: int = 0
    other: int = 0
    stand: int = 0
    batches: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True)
class ImportResult:
    """What became of the rows of one file: read = accepted + duplicates + quarantined + suppressed.

    `read`: events (a mapping may turn a row into several) and rows that could not be read as an event. `duplicates`:
    accepted events whose id occurs earlier in the file or landed before, where the landed copy has the same content or
    was received first; all of `read` when the file was imported before (`known_before`). `files`: the landed files.
    `ignored`: columns of the file that no event uses. `name`: of the batch. `events`: a few as they land.
    """

    read: int
    accepted: int
    duplicates: int
    quarantined: int
    suppressed: int
    files: tuple[Path, ...] = ()
    ignored: tuple[str, ...] = ()
    name: str = ""
    known_before: bool = False
    known: Known = Known()
    reasons: tuple[Reason, ...] = ()
    hints: tuple[str, ...] = ()
    events: tuple[dict[str, Any], ...] = ()

    @property
    def nothing_accepted(self) -> bool:
        """Whether every row was refused."""
        return self.read > 0 and self.quarantined == self.read


class Tally:
    """Counts the landing rows of one import, table after table. `known` is `LandingZone.known`."""

    def __init__(self, known: Callable[[pa.Table], pa.Table]) -> None:
        self._known = known
        self._read = self._accepted = self._suppressed = 0
        self._reasons = _Reasons()
        self._ids: list[np.ndarray] = []
        self._events: list[dict[str, Any]] = []
        self._waiting: list[pa.Table] = []
        self._found: list[pa.Table] = []

    def add(self, table: pa.Table) -> None:
        """Count further rows."""
        verdicts = table.column("verdict")
        accepted = _accepted(table)
        self._read += table.num_rows
        self._accepted += accepted.num_rows
        self._suppressed += int(pc.sum(pc.equal(verdicts, "suppressed")).as_py() or 0)
        self._reasons.add(table.filter(pc.equal(verdicts, "quarantined")))
        if not accepted.num_rows:
            return
        ids = accepted.column("event_id").combine_chunks().to_numpy(zero_copy_only=False)
        self._ids.append(np.unique(pd.util.hash_array(ids, categorize=False)))  # 64 bits each instead of the texts
        if len(self._events) < _SHOWN_EVENTS:
            self._events += _as_landed(accepted.slice(0, _SHOWN_EVENTS - len(self._events)).to_pylist())
        self._waiting.append(accepted)
        if sum(each.num_rows for each in self._waiting) >= _LOOKED_UP_AT_ONCE:
            self.look_up()

    def look_up(self) -> None:
        """Look the ids up that wait for it. The last call comes before the batch itself lands."""
        if self._waiting:
            table = pa.concat_tables(self._waiting)
            self._waiting = []
            found = self._known(table)
            self._found.append(found.append_column("event_id", table.column("event_id").take(found.column("row_no"))))

    def result(self, **details: Any) -> ImportResult:
        """The result of the rows so far; `details` are further fields of ImportResult."""
        known = _known_of(pa.concat_tables(self._found)) if self._found else Known()
        distinct = len(np.unique(np.concatenate(self._ids))) if self._ids else 0
        new = distinct - known.same - (known.other - known.stand)
        return ImportResult(
            read=self._read,
            accepted=new,
            duplicates=self._accepted - new,
            quarantined=self._read - self._accepted - self._suppressed,
            suppressed=self._suppressed,
            known=known,
            reasons=self._reasons.most_frequent_first(),
            events=tuple(self._events),
            **details,
        )


class _Reasons:
    """Counts the reasons of quarantined landing rows."""

    def __init__(self) -> None:
        self._counts: dict[tuple[str, str | None, str], int] = {}
        self._rows: dict[tuple[str, str | None, str], list[int]] = {}
        self._messages: dict[tuple[str, str | None, str], str] = {}

    def add(self, refused: pa.Table) -> None:
        decoded: dict[str, list[dict[str, str]]] = {}
        columns = (refused.column(name).to_pylist() for name in ("errors", "event_name", "row_no"))
        for errors, event_name, row_no in zip(*columns, strict=True):
            if errors not in decoded:
                decoded[errors] = msgspec.json.decode(errors)
            for error in decoded[errors]:
                key = (error["code"], event_name, error["path"])
                self._counts[key] = self._counts.get(key, 0) + 1
                self._messages.setdefault(key, error["message"])
                found = self._rows.setdefault(key, [])
                if len(found) < _SHOWN_ROWS and row_no not in found:
                    found.append(row_no)

    def most_frequent_first(self) -> tuple[Reason, ...]:
        ordered = sorted(self._counts, key=lambda key: (-self._counts[key], key[0], key[1] or "", key[2]))
        return tuple(Reason(*key, self._counts[key], tuple(self._rows[key]), self._messages[key]) for key in ordered)


def _accepted(table: pa.Table) -> pa.Table:
    """The accepted rows; a chunk of nothing else stays as it is."""
    batches = []
    for batch in table.to_batches():
        flags = pc.equal(batch.column("verdict"), "accepted")
        batches.append(batch if flags.true_count == len(flags) else batch.filter(flags))
    return pa.Table.from_batches(batches, table.schema)


def _known_of(ids: pa.Table) -> Known:
    """What `LandingZone.known` says, with the ids, by id."""
    if not ids.num_rows:
        return Known()
    by_id = ids.group_by("event_id").aggregate([("same", "any"), ("earlier", "any")])
    other = by_id.filter(pc.invert(by_id.column("same_any")))
    earlier = pc.sum(other.column("earlier_any").cast(pa.int64())).as_py() or 0
    unlike = ids.filter(pc.invert(ids.column("same")))
    unlike = unlike.filter(pc.is_in(unlike.column("event_id"), other.column("event_id").combine_chunks()))
    batches = unlike.group_by("batch").aggregate([("event_id", "count_distinct")])
    counted = zip(
        batches.column("batch").to_pylist(), batches.column("event_id_count_distinct").to_pylist(), strict=True
    )
    return Known(by_id.num_rows - other.num_rows, other.num_rows, other.num_rows - earlier, tuple(sorted(counted)))


def _as_landed(rows: Iterable[dict[str, Any]]) -> Iterable[dict[str, Any]]:
    for row in rows:
        event = {name: value for name, value in row.items() if value is not None and name not in _HIDDEN}
        event |= {name: msgspec.json.decode(event[name]) for name in _OF_JSON if name in event}
        times = {"event_time": row["event_us"], "received_at": row["received_us"]}
        yield event | {name: _time(us) for name, us in times.items()}


def _time(us: int) -> str:
    whole, fraction = divmod(us, 1_000_000)
    moment = datetime.fromtimestamp(whole, UTC).replace(microsecond=fraction)
    return moment.isoformat().replace("+00:00", "Z")
