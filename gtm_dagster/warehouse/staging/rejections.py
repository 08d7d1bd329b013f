"""How much of each batch is quarantined: every import by itself, of the log the newest ingest day.

A quarantined row whose id is among the events is healed, it was accepted from another copy: it leaves the rate.
"""

from __future__ import annotations

from dataclasses import dataclass

import duckdb

from gtm_dagster.warehouse.landing import Landing
from gtm_dagster.warehouse.statements import fragment, text


@dataclass(frozen=True)
class Rejections:
    """Rows of one batch (an import, or a day of the log) without healed ones, and how many are quarantined."""

    batch: str
    rows: int
    quarantined: int
    file_keys: tuple[str, ...] = ()

    @property
    def rate(self) -> float:
        """Share of quarantined rows; 0 of none."""
        return self.quarantined / self.rows if self.rows else 0.0

    @property
    def of_log(self) -> bool:
        return self.batch.startswith("the log on ")


def rejections_above(con: duckdb.DuckDBPyConnection, limit: float, least: int) -> tuple[list[Rejections], int]:
    """(batches of which more than `limit` is quarantined, the worst first; batches that were looked at).

    Batches under `least` rows are passed over. Ids are looked up for the batches above the limit alone.
    """
    found = con.execute(fragment("batch_rejections", least=str(least))).fetchall()
    above = []
    for batch, rows, quarantined, keys in found:
        if quarantined > limit * rows:
            healed = _healed(con, keys)
            measured = Rejections(batch, rows - healed, quarantined - healed, tuple(keys))
            if measured.rate > limit:
                above.append(measured)
    return sorted(above, key=lambda each: (-each.rate, each.batch)), len(found)


def _healed(con: duckdb.DuckDBPyConnection, file_keys: list[str]) -> int:
    rows = con.execute(
        """SELECT count(*) FROM staging.quarantine SEMI JOIN meta.events USING (write_key, event_id)
        WHERE list_contains($1::VARCHAR[], file_key)""",
        [file_keys],
    ).fetchall()
    return int(rows[0][0])


def described(con: duckdb.DuckDBPyConnection, landing: Landing, batch: Rejections) -> str:
    """The batch with its rows, and the most frequent reasons with their field."""
    manifest = landing.manifest(batch.batch) if not batch.of_log else None
    notes = manifest.notes if manifest else None
    name = batch.batch
    if notes is not None:
        name += f" ({notes.file}{f' by {notes.mapping}' if notes.mapping else ''})"
    found = con.execute(text("batch_reasons"), {"file_keys": list(batch.file_keys)}).fetchall()
    why = "; ".join(f"{code}{f' at {path}' if path else ''} in {n:,}: {message}" for code, path, n, message in found)
    return f"{name}: {batch.quarantined:,} of {batch.rows:,} rows quarantined ({batch.rate:.1%}){f': {why}' if why else ''}"
