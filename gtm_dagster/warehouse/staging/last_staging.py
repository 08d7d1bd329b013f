"""What the newest staging read, as far as `meta.landing_files` tells it."""

from __future__ import annotations

import duckdb

from gtm_dagster.warehouse.results import number


def imported_rows(con: duckdb.DuckDBPyConnection) -> int:
    """Rows that the newest staging read from imported files: all but those of batches of the event log.

    The files of one staging have one `staged_at`: they are noted in its transaction.
    """
    return int(
        number(
            con,
            """SELECT coalesce(sum(rows), 0)::BIGINT FROM meta.landing_files
            WHERE staged_at = (SELECT max(staged_at) FROM meta.landing_files)
              AND NOT starts_with(split_part(file_key, '/', 2), 'log-')""",
        )
    )
