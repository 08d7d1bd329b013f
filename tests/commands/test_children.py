"""Child processes: one that ends is started again, one that never lives is given up, Ctrl-C ends all."""

import os
import signal
import socket
import threading
import time
from pathlib import Path

import pytest

from gtm_dagster.cli import run
from gtm_dagster.commands.children import Children, Restarts, how_it_ended

QUICK = Restarts(first=0.02, longest=0.1, soon=60.0, most=3)
STAYS = "import signal, sys, pathlib, os; pathlib.Path(sys.argv[1], str(os.getpid())).touch(); signal.pause()"


def pids(folder: Path) -> list[int]:
    return [int(path.name) for path in folder.iterdir()]


def eventually(condition):
    deadline, pause = time.monotonic() + 20, threading.Event()
    while not (found := condition()):
        assert time.monotonic() < deadline
        pause.wait(0.01)
    return found


def gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


def test_a_killed_child_is_started_again_and_ctrl_c_ends_all(tmp_path, capsys):
    def kill_then_interrupt() -> None:
        (first,) = eventually(lambda: pids(tmp_path))
        os.kill(first, signal.SIGKILL)
        eventually(lambda: len(pids(tmp_path)) == 2)
        os.kill(os.getpid(), signal.SIGINT)

    with Children(dict(os.environ), QUICK) as children:
        children.start("worker", ["-c", STAYS, str(tmp_path)], tmp_path)
        thread = threading.Thread(target=kill_then_interrupt)
        thread.start()
        assert children.wait() == 0
        thread.join()
    assert all(gone(pid) for pid in pids(tmp_path))
    lines = capsys.readouterr().err
    assert "worker was ended by SIGKILL; starting it again in 0.02 s" in lines
    assert "worker started again" in lines


def test_a_child_that_ends_at_once_is_given_up_with_its_code(tmp_path, capsys):
    with Children(dict(os.environ), QUICK) as children:
        children.start("worker", ["-c", STAYS, str(tmp_path)], tmp_path)
        children.start("web UI", ["-c", "raise SystemExit(3)"], tmp_path)
        assert children.wait() == 1
    assert all(gone(pid) for pid in pids(tmp_path)), "the others are ended"
    lines = capsys.readouterr().err.splitlines()
    assert lines == [
        "web UI ended with code 3; starting it again in 0.02 s",
        "web UI started again",
        "web UI ended with code 3; starting it again in 0.04 s",
        "web UI started again",
        "web UI ended with code 3, 3 times in a row within 60 s of its start; stopping the rest. Its own lines above say why",
    ]


@pytest.mark.parametrize(
    ("failures", "seconds"), [(1, 1.0), (2, 2.0), (3, 4.0), (6, 30.0), (60, 30.0)], ids=lambda value: str(value)
)
def test_the_pause_grows(failures, seconds):
    assert Restarts().pause(failures) == seconds


@pytest.mark.parametrize(
    ("code", "words"),
    [(0, "ended with code 0"), (-9, "was ended by SIGKILL"), (-200, "was ended by signal 200")],
    ids=["clean", "signal", "unknown signal"],
)
def test_an_end_in_words(code, words):
    assert how_it_ended(code) == words


def test_a_port_that_is_taken_is_named_before_anything_starts(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("GTM_STATE_DIR", str(tmp_path / ".gtm"))
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert run(["dev", "--port", str(port)]) == 1
    assert f"127.0.0.1:{port}: cannot listen there (Address already in use)" in capsys.readouterr().err
    assert not (tmp_path / ".gtm").exists()
