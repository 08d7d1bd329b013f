"""Replay of the quarantine: sealed originals are admitted again by the present plan, and what is accepted lands."""

from __future__ import annotations

import hashlib
import uuid
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any

import msgspec

from gtm_dagster.admission.single_event import Judge, Judged
from gtm_dagster.privacy.sealing import Sealer, SealError
from gtm_dagster.warehouse.corrections import Corrections
from gtm_dagster.warehouse.landing import ARROW_SCHEMA, DAY_US, Landing
from gtm_dagster.warehouse.landing.manifests import ReplayNotes
from gtm_dagster.warehouse.landing.sealed_originals import first_kept_day
from gtm_dagster.warehouse.literals import composed
from gtm_dagster.warehouse.quarantine_groups import Selection, condition
from gtm_dagster.warehouse.quarantined import quarantine_now

if TYPE_CHECKING:
    from collections.abc import Iterator

    import duckdb
    import pyarrow as pa

    from gtm_dagster.settings import Settings

_ROW_IDS = uuid.UUID("5a0c3c0e-2d0b-5a6e-9a39-0f6f1c7f0b56")
_AT_ONCE = 5_000
_NO_CORRECTIONS = Corrections()
EVERY_ROW = Selection()


@dataclass(frozen=True)
class ReplayResult:
    """What became of the quarantined rows looked at; the counts from `accepted` to `unopened` add up to `rows`.

    `accepted`: land now, as the batch `name` (empty: nothing landed). `known`: their id is accepted from another copy, an
    earlier row of this replay included. `suppressed`: accepted by the plan, without consent. `refused`: still, by reason in
    `reasons`. `ended`: their original is not kept any more (`quarantine.days`). `unsealed`: no original was kept of them,
    for they were too large or `quarantine.days` was 0. `unopened`: sealed under another key, or damaged.
    """

    rows: int
    accepted: int
    known: int
    suppressed: int
    refused: int
    ended: int
    unsealed: int
    unopened: int
    name: str = ""
    reasons: tuple[tuple[str, int], ...] = ()


def replay_quarantine(
    settings: Settings,
    judge: Judge,
    sealer: Sealer,
    *,
    selection: Selection = EVERY_ROW,
    corrections: Corrections = _NO_CORRECTIONS,
    by: str,
    gates_consent: bool = False,
    dry_run: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> ReplayResult:
    """Admit the selected quarantined rows again, their originals corrected, and land those that are accepted.

    They keep write key, time of receipt and the program that sent them; the refused rows stay where they are. `by`: who
    asks, recorded with the batch. `gates_consent`: their sender asked for consent. A second replay lands nothing: their
    ids are known then. Raises QueryError when nothing has landed.
    """
    first_kept_us = _start_us(first_kept_day(settings.quarantine.days, datetime.now(UTC)))
    counts: Counter[str] = Counter()
    reasons: Counter[str] = Counter()
    accepted: list[dict[str, Any]] = []
    with quarantine_now(settings, originals=True) as con:
        for row in _selected(con, selection, progress):
            write_key, received_us, origin, row_no, file_key, bot_reason, sealed = row
            counts["rows"] += 1
            if sealed is None:
                counts["ended" if received_us < first_kept_us else "unsealed"] += 1
                continue
            try:
                original = _corrected(sealer.open(sealed), corrections, f"{file_key} {row_no}")
            except SealError:
                counts["unopened"] += 1
                continue
            [judged] = judge(
                [original],
                write_key=write_key,
                received_us=received_us,
                gates_consent=gates_consent,
                bot_reason=bot_reason,
            )
            counts[judged.record.verdict] += 1
            if judged.record.verdict == "accepted":
                accepted.append({**_columns(judged), "origin": origin, "row_no": row_no})
            elif judged.record.verdict == "quarantined":
                reasons.update({error["code"] for error in judged.errors})
    landing = Landing(settings.landing_dir)
    table = _unknown(landing, accepted)
    name = _name(table, corrections) if table.num_rows else ""
    if name and not dry_run:
        notes = ReplayNotes(by, str(selection), corrections.texts(), judge.plan.version)
        write_keys = sorted(set(table.column("write_key").to_pylist()))
        landing.write(table, name, file="quarantine", write_key=", ".join(write_keys), replay=notes)
    return ReplayResult(
        rows=counts["rows"], accepted=table.num_rows, known=len(accepted) - table.num_rows,
        suppressed=counts["suppressed"], refused=counts["quarantined"], ended=counts["ended"],
        unsealed=counts["unsealed"], unopened=counts["unopened"], name=name,
        reasons=tuple(sorted(reasons.items(), key=lambda each: (-each[1], each[0]))),
    )  # fmt: skip


def _selected(
    con: duckdb.DuckDBPyConnection, selection: Selection, progress: Callable[[int, int], None] | None
) -> Iterator[tuple[Any, ...]]:
    """The selected rows with their originals, those received first before the others."""
    where, values = condition(con, selection)
    counted = con.execute(composed("SELECT count(*) FROM quarantine WHERE $where", where=where), values).fetchone()
    total = counted[0] if counted else 0
    con.execute(
        composed(
            """SELECT write_key, received_us, origin, row_no, file_key, bot_reason, sealed
        FROM (SELECT * FROM quarantine WHERE $where) LEFT JOIN originals USING (file_key, row_no)
        ORDER BY received_us, file_key, row_no""",
            where=where,
        ),
        values,
    )
    done = 0
    while rows := con.fetchmany(_AT_ONCE):
        if progress:
            progress(done, total)
        yield from rows
        done += len(rows)


def _start_us(day: date) -> int:
    return (day - date(1970, 1, 1)).days * DAY_US


def _corrected(original: bytes, corrections: Corrections, row: str) -> bytes:
    """The event to judge; one without an id gets the same in every replay, however corrected, so that it lands once."""
    try:
        document = msgspec.json.decode(original)
    except (ValueError, RecursionError):
        return original
    if not isinstance(document, dict) or (document.get("event_id") is not None and not corrections):
        return original
    event = corrections.apply(document)
    if event.get("event_id") is None:
        digest = hashlib.sha256(original).hexdigest()
        event["event_id"] = str(uuid.uuid5(_ROW_IDS, f"{row} {digest}"))
    return msgspec.json.encode(event)


def _columns(judged: Judged) -> dict[str, Any]:
    return msgspec.structs.asdict(judged.record)


def _unknown(landing: Landing, rows: list[dict[str, Any]]) -> pa.Table:
    """The rows whose ids neither a landed batch has as accepted nor an earlier row."""
    import pyarrow as pa

    names = set(ARROW_SCHEMA.names)
    first = {(row["write_key"], row["event_id"]): place for place, row in reversed(list(enumerate(rows)))}
    table = pa.Table.from_pylist(
        [{name: value for name, value in rows[place].items() if name in names} for place in sorted(first.values())],
        schema=ARROW_SCHEMA,
    )
    known = set(landing.known(table).column("row_no").to_pylist()) if table.num_rows else set()
    return table.take(pa.array([place for place in range(table.num_rows) if place not in known], pa.int64()))


def _name(table: pa.Table, corrections: Corrections) -> str:
    digest = hashlib.sha256()
    columns = (table.column(name).to_pylist() for name in ("write_key", "event_id", "received_us"))
    for row in sorted(zip(*columns, strict=True)):
        digest.update(repr(row).encode())
    for text in corrections.texts():
        digest.update(text.encode())
    return f"replay-{digest.hexdigest()[:16]}"
