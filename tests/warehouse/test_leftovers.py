"""What a killed writer leaves half-written goes with the next one, by itself; what a living one writes stays."""

import pytest
from warehouse_cases import START, event, land, refresh, rows_of, settings_for

from gtm_dagster.warehouse.engine import opened
from gtm_dagster.warehouse.landing import Landing
from gtm_dagster.warehouse.landing.writers import writing
from gtm_dagster.warehouse.publishing import publish


def touched(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("half")
    return path


def test_a_dead_publishers_copy_and_its_wal_go_with_the_next_publishing(tmp_path):
    settings = settings_for(tmp_path)
    left = [touched(tmp_path / f".serving.duckdb.1{end}") for end in (".part", ".part.wal")]
    land(settings, [event("e1", START, anonymous_id="a1")], "import-1")
    refresh(settings)
    assert not [path for path in left if path.exists()]
    assert settings.serving_path.exists()


def test_publishing_that_fails_gives_its_room_back_and_leaves_the_old_copy(tmp_path, monkeypatch):
    settings = settings_for(tmp_path)
    refresh(settings)
    before = settings.serving_path.read_bytes()

    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("gtm_dagster.warehouse.publishing.write_rollbacks", full)
    with opened(settings.warehouse_path, settings) as con, pytest.raises(OSError, match="No space left"):
        con.execute("CREATE TABLE marts.mine AS SELECT 1 AS a")
        publish(con, settings)
    assert not list(tmp_path.glob(".serving.duckdb.*"))
    assert settings.serving_path.read_bytes() == before


@pytest.fixture
def left(tmp_path):
    """Of killed writers: a part of a file and of a manifest, a range of the log and an import nobody counts."""
    landing = settings_for(tmp_path).landing_dir
    return {
        "part": touched(landing / "ingest_date=2026-01-01" / ".import-9.parquet.1.part"),
        "manifest's part": touched(landing / "_batches" / ".import-9.json.1.part"),
        "log": touched(landing / "ingest_date=2026-01-01" / "log-000000000000001-000000000000007.parquet"),
        "import": touched(landing / "ingest_date=2026-01-01" / "import-9.parquet"),
    }


def test_the_next_batch_removes_what_dead_writers_left_but_a_whole_import(tmp_path, left):
    land(settings_for(tmp_path), [event("e1", START, anonymous_id="a1")], "import-1")
    assert [name for name, path in left.items() if path.exists()] == ["import"]


def test_nothing_is_removed_while_another_writer_is_at_work(tmp_path, left):
    settings = settings_for(tmp_path)
    with writing(settings.landing_dir, "import-0"):
        for path in left.values():
            touched(path)
        land(settings, [event("e1", START, anonymous_id="a1")], "import-1")
        assert all(path.exists() for path in left.values())


def test_a_landed_range_of_the_log_stays_and_is_counted(tmp_path):
    settings = settings_for(tmp_path)
    land(settings, [event("e1", START, anonymous_id="a1")], "log-000000000000001-000000000000001")
    land(settings, [event("e2", START + 1, anonymous_id="a1")], "log-000000000000002-000000000000002")
    refresh(settings)
    assert rows_of(settings, "SELECT count(*) FROM staging.events") == [(2,)]


def test_a_batch_the_disk_refuses_leaves_nothing(tmp_path, monkeypatch):
    settings = settings_for(tmp_path)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("gtm_dagster.storage.atomic_write.fsync", full)
    with pytest.raises(OSError, match="No space left"):
        land(settings, [event("e1", START, anonymous_id="a1")], "import-1")
    assert [path.name for path in settings.landing_dir.rglob("*") if path.is_file()] == [".writers"]
    assert not Landing(settings.landing_dir).files()
