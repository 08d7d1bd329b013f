"""A file written whole: the old one or the new one, never half, and nothing beside it."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from gtm_dagster.storage.atomic_write import Drafts, write_once, write_whole

KILLED = """
import os, signal, sys
from pathlib import Path
from gtm_dagster.storage import atomic_write
os.fsync = lambda _: os.kill(os.getpid(), signal.SIGKILL)
atomic_write.write_whole(Path(sys.argv[1]), b"new")
"""


def names(folder) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("before", [None, b"old content, and longer"])
def test_the_content_is_all_the_file_holds(tmp_path, before):
    path = tmp_path / "a.json"
    if before:
        path.write_bytes(before)
    write_whole(path, b"new")
    assert path.read_bytes() == b"new"
    assert names(tmp_path) == ["a.json"]


def test_a_secret_is_never_readable_by_others(tmp_path, monkeypatch):
    path, seen = tmp_path / "key", []
    sync = os.fsync
    monkeypatch.setattr(os, "fsync", lambda descriptor: (seen.append(os.fstat(descriptor).st_mode), sync(descriptor)))
    write_whole(path, b"secret", mode=0o600)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(seen[0]) == 0o600


def test_a_disk_that_refuses_leaves_the_old_file_and_no_draft(tmp_path, monkeypatch):
    path = tmp_path / "a.json"
    path.write_bytes(b"old")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_whole(path, b"new")
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == ["a.json"]


def test_a_killed_writer_leaves_the_old_file_and_a_draft_that_cleaners_know(tmp_path):
    path = tmp_path / "a.json"
    path.write_bytes(b"old")
    done = subprocess.run([sys.executable, "-c", KILLED, str(path)], check=False)
    assert done.returncode == -signal.SIGKILL
    assert path.read_bytes() == b"old"
    assert [name for name in names(tmp_path) if name != "a.json"] == [
        path.name for path in tmp_path.glob(".a.json.*.part")
    ]


def test_a_writer_that_is_alone_removes_what_killed_ones_left_of_its_file(tmp_path):
    for name in (".a.json.1.aa.part", ".b.json.1.aa.part"):
        (tmp_path / name).write_text("half")
    write_whole(tmp_path / "a.json", b"new", alone=True)
    assert names(tmp_path) == [".b.json.1.aa.part", "a.json"]


def test_of_many_first_writers_one_wins_and_all_read_its_content(tmp_path):
    path = tmp_path / "key"
    with ThreadPoolExecutor(8) as pool:
        won = list(pool.map(lambda n: write_once(path, str(n).encode()), range(16)))
    assert won.count(True) == 1
    assert path.read_bytes() == str(won.index(True)).encode()
    assert names(tmp_path) == ["key"]


def test_several_files_come_into_place_together(tmp_path):
    with Drafts() as drafts:
        for name in ("a", "b"):
            drafts.of(tmp_path / name).write_text(name)
        assert not (tmp_path / "a").exists()
        drafts.rename()
    assert names(tmp_path) == ["a", "b"]
