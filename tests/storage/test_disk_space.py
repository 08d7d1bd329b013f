"""What is added to an error about writing: a full disk is named even when whoever failed has left room behind."""

import sqlite3
from pathlib import Path
from types import SimpleNamespace

import pytest
from sqlalchemy.exc import OperationalError

from gtm_dagster.storage import disk_space
from gtm_dagster.storage.disk_space import full_disk


def error_with(code: int) -> sqlite3.OperationalError:
    error = sqlite3.OperationalError("disk I/O error")
    error.sqlite_errorcode = code
    return error


NO_ROOM = error_with(sqlite3.SQLITE_IOERR_SHMSIZE)


@pytest.mark.parametrize(
    ("free", "error", "words"),
    [
        pytest.param(999_999, None, "; no space left on its disk (999,999 bytes free)", id="full now"),
        pytest.param(5_000_000, None, "", id="room, and nothing said"),
        pytest.param(5_000_000, NO_ROOM, "; its disk had no space left", id="room again, but SQLite met none"),
        pytest.param(
            5_000_000,
            OperationalError("INSERT", {}, NO_ROOM),
            "; its disk had no space left",
            id="by way of SQLAlchemy",
        ),
        pytest.param(5_000_000, error_with(sqlite3.SQLITE_IOERR_READ), "", id="a disk that cannot be read is not full"),
        pytest.param(5_000_000, OSError("broken"), "", id="another fault"),
        pytest.param(0, NO_ROOM, "; no space left on its disk (0 bytes free)", id="full then and now"),
    ],
)
def test_a_full_disk_is_named(free: int, error: BaseException | None, words: str, monkeypatch):
    monkeypatch.setattr(disk_space.shutil, "disk_usage", lambda _: SimpleNamespace(free=free))
    assert full_disk(Path("state"), error) == words


def test_a_folder_that_is_gone_says_nothing(tmp_path: Path):
    assert full_disk(tmp_path / "gone", NO_ROOM) == ""
