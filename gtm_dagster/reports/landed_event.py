"""One event in the landing zone: by its offset in the log, or by its id through all files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from gtm_dagster.warehouse.engine import connect
from gtm_dagster.warehouse.landing import Landing
from gtm_dagster.warehouse.landing.landing_columns import ROW_COLUMNS
from gtm_dagster.warehouse.landing.listing import look
from gtm_dagster.warehouse.landing.manifests import log_range
from gtm_dagster.warehouse.landing.writers import rows_path
from gtm_dagster.warehouse.literals import composed, literals

if TYPE_CHECKING:
    from gtm_dagster.settings import Settings


class LandedEvent(msgspec.Struct, frozen=True):
    """A copy of an event: its landing columns, its file below the landing folder, and its place in the log."""

    row: dict[str, Any]
    file: str | None
    log_id: str | None = None
    offset: int | None = None
    has_original: bool = False


def file_of(settings: Settings, log_id: str, offset: int, *, with_row: bool) -> LandedEvent | None:
    """The landed copy of the record at `offset`; None when it has not landed. `with_row`: read it, too."""
    landing = Landing(settings.landing_dir)
    for name in look(landing.folder).names:
        batch = log_range(name)
        if batch is None or batch.log_id != log_id or not batch.first_seq <= offset <= batch.last_seq:
            continue
        manifest = landing.manifest(name)
        paths = [rows_path(landing.folder, day, name) for day in (manifest.rows if manifest else ())]
        for path in paths:
            if len(paths) == 1 and not with_row:
                return LandedEvent({}, _below(landing, path), log_id, offset)
            if found := _rows(settings, [str(path)], "row_no = $1 AND origin = 'log'", [offset]):
                return LandedEvent(found[0], _below(landing, path), log_id, offset)
    return None


def landed_copies(settings: Settings, event_id: str) -> list[LandedEvent]:
    """Every landed copy of a stored id, newest first, whoever sent it. Looks through all files."""
    landing = Landing(settings.landing_dir)
    with landing.reading() as files:
        names = {str(file.path): file.name for file in files}
        found = _rows(settings, list(names), "event_id = $1", [event_id])
    copies = []
    for row in found:
        path = row.pop("filename")
        batch = log_range(names[path]) if row["origin"] == "log" else None
        place = (batch.log_id, row["row_no"]) if batch else (None, None)
        copies.append(LandedEvent(row, _below(landing, Path(path)), *place))
    return sorted(copies, key=lambda copy: -int(copy.row["received_us"]))


def _rows(settings: Settings, paths: list[str], condition: str, values: list[Any]) -> list[dict[str, Any]]:
    """The rows of some files as the landing columns and their `filename`."""
    if not paths:
        return []
    con = connect(":memory:", settings)
    try:
        cursor = con.execute(
            composed(
                "SELECT * FROM read_parquet([$files], filename = true, hive_partitioning = false, union_by_name = true) WHERE $condition",
                files=literals(paths),
                condition=condition,
            ),
            values,
        )
        names = [column[0] for column in cursor.description or ()]
        found = [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
    finally:
        con.close()
    return [{name: row.get(name) for name in (*ROW_COLUMNS, "filename")} for row in found]


def _below(landing: Landing, path: Path) -> str:
    return str(path.relative_to(landing.folder))
