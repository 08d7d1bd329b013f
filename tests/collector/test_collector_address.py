"""The address of the running collector: there while its process is, and nobody else's."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from gtm_dagster.collector.address import ADDRESS_FILE, announced, running_address

URL = "http://127.0.0.1:8377"


def test_the_address_is_there_while_the_collector_runs(tmp_path: Path) -> None:
    assert running_address(tmp_path) is None
    with announced(tmp_path, URL):
        assert running_address(tmp_path) == URL
        assert (tmp_path / ADDRESS_FILE).stat().st_mode & 0o777 == 0o600
    assert running_address(tmp_path) is None and not (tmp_path / ADDRESS_FILE).exists()


def test_a_later_collector_keeps_its_address(tmp_path: Path) -> None:
    with announced(tmp_path, URL):
        later = {"url": "http://127.0.0.1:9", "pid": os.getppid()}
        (tmp_path / ADDRESS_FILE).write_text(json.dumps(later))
    assert running_address(tmp_path) == "http://127.0.0.1:9"


def ended_pid() -> int:
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
    return process.pid


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        pytest.param('{"url": "http://127.0.0.1:8377", "pid": ENDED}', "the process is gone", id="gone"),
        pytest.param('{"url": "http://127.0.0.1:8377", "pid": OWN, "started": "boot/1"}', "another process has its number", id="reused"),
        (json.dumps({"url": URL, "pid": 0}), "no process"),
        (json.dumps({"url": URL, "pid": 2**70}), "no number of a process"),
        ("{", "damaged"),
        ('{"url": 3}', "something else"),
    ],
)
def test_an_address_of_nobody_is_none(tmp_path: Path, content: str, reason: str) -> None:
    content = content.replace("ENDED", str(ended_pid())).replace("OWN", str(os.getpid()))
    (tmp_path / ADDRESS_FILE).write_text(content)
    assert running_address(tmp_path) is None, reason
