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
from gtm_dagster.warehouse.landing import ARROW_SCHEMA, DAY_US, Landing
from gtm_dagster.warehouse.landing.sealed_originals import first_kept_day
from gtm_dagster.warehouse.quarantined import quarantine_now

if TYPE_CHECKING:
    import pyarrow as pa

    from gtm_dagster.settings import Settings

_ROW_IDS = uuid.UUID("5a0c3c0e-2d0b-5a6e-9a39-0f6f1c7f0b56")


@dataclass(frozen=True)
class ReplayResult:
    """What became of the quarantined rows looked at: rows = accepted + known + suppressed + refused + ended + unopened.

    `accepted`: land now, as the batch `name` (empty: nothing landed). `known`: their id was accepted from another copy.
    `suppressed`: accepted by the plan, without consent. `refused`: still, by reason in `reasons`. `ended`: their original
    is not kept any more (`quarantine.days`). `unopened`: without an original that this deployment's key opens.
    """

    rows: int
    accepted: int
    known: int
    suppressed: int
    refused: int
    ended: int
    unopened: int
    name: str = ""
    reasons: tuple[tuple[str, int], ...] = ()


def replay_quarantine(
    settings: Settings,
    judge: Judge,
    sealer: Sealer,
    *,
    reason: str | None = None,
    event_id: str | None = None,
    gates_consent: bool = False,
    dry_run: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> ReplayResult:
    """Admit the quarantined rows (of one reason code, or one id) again and land those that are accepted.

    They keep write key, time of receipt and the program that sent them. `gates_consent`: their sender asked for consent. A second replay lands nothing: their ids are known then. Raises QueryError
    when nothing has landed.
    """
    with quarantine_now(settings, originals=True) as con:
        rows = con.execute(
            """SELECT write_key, received_us, origin, row_no, file_key, bot_reason, sealed
            FROM quarantine LEFT JOIN originals USING (file_key, row_no)
            WHERE ($1 IS NULL OR list_contains(string_split(reason_codes, ','), $1)) AND ($2 IS NULL OR event_id = $2)
            ORDER BY received_us, file_key, row_no""",
            [reason, event_id],
        ).fetchall()
    first_kept_us = _start_us(first_kept_day(settings.quarantine.days, datetime.now(UTC)))
    counts: Counter[str] = Counter()
    reasons: Counter[str] = Counter()
    accepted: list[dict[str, Any]] = []
    for done, (write_key, received_us, origin, row_no, file_key, bot_reason, sealed) in enumerate(rows):
        if progress and not done % 5_000:
            progress(done, len(rows))
        if sealed is None and received_us < first_kept_us:
            counts["ended"] += 1
            continue
        original = _original(sealer, sealed, f"{file_key} {row_no}")
        if original is None:
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
    name = _name(table) if table.num_rows else ""
    if name and not dry_run:
        landing.write(table, name, file="quarantine", write_key=", ".join(sorted({row[0] for row in rows})))
    return ReplayResult(
        rows=len(rows), accepted=table.num_rows, known=len(accepted) - table.num_rows, suppressed=counts["suppressed"],
        refused=counts["quarantined"], ended=counts["ended"], unopened=counts["unopened"], name=name,
        reasons=tuple(sorted(reasons.items(), key=lambda each: (-each[1], each[0]))),
    )  # fmt: skip


def _start_us(day: date) -> int:
    return (day - date(1970, 1, 1)).days * DAY_US


def _original(sealer: Sealer, sealed: bytes | None, row: str) -> bytes | None:
    """The original event; one without an id gets the same in every replay, so that it lands once."""
    if sealed is None:
        return None
    try:
        original = sealer.open(sealed)
    except SealError:
        return None
    try:
        document = msgspec.json.decode(original)
    except (ValueError, RecursionError):
        return original
    if isinstance(document, dict) and document.get("event_id") is None:
        digest = hashlib.sha256(original).hexdigest()
        return msgspec.json.encode({**document, "event_id": str(uuid.uuid5(_ROW_IDS, f"{row} {digest}"))})
    return original


def _columns(judged: Judged) -> dict[str, Any]:
    return msgspec.structs.asdict(judged.record)


def _unknown(landing: Landing, rows: list[dict[str, Any]]) -> pa.Table:
    """The rows whose ids no landed batch has as accepted."""
    import pyarrow as pa

    names = set(ARROW_SCHEMA.names)
    table = pa.Table.from_pylist(
        [{name: value for name, value in row.items() if name in names} for row in rows], schema=ARROW_SCHEMA
    )
    known = set(landing.known(table).column("row_no").to_pylist()) if table.num_rows else set()
    return table.take(pa.array([place for place in range(table.num_rows) if place not in known], pa.int64()))


def _name(table: pa.Table) -> str:
    digest = hashlib.sha256()
    columns = (table.column(name).to_pylist() for name in ("write_key", "event_id", "received_us"))
    for row in sorted(zip(*columns, strict=True)):
        digest.update(repr(row).encode())
    return f"replay-{digest.hexdigest()[:16]}"
