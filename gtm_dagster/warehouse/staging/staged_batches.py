"""What the working file has staged, seen from outside while nothing writes it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import duckdb

from gtm_dagster.warehouse.serving import WORK_WAIT_SECONDS, QueryError, query

if TYPE_CHECKING:
    from gtm_dagster.settings import Settings

__all__ = ["WORK_WAIT_SECONDS", "staged_batches", "staged_file_keys"]


def staged_file_keys(settings: Settings) -> set[str] | None:
    """Keys of the staged landing files; None while a run writes the working file, or when it cannot be read."""
    if not settings.warehouse_path.exists():
        return set()
    try:
        rows = query(settings, "SELECT file_key FROM meta.landing_files", work=True)[1]
    except (QueryError, duckdb.Error):
        return None
    return {row[0] for row in rows}


def staged_batches(settings: Settings) -> set[str] | None:
    """Names of the staged batches; None as `staged_file_keys`."""
    keys = staged_file_keys(settings)
    return None if keys is None else {key.partition("/")[2] for key in keys}
