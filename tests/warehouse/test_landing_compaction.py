"""Closed days of the log become one batch each, and nobody who reads or stages notices."""

from __future__ import annotations

import shutil
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from warehouse_cases import DAY, MINUTE, PLAN, START, event, land, landing_table, refresh, rows_of, settings_for

from gtm_dagster.settings import Settings
from gtm_dagster.warehouse.landing import Landing, log_name
from gtm_dagster.warehouse.landing import files as files_module
from gtm_dagster.warehouse.landing.listing import covered, look
from gtm_dagster.warehouse.landing.upkeep import keep_up
from gtm_dagster.warehouse.quarantined import quarantine_now
from gtm_dagster.warehouse.verify import verify

LOG = "0123456789abcdef"
RECEIVED = START + 30 * DAY
FIRST_DAY, SECOND_DAY = "2026-01-31", "2026-02-01"
LATER = datetime(2026, 2, 3, tzinfo=UTC)


def log_row(seq: int, minute: int, **columns: object) -> dict:
    return {**event(f"e{seq}", START + seq, user_id=f"u{seq % 3}", received_us=RECEIVED + minute * MINUTE), "seq": seq, **columns}  # fmt: skip


def land_rows(settings: Settings, rows: list[dict]) -> str:
    """Land rows with a `seq` as one batch of the log."""
    table = landing_table([{name: value for name, value in row.items() if name != "seq"} for row in rows])
    numbers = pa.array([row["seq"] for row in rows], pa.int64())
    name = log_name(LOG, rows[0]["seq"], rows[-1]["seq"])
    Landing(settings.landing_dir).write(
        table.set_column(table.schema.get_field_index("row_no"), "row_no", numbers), name
    )
    return name


def batches(first: int = 0, last: int = 8) -> list[list[dict]]:
    """Eight batches of two rows: five of a day, one across midnight, two of the next day; the fourth has a bad row."""
    minutes = [0, 60, 120, 180, 240, 1439, 1500, 1560]
    found = []
    for number in range(first, last):
        seq = 2 * number + 1
        bad = {"verdict": "quarantined", "reason_codes": "type", "errors": "[]", "raw": "{}", "sealed": b"S" * 40} if number == 3 else {}  # fmt: skip
        found.append([log_row(seq, minutes[number]), log_row(seq + 1, minutes[number] + 2, **bad)])
    return found


def landed(settings: Settings, first: int = 0, last: int = 8) -> None:
    for rows in batches(first, last):
        land_rows(settings, rows)


def tables(settings: Settings) -> dict[str, list[tuple]]:
    statements = {
        "events": "SELECT * FROM staging.events ORDER BY event_id",
        "quarantine": "SELECT * FROM staging.quarantine ORDER BY event_id",
        "books": "SELECT * FROM staging.books ORDER BY ingest_date",
    }
    return {name: rows_of(settings, sql) for name, sql in statements.items()}


def keys(settings: Settings) -> list[str]:
    return [key for (key,) in rows_of(settings, "SELECT file_key FROM meta.landing_files ORDER BY 1")]


def test_two_closed_days_become_two_batches_and_every_table_stays(tmp_path: Path) -> None:
    settings = settings_for(tmp_path)
    landed(settings)
    land(settings, [event("i", START, user_id="u", received_us=RECEIVED)], "import-a")
    refresh(settings)
    before, positions = tables(settings), Landing(settings.landing_dir).log_positions()
    done = keep_up(settings, LATER)
    assert (done.compacted, done.compacted_into) == (8, 2)
    first, second = log_name(LOG, 1, 10), log_name(LOG, 11, 16)
    landing = Landing(settings.landing_dir)
    expected = [f"{FIRST_DAY}/import-a", f"{FIRST_DAY}/{first}", f"{FIRST_DAY}/{second}", f"{SECOND_DAY}/{second}"]
    assert [file.key for file in landing.files()] == expected
    assert landing.log_positions() == positions
    assert len(list(settings.landing_dir.glob("ingest_date=*/*.parquet"))) == len(expected), "the others are gone"
    for rows in batches():
        land_rows(settings, rows)  # a batch that was compacted has landed
    assert landing.names() == ["import-a", first, second]
    again = refresh(settings)
    assert (again.read, again.files) == (0, 0)
    assert keys(settings) == expected
    assert tables(settings) == before
    assert verify(settings, PLAN).ok
    refresh(settings, full=True)
    assert tables(settings) == before, "staged from the compacted files alone"
    assert keep_up(settings, LATER).metadata == {}


@pytest.mark.parametrize(
    ("now", "into"),
    [
        (datetime(2026, 1, 31, 23, 59, tzinfo=UTC), 0),
        (datetime(2026, 2, 1, 0, 59, tzinfo=UTC), 0),
        (datetime(2026, 2, 1, 1, 0, tzinfo=UTC), 1),
        (datetime(2026, 2, 2, 1, 0, tzinfo=UTC), 2),
    ],
    ids=["the day is not over", "somebody may still write yesterday", "an hour after midnight", "a day later"],
)
def test_a_day_is_compacted_an_hour_after_its_end(tmp_path: Path, now: datetime, into: int) -> None:
    settings = settings_for(tmp_path)
    landed(settings)
    assert keep_up(settings, now).compacted_into == into


def test_a_gap_in_the_offsets_another_log_and_big_batches_are_left_apart(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("gtm_dagster.warehouse.landing.compaction._SMALL_ROWS", 5)
    settings = settings_for(tmp_path)
    for first, last in ((1, 2), (3, 4), (6, 7), (8, 9), (10, 15), (16, 16)):
        land_rows(settings, [log_row(seq, seq) for seq in range(first, last + 1)])
    Landing(settings.landing_dir).write(landing_table([log_row(1, 1, event_id="other")]), log_name("f" * 16, 1, 1))
    keep_up(settings, LATER)
    ranges = [(1, 4), (6, 9), (10, 15), (16, 16)]
    assert Landing(settings.landing_dir).names() == [
        *(log_name(LOG, *each) for each in ranges),
        log_name("f" * 16, 1, 1),
    ]


def test_late_rows_of_a_compacted_day_are_staged_and_stay_beside_it(tmp_path: Path) -> None:
    settings = settings_for(tmp_path)
    landed(settings)
    refresh(settings)
    keep_up(settings, LATER)
    land_rows(settings, [log_row(17, 300), log_row(18, 1600)])
    assert refresh(settings).read == 2
    keep_up(settings, LATER + timedelta(days=3))
    assert refresh(settings).read == 0
    assert verify(settings, PLAN).ok


@pytest.mark.parametrize("staged", [0, 3, 6, 8], ids=lambda n: f"{n} of 8 batches")
def test_a_warehouse_from_a_backup_stages_the_batches_it_does_not_know(tmp_path: Path, staged: int) -> None:
    """The others came back from a compacted file: every row is staged once, and the books are those of one load."""
    settings = settings_for(tmp_path)
    landed(settings, 0, staged)
    if staged:
        refresh(settings)
        shutil.copy(settings.warehouse_path, tmp_path / "backup")
    landed(settings, staged)
    keep_up(settings, LATER)
    if staged:
        shutil.copy(tmp_path / "backup", settings.warehouse_path)
        assert verify(settings, PLAN).ok, "of a compacted batch the staged part alone is rebuilt"
    assert refresh(settings).read == 16 - 2 * staged
    assert refresh(settings).read == 0
    incremental = tables(settings)
    refresh(settings, full=True)
    assert tables(settings) == incremental


def test_landing_files_from_a_backup_are_known_to_a_warehouse_that_followed_compaction(tmp_path: Path) -> None:
    settings = settings_for(tmp_path)
    landed(settings)
    shutil.copytree(settings.landing_dir, tmp_path / "backup")
    refresh(settings)
    keep_up(settings, LATER)
    refresh(settings)
    before = tables(settings)
    shutil.rmtree(settings.landing_dir)
    shutil.move(tmp_path / "backup", settings.landing_dir)
    assert refresh(settings).read == 0
    keep_up(settings, LATER)
    assert refresh(settings).read == 0
    assert tables(settings) == before


def test_an_import_is_withdrawn_and_its_losers_come_back_from_a_compacted_batch(tmp_path: Path) -> None:
    settings = settings_for(tmp_path)
    land(settings, [event("e1", START, user_id="u", received_us=RECEIVED - DAY)], "import-a")
    landed(settings)
    refresh(settings)
    keep_up(settings, LATER)  # staging has not followed it when the import is withdrawn
    Landing(settings.landing_dir).withdraw("import-a", by="me", reason="wrong")
    refresh(settings)
    assert rows_of(settings, "SELECT user_id FROM staging.events WHERE event_id = 'e1'") == [("u1",)]
    assert verify(settings, PLAN).ok


def test_a_quarantined_row_keeps_its_place_and_its_original(tmp_path: Path) -> None:
    settings = settings_for(tmp_path, GTM_QUARANTINE__DAYS="10000")
    landed(settings)

    def quarantined() -> list[tuple]:
        with quarantine_now(settings, originals=True) as con:
            return con.execute(
                "SELECT event_id, file_key, row_no, sealed FROM quarantine LEFT JOIN originals USING (file_key, row_no)"
            ).fetchall()

    expected = [("e8", f"{FIRST_DAY}/{log_name(LOG, 7, 8)}", 8, b"S" * 40)]
    assert quarantined() == expected
    keep_up(settings, LATER)
    assert quarantined() == expected, "read from the compacted files"
    refresh(settings)
    assert quarantined() == expected
    assert len(list((settings.landing_dir / "sealed").rglob("*.parquet"))) == 1


def test_files_stay_while_somebody_reads_and_go_with_the_next_refresh(tmp_path: Path) -> None:
    settings = settings_for(tmp_path)
    landed(settings)
    with Landing(settings.landing_dir).reading() as files:
        assert keep_up(settings, LATER).compacted == 0
        assert sum(pq.read_metadata(file.path).num_rows for file in files) == 16
    assert keep_up(settings, LATER).compacted == 8
    assert sum(file.footer_rows() for file in Landing(settings.landing_dir).files()) == 16


@pytest.mark.parametrize("damage", ["cut off", "another batch's rows"])
def test_a_broken_file_is_left_with_its_day_for_whoever_reads_it(tmp_path: Path, damage: str) -> None:
    settings = settings_for(tmp_path)
    landed(settings)
    landing = Landing(settings.landing_dir)
    names, path = landing.names(), landing.files()[0].path
    if damage == "cut off":
        path.write_bytes(path.read_bytes()[:-20])
    else:
        pq.write_table(pq.read_table(path).slice(1), path)
    done = keep_up(settings, LATER)
    assert (done.compacted, done.compacted_into) == (3, 1), "the next day is compacted"
    assert landing.names()[:5] == names[:5]
    assert not list(settings.landing_dir.rglob("*.part"))
    assert keep_up(settings, LATER).metadata == {}


def test_a_backlog_is_worked_off_a_piece_a_refresh(tmp_path, monkeypatch) -> None:
    settings = settings_for(tmp_path)
    landed(settings)
    monkeypatch.setattr("gtm_dagster.warehouse.landing.upkeep.tidy_closed_days", _no_time)
    assert [keep_up(settings, LATER).compacted for _ in range(3)] == [5, 3, 0]


def _no_time(*arguments: object) -> object:
    from gtm_dagster.warehouse.landing.compaction import tidy_closed_days

    return tidy_closed_days(*arguments, budget_s=0)  # type: ignore[arg-type]


_KILLED = """
import os, shutil, signal, sys
from datetime import UTC, datetime
from pathlib import Path
from gtm_dagster.warehouse.landing.compaction import tidy_closed_days

source, into = map(Path, sys.argv[1:])
calls = 0
def counted(change):
    def call(*arguments, **options):
        global calls
        calls += 1
        if calls == last:
            os.kill(os.getpid(), signal.SIGKILL)
        return change(*arguments, **options)
    return call

for last in range(1, 1000):
    folder = into / str(last)
    shutil.copytree(source, folder)
    if (child := os.fork()) == 0:
        os.replace = counted(os.replace)
        Path.unlink, Path.replace, os.fsync = counted(Path.unlink), counted(Path.replace), counted(os.fsync)
        tidy_closed_days(folder, datetime(2026, 1, 1, tzinfo=UTC).date(), datetime(2026, 2, 3, tzinfo=UTC))
        os._exit(0)
    if os.waitpid(child, 0)[1] == 0:
        break
print(last)
"""


def test_a_compaction_killed_at_any_step_loses_no_row_and_counts_none_twice(tmp_path: Path) -> None:
    settings = settings_for(tmp_path / "whole")
    landed(settings, 2, 5)
    refresh(settings)
    before = tables(settings)
    copies = tmp_path / "copies"
    run = [sys.executable, "-c", _KILLED, str(settings.landing_dir), str(copies)]
    steps = int(subprocess.run(run, check=True, capture_output=True, text=True).stdout)
    assert steps > 12
    for folder in sorted(copies.iterdir()):
        landing = Landing(folder)
        assert sum(file.footer_rows() for file in landing.files()) == 6, folder
        shutil.rmtree(settings.landing_dir)
        shutil.move(folder, settings.landing_dir)
        keep_up(settings, LATER)
        keep_up(settings, LATER)
        left = Landing(settings.landing_dir)
        assert left.names() == [log_name(LOG, 5, 10)], folder
        assert [path.stem for path in left.folder.glob("ingest_date=*/*")] == left.names(), folder
        assert not list(left.folder.rglob("*.part")), folder
    assert refresh(settings).read == 0
    assert tables(settings) == before


def test_a_look_opens_the_manifests_of_unknown_batches_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = settings_for(tmp_path)
    landed(settings)
    refresh(settings)
    landing = Landing(settings.landing_dir)
    template = landing.manifest(log_name(LOG, 15, 16))
    for seq in range(17, 217):
        name = log_name(LOG, seq, seq)
        (settings.landing_dir / "_batches" / f"{name}.json").write_bytes(
            msgspec.json.encode({"format": 2, "name": name, "rows": {SECOND_DAY: 1}, "columns": template.columns})
        )
    landing.update_index()
    opened: list[Path] = []
    original = files_module.read_manifest
    monkeypatch.setattr(files_module, "read_manifest", lambda path: opened.append(path) or original(path))
    known = landing.names()
    assert landing.files(but=known, parts=True) == [] and opened == []
    assert len(landing.files()) == 209 and opened == [], "the index says what the manifests say"
    assert len(landing.files(but=known[1:], parts=True)) == 1 and len(opened) == 1
    opened.clear()
    assert landing.log_positions()[0].seq == 216 and len(opened) == 1


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["log-1-2", "log-3-4"], {}),
        (["log-1-4", "log-1-2", "log-3-4"], {"log-1-2": "log-1-4", "log-3-4": "log-1-4"}),
        ([f"log-{LOG}-1-4", "log-1-2"], {}),
        (["log-1-4", "log-5-6", "import-1"], {}),
        (["log-1-3", "log-2-4"], {}),
    ],
    ids=["side by side", "compacted", "of another log", "after it", "crossing"],
)
def test_which_batches_another_one_covers(names: list[str], expected: dict[str, str]) -> None:
    assert covered(names) == expected


def test_no_folder_is_an_empty_landing_zone(tmp_path: Path) -> None:
    assert look(tmp_path / "none").names == []
    assert keep_up(settings_for(tmp_path / "state")).metadata == {}
