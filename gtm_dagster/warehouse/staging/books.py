"""The books by ingest day: every landed row is clean, a duplicate, quarantined or suppressed, and the loader's count agrees."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

import duckdb

from gtm_dagster.warehouse.statements import fragment


@dataclass(frozen=True)
class BookRow:
    """One ingest date: `log_rows` is what the writer of the landing files says it took, the rest is counted in staging.

    `withdrawn`: rows of withdrawn batches, which are in none of the others; `bots`: those of the clean ones that programs sent.
    """

    ingest_date: date
    log_rows: int
    raw: int
    clean: int
    duplicates: int
    quarantined: int
    suppressed: int
    withdrawn: int = 0
    bots: int = 0

    @property
    def balanced(self) -> bool:
        """raw = clean + duplicates + quarantined + suppressed, and raw = the writer's own count."""
        return self.raw == self.clean + self.duplicates + self.quarantined + self.suppressed == self.log_rows


def write_books(con: duckdb.DuckDBPyConnection) -> None:
    """Count the days of `touched_days` again, each figure from the table it speaks of; in the staging transaction.

    raw and suppressed are counted from the rows read (`read_days`, negative for a withdrawn batch), clean and quarantined from what the tables hold, duplicates from
    the deduplication's own ledger, log_rows from the manifests: none is derived from another.
    """
    con.execute(f"CREATE OR REPLACE TEMP TABLE counted_days AS {fragment('counted_days')}")
    con.execute("DELETE FROM staging.books WHERE ingest_date IN (SELECT ingest_date FROM touched_days)")
    con.execute("INSERT INTO staging.books SELECT * FROM counted_days")
    con.execute("DROP TABLE counted_days")


def books(con: duckdb.DuckDBPyConnection, days: list[str] | None = None) -> list[BookRow]:
    """The stored books, oldest day first; of `days` (ISO dates) alone when given."""
    rows = con.execute("SELECT * FROM staging.books ORDER BY ingest_date").fetchall()
    return [BookRow(*row) for row in rows if days is None or row[0].isoformat() in days]


def reasons(con: duckdb.DuckDBPyConnection, most: int) -> list[tuple[str, int]]:
    """(reason codes, quarantined rows), the most frequent first, at most `most`."""
    rows = con.execute(
        "SELECT reason_codes, count(*) FROM staging.quarantine GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT ?", [most]
    ).fetchall()
    return [(str(codes), int(n)) for codes, n in rows]
