"""A landed batch says its format, its columns and its range of the log; what a file lacks is filled in or refused by name."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from warehouse_cases import PLAN, START, event, land, landing_table, refresh, rows_of, settings_for

from gtm_dagster import __version__
from gtm_dagster.eventlog import Position
from gtm_dagster.settings import Settings
from gtm_dagster.storage.migrations import NewerFormatError
from gtm_dagster.taxonomy.conform import ContractBreak
from gtm_dagster.warehouse.engine import opened
from gtm_dagster.warehouse.landing import ARROW_SCHEMA, ROW_COLUMNS, Landing, complete, log_name
from gtm_dagster.warehouse.landing.manifests import log_range
from gtm_dagster.warehouse.verify import verify

LOG, OTHER = "0123456789abcdef", "fedcba9876543210"
REQUIRED = ["write_key", "event_id", "event_name", "event_us", "received_us", "verdict"]


def write_old(settings: Settings, table: pa.Table, name: str, day: str = "2026-01-31") -> Path:
    """A batch as version 0.1.0 wrote it."""
    folder = settings.landing_dir / f"ingest_date={day}"
    folder.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, folder / f"{name}.parquet")
    manifest = settings.landing_dir / "_batches" / f"{name}.json"
    manifest.parent.mkdir(exist_ok=True)
    manifest.write_text(json.dumps({"name": name, "days": {day: table.num_rows}}))
    return folder / f"{name}.parquet"


def change_manifest(settings: Settings, name: str, **fields: object) -> None:
    path = settings.landing_dir / "_batches" / f"{name}.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))


def test_a_manifest_names_format_columns_rows_and_the_range_of_the_log(tmp_path):
    rows = [event("a", START), event("b", START)]
    table = landing_table(rows).set_column(ARROW_SCHEMA.get_field_index("row_no"), "row_no", pa.array([7, 8]))
    [path] = Landing(tmp_path).write(table, log_name(LOG, 7, 8))
    document = json.loads((tmp_path / "_batches" / f"{log_name(LOG, 7, 8)}.json").read_text())
    assert document == {
        "name": log_name(LOG, 7, 8), "format": 2, "version": __version__, "rows": {"2026-01-31": 2},
        "columns": ROW_COLUMNS,
        "log": {"log_id": LOG, "first_seq": 7, "last_seq": 8, "received_us": rows[0]["received_us"]},
        "days": {"written by a newer gtm-dagster; install that version": None},
    }  # fmt: skip
    notes = pq.read_metadata(path).metadata
    assert (notes[b"gtm_dagster.format"], notes[b"gtm_dagster.version"]) == (b"2", __version__.encode())
    assert Landing(tmp_path).log_positions() == [Position(LOG, 8, rows[0]["received_us"])]


def test_a_program_of_before_refuses_a_new_manifest_with_its_sentence(tmp_path):
    """Version 0.1.0 lists a batch by reading a date from each key of `days`."""
    Landing(tmp_path).write(landing_table([event("a", START)]), "import-1")
    days = dict(json.loads((tmp_path / "_batches" / "import-1.json").read_text())["days"])
    with pytest.raises(ValueError, match="written by a newer gtm-dagster; install that version"):
        [date.fromisoformat(day) for day, _ in days.items()]
    with pytest.raises(TypeError):
        sum(days.values())  # how it counts the rows of an import that landed before


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (f"log-{LOG}-000000000000007-000000000000008", (LOG, 7, 8)),
        ("log-000000000000007-000000000000008", ("", 7, 8)),
        ("log-0123456789012345-000000000000008", ("", 123456789012345, 8)),
        ("import-0123456789abcdef", None),
        ("log-xyz-1-2", None),
        ("log-1-2-3", None),
    ],
)
def test_the_range_of_the_log_in_a_batch_name(name, expected):
    batch = log_range(name)
    assert (batch and (batch.log_id, batch.first_seq, batch.last_seq)) == expected


def test_a_log_has_landed_up_to_its_own_last_batch(tmp_path):
    settings = settings_for(tmp_path)
    table = landing_table([event("a", START)])
    write_old(settings, table, "log-000000000000001-000000000000040")
    write_old(settings, table, "log-000000000000041-000000000000090")
    for first, last in ((91, 120), (121, 130)):
        Landing(settings.landing_dir).write(table, log_name(LOG, first, last))
    Landing(settings.landing_dir).write(table, log_name(OTHER, 1, 500))
    positions = Landing(settings.landing_dir).log_positions()
    assert [(position.log_id, position.seq) for position in positions] == [("", 90), (LOG, 130), (OTHER, 500)]


def test_a_killed_writers_range_is_removed_by_the_end_of_its_own_log(tmp_path):
    settings = settings_for(tmp_path)
    table = landing_table([event("a", START)])
    write_old(settings, table, "log-000000000000001-000000000000040")
    Landing(settings.landing_dir).write(table, log_name(OTHER, 1, 500))
    folder = settings.landing_dir / "ingest_date=2026-01-31"
    left = [folder / f"{name}.parquet" for name in (log_name(LOG, 41, 50), log_name(OTHER, 501, 510), "log-000000000000041-000000000000050")]  # fmt: skip
    for path in left:
        path.write_text("half")
    (settings.landing_dir / "_batches" / ".writers").write_text("")  # a day ago, or by an earlier version
    land(settings, [event("b", START)], "import-1")
    assert not [path for path in left if path.exists()]
    assert sum(file.path.exists() for file in Landing(settings.landing_dir).files()) == 3


def without(table: pa.Table, *names: str) -> pa.Table:
    return table.drop_columns(list(names))


def test_columns_that_a_file_lacks_read_as_null_or_as_their_default(tmp_path):
    settings = settings_for(tmp_path)
    optional = [name for name in ARROW_SCHEMA.names if name not in REQUIRED]
    rows = [event("a", START, anonymous_id="x"), event("b", START, anonymous_id="x", event_name="page_viewed")]
    keep = without(landing_table(rows), *[name for name in optional if name not in ("anonymous_id", "properties")])
    write_old(settings, keep, "import-1")
    staged = refresh(settings)
    assert (staged.read, staged.clean) == (2, 2)
    assert rows_of(settings, "SELECT DISTINCT source, locale, plan_version FROM staging.events") == [(None, None, None)]
    land(settings, [event("c", START, anonymous_id="x", locale="de")], "import-2")
    assert refresh(settings, full=True).clean == 3
    assert rows_of(settings, "SELECT locale FROM staging.events ORDER BY event_id") == [(None,), (None,), ("de",)]
    assert verify(settings, PLAN).ok


def test_a_quarantined_row_of_a_file_without_origin_came_from_the_log(tmp_path):
    settings = settings_for(tmp_path)
    row = event("a", START, anonymous_id="x", verdict="quarantined", reason_codes="type", errors="[]", raw="{}")
    write_old(settings, without(landing_table([row]), "origin", "row_no"), "import-1")
    land(settings, [row | {"origin": "import"}], "import-2")
    refresh(settings)
    rows = rows_of(settings, "SELECT origin, row_no FROM staging.quarantine ORDER BY 1")
    assert rows == [("import", 0), ("log", 0)]


@pytest.mark.parametrize("name", REQUIRED)
def test_a_file_without_a_required_column_is_refused_by_name(tmp_path, name):
    settings = settings_for(tmp_path)
    path = write_old(settings, without(landing_table([event("a", START)]), name), "import-1")
    with pytest.raises(ContractBreak, match=rf"{path.name}: column {name} is missing; nothing was staged"):
        refresh(settings)
    with pytest.raises(ContractBreak, match=f"column {name} is missing"):
        complete(without(landing_table([event("a", START)]), name))


def test_a_column_that_nobody_declared_is_left_out(tmp_path):
    settings = settings_for(tmp_path)
    table = landing_table([event("a", START, anonymous_id="x")]).append_column("note", pa.array(["by hand"]))
    write_old(settings, table, "import-1")
    assert refresh(settings).clean == 1


def later_manifest(settings: Settings) -> None:
    change_manifest(settings, "import-1", format=3)


def later_column(settings: Settings) -> None:
    change_manifest(settings, "import-1", columns=[*ARROW_SCHEMA.names, "utm_id"])


def later_file(settings: Settings) -> None:
    [path] = settings.landing_dir.glob("ingest_date=*/import-1.parquet")
    table = pq.read_table(path, partitioning=None)
    pq.write_table(table.replace_schema_metadata({"gtm_dagster.format": "3"}), path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        pytest.param(later_manifest, r"import-1\.json: has format 3; written by a newer gtm-dagster; install that", id="manifest"),
        pytest.param(later_column, r"import-1\.json: has the column utm_id; written by a newer gtm-dagster", id="column"),
        pytest.param(later_file, r"import-1\.parquet: has format 3; written by a newer gtm-dagster", id="file"),
    ],
)  # fmt: skip
def test_a_batch_of_the_future_is_refused_in_one_line(tmp_path, change, message):
    settings = settings_for(tmp_path)
    land(settings, [event("a", START, anonymous_id="x")], "import-1")
    change(settings)
    with pytest.raises(NewerFormatError, match=message) as caught:
        refresh(settings)
    assert "\n" not in str(caught.value)
    with opened(settings.warehouse_path, settings) as con:
        assert con.execute("SELECT count(*) FROM meta.events").fetchall() == [(0,)]


@pytest.mark.parametrize("content", ["", "[]", '{"name": "x"}', '{"format": 2, "name": "x", "rows": {"d": "many"}}'])
def test_a_torn_manifest_is_named(tmp_path, content):
    settings = settings_for(tmp_path)
    land(settings, [event("a", START)], "import-1")
    (settings.landing_dir / "_batches" / "import-1.json").write_text(content)
    with pytest.raises(ContractBreak, match=r"import-1\.json: not a manifest \(.*\); restore it from a backup"):
        Landing(settings.landing_dir).files()
