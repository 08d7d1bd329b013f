"""The serving copy as pages read it: the newest file at once, nothing else of the machine, an end for every statement."""

from __future__ import annotations

import threading
from pathlib import Path

import duckdb
import pytest
from dashboard_cases import settings_in

from gtm_dagster.dashboard.notices import UnavailableError
from gtm_dagster.dashboard.snapshots import KEPT, Snapshots
from gtm_dagster.settings import Dashboard

VERSION = "SELECT sessions FROM marts.daily"
ENDLESS = "SELECT count(*) FROM range(10000000) a, range(10000000) b WHERE a.range + b.range = 3"


def versioned(path: Path, version: int) -> None:
    part = path.with_suffix(".part")
    part.unlink(missing_ok=True)
    with duckdb.connect(str(part)) as con:
        con.execute(f"CREATE SCHEMA marts; CREATE TABLE marts.daily AS SELECT {version} AS sessions")
        con.execute("CREATE TABLE marts.funnel (channel VARCHAR)")
    part.replace(path)


def open_files(path: Path) -> int:
    """How often this process has a file open that lies there, or lay there before."""
    found = 0
    for link in Path("/proc/self/fd").iterdir():
        try:
            found += str(path) in str(link.readlink())
        except FileNotFoundError:
            continue
    return found


def test_every_request_sees_what_was_published_before_it_and_no_file_stays_open(tmp_path: Path) -> None:
    settings = settings_in(tmp_path, dashboard=Dashboard(statement_seconds=60))
    versioned(settings.serving_path, 0)
    snapshots = Snapshots(settings)
    newest, done, wrong = [0], threading.Event(), []

    def read() -> None:
        while not done.is_set():
            least = newest[0]
            try:
                with snapshots.current() as snapshot:
                    seen = snapshot.rows(VERSION).rows[0][0]
                if not least <= seen <= newest[0] + 1:
                    wrong.append((least, seen))
            except UnavailableError as error:
                wrong.append(error.notice)

    readers = [threading.Thread(target=read) for _ in range(4)]
    for reader in readers:
        reader.start()
    for version in range(1, 9):
        versioned(settings.serving_path, version)
        newest[0] = version
    done.set()
    for reader in readers:
        reader.join()
    assert wrong == []
    with snapshots.current() as snapshot:
        assert snapshot.rows(VERSION).rows == ((8,),)
    assert open_files(settings.serving_path) == 1
    snapshots.close()
    assert open_files(settings.serving_path) == 0


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ("SELECT * FROM read_text('/etc/passwd')", "read_text"),
        ("SELECT * FROM '/etc/passwd'", "a file"),
        ("ATTACH '/etc/passwd' AS x", "not ATTACH"),
        ("SET threads = 64", "not SET"),
        ("COPY marts.daily TO '/tmp/x'", "not COPY"),
        ("CREATE TABLE memory.x (i INTEGER)", "not CREATE"),
        ("SELECT 1; SELECT 2", "2 statements"),
        ("SELECT path FROM duckdb_databases()", "duckdb_databases"),
        ("SELECT chanel FROM marts.funnel", '"channel"'),
        ("SELECT", "Parser Error"),
        (ENDLESS, "longer than 0.2 seconds"),
    ],
)
def test_a_persons_statement_reads_the_tables_alone_and_ends(tmp_path: Path, statement: str, said: str) -> None:
    settings = settings_in(tmp_path, dashboard=Dashboard(statement_seconds=0.2))
    versioned(settings.serving_path, 1)
    snapshots = Snapshots(settings)
    with snapshots.current() as snapshot:
        with pytest.raises(UnavailableError) as refused:
            snapshot.asked(statement, 10)
        assert said in refused.value.notice.what
        assert snapshot.asked(VERSION, 10).rows == ((1,),)  # the next one is none the worse for it
    snapshots.close()


def test_rows_are_cut_at_the_limit_and_results_are_not_kept_for_ever(tmp_path: Path) -> None:
    settings = settings_in(tmp_path)
    versioned(settings.serving_path, 1)
    snapshots = Snapshots(settings)
    with snapshots.current() as snapshot:
        found = snapshot.asked("SELECT range FROM generate_series(1, 100) t(range)", 7)
        assert (len(found.rows), found.is_cut) == (7, True)
        for number in range(KEPT + 20):
            snapshot.rows(f"SELECT {number}")
        assert len(snapshot._kept) == KEPT
    snapshots.close()


@pytest.mark.parametrize(
    ("content", "said"),
    [(None, "There is no serving copy"), (b"not a database" * 400, "cannot be opened"), (b"", "cannot be opened")],
    ids=["missing", "another file", "cut off"],
)
def test_what_is_no_serving_copy_says_so_with_the_command_and_is_taken_when_it_comes(
    tmp_path: Path, content: bytes | None, said: str
) -> None:
    settings = settings_in(tmp_path)
    if content is not None:
        settings.serving_path.write_bytes(content)
    snapshots = Snapshots(settings)
    for _ in range(2):
        with pytest.raises(UnavailableError) as missing, snapshots.current():
            pass
        assert said in missing.value.notice.what
        assert missing.value.notice.command == "gtm refresh"
        assert (missing.value.notice.since is None) == (content is None)
    versioned(settings.serving_path, 3)
    with snapshots.current() as snapshot:
        assert snapshot.rows(VERSION).rows == ((3,),)
    settings.serving_path.unlink()
    with pytest.raises(UnavailableError) as gone, snapshots.current():
        pass
    assert gone.value.notice.since is not None
    snapshots.close()


def test_a_file_of_another_version_is_named_as_such(tmp_path: Path) -> None:
    settings = settings_in(tmp_path)
    versioned(settings.serving_path, 1)
    snapshots = Snapshots(settings)
    with snapshots.current() as snapshot:
        with pytest.raises(UnavailableError) as lacking:
            snapshot.rows("SELECT nobody_has_this FROM marts.daily")
        assert "published by another version" in lacking.value.notice.what
        assert lacking.value.notice.since == snapshot.published
    snapshots.close()
