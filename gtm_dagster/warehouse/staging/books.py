"""The books by ingest day: every landed row is clean, a duplicate, quarantined or suppressed, and the loader's count agrees."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

import duckdb


@dataclass(frozen=True)
class BookRow:
    """One ingest date: `log_rows` is what the writer of the landing files says it took, the rest is counted in staging."""

    ingest_date: date
    log_rows: int
    raw: int
    clean: int
    duplicates: int
    quarantined: int
    suppressed: int

    @property
    def balanced(self) -> bool:
        """raw = clean + duplicates + quarantined + suppressed, and raw = the writer's own count."""
        return self.raw == self.clean + self.duplicates + self.quarantined + self.suppressed == self.log_rows


def write_books(con: duckdb.DuckDBPyConnection) -> None:
    """Count the days of `touched_days` again, each figure from the table it speaks of; in the staging transaction.

    raw and suppressed are counted from the rows read, clean and quarantined from what the tables hold, duplicates from
    the deduplication's own ledger, log_rows from the manifests: none is derived from another.
    """
    con.execute(
        """CREATE OR REPLACE TEMP TABLE read_days AS
        SELECT CAST(make_timestamp(received_us) AS DATE) AS ingest_date, count(*) AS n, count(*) FILTER (verdict = 'suppressed') AS s
        FROM batch GROUP BY 1"""
    )
    con.execute(
        """CREATE OR REPLACE TEMP TABLE counted_days AS
        WITH clean AS (SELECT CAST(make_timestamp(received_us) AS DATE) AS ingest_date, count(*) AS n FROM meta.events
          WHERE CAST(make_timestamp(received_us) AS DATE) BETWEEN (SELECT min(ingest_date) FROM touched_days) AND (SELECT max(ingest_date) FROM touched_days) GROUP BY 1),
        bad AS (SELECT CAST(received_at AS DATE) AS ingest_date, count(*) AS n FROM staging.quarantine GROUP BY 1),
        dup AS (SELECT ingest_date, sum(n) AS n FROM meta.duplicates GROUP BY 1),
        landed AS (SELECT ingest_date, sum(rows) AS n FROM meta.landing_files GROUP BY 1)
        SELECT t.ingest_date, coalesce(landed.n, 0)::BIGINT AS log_rows, (coalesce(k.raw, 0) + coalesce(r.n, 0))::BIGINT AS raw,
          coalesce(clean.n, 0)::BIGINT AS clean, coalesce(dup.n, 0)::BIGINT AS duplicates, coalesce(bad.n, 0)::BIGINT AS quarantined,
          (coalesce(k.suppressed, 0) + coalesce(r.s, 0))::BIGINT AS suppressed
        FROM touched_days t
        LEFT JOIN staging.books k USING (ingest_date) LEFT JOIN read_days r USING (ingest_date)
        LEFT JOIN clean USING (ingest_date) LEFT JOIN bad USING (ingest_date) LEFT JOIN dup USING (ingest_date) LEFT JOIN landed USING (ingest_date)"""
    )
    con.execute("DELETE FROM staging.books WHERE ingest_date IN (SELECT ingest_date FROM touched_days)")
    con.execute("INSERT INTO staging.books SELECT * FROM counted_days")
    con.execute("DROP TABLE counted_days")
    con.execute("DROP TABLE read_days")


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
