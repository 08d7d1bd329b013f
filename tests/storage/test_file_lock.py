"""One holder at a time, named, and gone with its process."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys

import pytest

from gtm_dagster.storage.file_lock import FileLock, KernelLock

HOLD = """
import sys
from pathlib import Path
from gtm_dagster.storage.file_lock import FileLock
lock = FileLock(Path(sys.argv[1]))
assert lock.take(0, shared=sys.argv[2] == "shared")
print("ready", flush=True)
sys.stdin.read()
"""


class Busy(Exception):
    pass


class ALock(KernelLock):
    def refusal(self, timeout_s: float) -> Busy:
        return Busy(f"{self.holder()}; waited {timeout_s:g} s")


@pytest.fixture
def holder():
    """Starts a process that takes the lock at `path`."""
    started = []

    def start(path, kind="exclusive"):
        child = subprocess.Popen(
            [sys.executable, "-c", HOLD, str(path), kind], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        started.append(child)
        assert child.stdout.readline() == "ready\n"
        return child

    yield start
    for child in started:
        child.kill()
        child.communicate()


@pytest.mark.parametrize(
    ("theirs", "ours", "got"),
    [
        pytest.param("exclusive", False, False, id="both exclusive"),
        pytest.param("exclusive", True, False, id="shared waits for exclusive"),
        pytest.param("shared", False, False, id="exclusive waits for shared"),
        pytest.param("shared", True, True, id="shared beside shared"),
    ],
)
def test_who_gets_a_lock_that_another_process_has(tmp_path, holder, theirs, ours, got):
    holder(tmp_path / "a.lock", theirs)
    with FileLock(tmp_path / "a.lock") as lock:
        assert lock.take(0, shared=ours) is got
        assert lock.take(0.05, shared=ours) is got


def test_a_killed_holder_leaves_nothing_to_clean(tmp_path, holder):
    child = holder(tmp_path / "a.lock")
    child.send_signal(signal.SIGKILL)
    with FileLock(tmp_path / "a.lock") as lock:
        assert lock.take(5)


def test_an_exclusive_lock_becomes_a_shared_one(tmp_path):
    with FileLock(tmp_path / "a.lock") as one, FileLock(tmp_path / "a.lock") as other:
        assert one.take(0)
        assert one.take(shared=True)
        assert other.take(0, shared=True)


def test_the_lock_file_has_the_mode_asked_for(tmp_path):
    with FileLock(tmp_path / "a.lock", mode=0o600):
        assert stat.S_IMODE((tmp_path / "a.lock").stat().st_mode) == 0o600


def test_a_lock_names_its_holder_and_who_waits_in_vain_says_so(tmp_path):
    lock = ALock(tmp_path / "folder" / "a.lock")
    assert not lock.taken()
    with lock.hold("a much longer name than the next", timeout_s=0):
        pass
    with lock.hold("us", timeout_s=0):
        assert ALock(lock.path).taken()
        with pytest.raises(Busy, match=rf"pid {os.getpid()} \(us\); waited 0 s"), ALock(lock.path).hold("them", 0):
            pass
    assert not lock.taken()


def test_an_unreadable_holder_is_an_unknown_process(tmp_path):
    lock = ALock(tmp_path / "a.lock")
    lock.path.write_text("half")
    assert lock.holder() == "an unknown process"


def test_a_shared_lock_can_be_a_byte_range_lock_as_on_nfs(tmp_path):
    """NFS makes flock a lock of bytes, and a shared one of those needs the file open for reading."""
    import fcntl

    with FileLock(tmp_path / "lock") as lock:
        fcntl.lockf(lock.descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        fcntl.lockf(lock.descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
