"""What a refresh says when a file of it cannot be used, and the run history it keeps."""

import re
import sqlite3
from collections import namedtuple

import pytest
from sqlalchemy.exc import OperationalError

from gtm_dagster.definitions import build_defs
from gtm_dagster.orchestration import instance as instances
from gtm_dagster.orchestration.instance import HistoryError, OpeningLock, dagster_home, instance_of, run_history
from gtm_dagster.orchestration.refresh_run import run_refresh
from gtm_dagster.settings import load_settings

Usage = namedtuple("Usage", "total used free")


@pytest.mark.parametrize(
    ("free", "expected"),
    [
        pytest.param(4_096, True, id="SQLite calls a full disk an I/O error"),
        pytest.param(50_000_000_000, False, id="an I/O error on a disk with room is one"),
    ],
)
def test_a_history_that_cannot_be_written_says_why(tmp_path, monkeypatch, free, expected):
    settings = load_settings(None, {"GTM_STATE_DIR": str(tmp_path)})
    monkeypatch.setattr("gtm_dagster.storage.disk_space.shutil.disk_usage", lambda _: Usage(100, 100, free))
    with pytest.raises(HistoryError, match=r"run history cannot be written \(disk I/O error\)") as raised:
        with run_history(settings):
            raise OperationalError("INSERT", {}, sqlite3.OperationalError("disk I/O error"))
    assert ("no space left" in str(raised.value)) is expected


def test_dagsters_settings_are_replaced_only_when_they_changed(tmp_path):
    settings = load_settings(None, {"GTM_STATE_DIR": str(tmp_path)})
    target = dagster_home(settings) / "dagster.yaml"
    whole, first = target.read_text(), target.stat().st_ino
    dagster_home(settings)
    assert target.stat().st_ino == first
    target.write_text("telemetry: {enabled: true}\n")
    dagster_home(settings)
    assert target.read_text() == whole
    assert [path.name for path in target.parent.iterdir()] == ["dagster.yaml"]


@pytest.mark.parametrize(
    ("file", "expected"),
    [
        pytest.param("events.db", r"^ingestion__landing_events: .*events\.db: cannot open the event log", id="the log"),
        pytest.param("warehouse.duckdb", r"^staging: .*warehouse\.duckdb", id="the working file, books included"),
    ],
)
def test_a_refresh_says_which_file_and_in_which_step(tmp_path, file, expected):
    settings = load_settings(None, {"GTM_STATE_DIR": str(tmp_path)})
    (tmp_path / file).mkdir()
    result = run_refresh(settings, build_defs)
    assert not result.ok
    assert re.search(expected, result.error), result.error


def test_one_process_at_a_time_opens_the_history(tmp_path, monkeypatch):
    settings = load_settings(None, {"GTM_STATE_DIR": str(tmp_path)})
    monkeypatch.setattr(instances, "OPENING_SECONDS", 0.0)
    with OpeningLock(dagster_home(settings)).hold("opening", 1):
        with pytest.raises(HistoryError, match=r"is being opened by pid \d+ \(opening\)"):
            with instance_of(settings):
                pass
    with instance_of(settings) as instance:
        assert instance.get_runs() == []
