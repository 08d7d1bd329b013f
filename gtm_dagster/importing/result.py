"""What became of the rows of one file, and why rows were refused."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

_SHOWN_ROWS = 3
_SHOWN_EVENTS = 3
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


def reasons_of(table: pa.Table) -> tuple[Reason, ...]:
    """The reasons of the quarantined rows of a landing table, the most frequent first."""
    refused = table.filter(pc.equal(table.column("verdict"), "quarantined"))
    counts: dict[tuple[str, str | None, str], int] = {}
    rows: dict[tuple[str, str | None, str], list[int]] = {}
    messages: dict[tuple[str, str | None, str], str] = {}
    decoded: dict[str, list[dict[str, str]]] = {}
    columns = (refused.column(name).to_pylist() for name in ("errors", "event_name", "row_no"))
    for errors, event_name, row_no in zip(*columns, strict=True):
        if errors not in decoded:
            decoded[errors] = msgspec.json.decode(errors)
        for error in decoded[errors]:
            key = (error["code"], event_name, error["path"])
            counts[key] = counts.get(key, 0) + 1
            messages.setdefault(key, error["message"])
            found = rows.setdefault(key, [])
            if len(found) < _SHOWN_ROWS and row_no not in found:
                found.append(row_no)
    ordered = sorted(counts, key=lambda key: (-counts[key], key[0], key[1] or "", key[2]))
    return tuple(Reason(*key, counts[key], tuple(rows[key]), messages[key]) for key in ordered)


def known_of(table: pa.Table, found: pa.Table) -> Known:
    """What `LandingZone.known` says of a landing table, by id."""
    if not found.num_rows:
        return Known()
    ids = found.append_column("event_id", table.column("event_id").take(found.column("row_no")))
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


def result_of(table: pa.Table, known: Known, **details: Any) -> ImportResult:
    """The result of the rows of a landing table; `details` are further fields of ImportResult."""
    verdicts = table.column("verdict")
    is_accepted = pc.equal(verdicts, "accepted")
    accepted = int(pc.sum(is_accepted).as_py() or 0)
    distinct = pc.count_distinct(table.column("event_id").filter(is_accepted)).as_py() if accepted else 0
    shown = pc.indices_nonzero(is_accepted).slice(0, _SHOWN_EVENTS)
    suppressed = int(pc.sum(pc.equal(verdicts, "suppressed")).as_py() or 0)
    new = distinct - known.same - (known.other - known.stand)
    return ImportResult(
        read=table.num_rows,
        accepted=new,
        duplicates=accepted - new,
        quarantined=table.num_rows - accepted - suppressed,
        suppressed=suppressed,
        known=known,
        reasons=reasons_of(table),
        events=tuple(_as_landed(table.take(shown).to_pylist())),
        **details,
    )


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
