"""A process that has served does not take its interpreter down beside threads of the server."""

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from gtm_dagster.collector.server_exit import threads_end
from gtm_dagster.micro.running_micro import running_micro

END = """
import atexit, sys

class Witness:
    def __del__(self): sys.stderr.write("taken down\\n")

atexit.register(print, "what waits for the exit ran")
witness = Witness()
sys.stdout.write("not yet flushed, ")
"""
COMMAND = "import granian\nfrom gtm_dagster import cli\nsys.argv = ['gtm', {argument!r}]\ncli.main()\n"


@pytest.mark.parametrize(
    ("ending", "code"),
    [
        pytest.param(COMMAND.format(argument="--version"), 0, id="a command that has served"),
        pytest.param(COMMAND.format(argument="no-such"), 2, id="and failed"),
        pytest.param(
            "from gtm_dagster.collector.server_exit import leave_process\nleave_process(3)\n", 3, id="a worker"
        ),
    ],
)
def test_an_end_without_the_interpreters(ending: str, code: int) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", END + ending], capture_output=True, text=True, timeout=60, check=False
    )
    assert ended.returncode == code, ended.stderr
    assert ended.stdout.startswith("not yet flushed, ")
    assert ended.stdout.endswith("what waits for the exit ran\n")
    assert "taken down" not in ended.stderr


def test_a_process_without_a_server_ends_as_any_other() -> None:
    ending = "from gtm_dagster import cli\nsys.argv = ['gtm', '--version']\ncli.main()\n"
    ended = subprocess.run(
        [sys.executable, "-c", END + ending], capture_output=True, text=True, timeout=60, check=False
    )
    assert (ended.returncode, "taken down" in ended.stderr) == (0, True), ended.stderr


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="the system lists no threads")
def test_a_server_of_this_process_leaves_no_thread() -> None:
    before = set(os.listdir("/proc/self/task"))
    with running_micro():
        assert len(set(os.listdir("/proc/self/task")) - before) > 1
    assert set(os.listdir("/proc/self/task")) <= before | {str(thread.native_id) for thread in threading.enumerate()}


def test_threads_of_python_are_not_waited_for() -> None:
    stop = threading.Event()
    with threads_end():
        later = threading.Thread(target=stop.wait, args=(10,))
        later.start()
    assert later.is_alive()
    stop.set()
    later.join()
