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


def test_an_address_of_a_process_that_is_gone_is_none(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
    (tmp_path / ADDRESS_FILE).write_text(json.dumps({"url": URL, "pid": process.pid}))
    assert running_address(tmp_path) is None


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (json.dumps({"url": URL, "pid": 1, "started": "boot/1"}), "another process has its number"),
        (json.dumps({"url": URL, "pid": 0}), "no process"),
        (json.dumps({"url": URL, "pid": 2**70}), "no number of a process"),
        ("{", "damaged"),
        ('{"url": 3}', "something else"),
    ],
    ids=lambda value: value[:20],
)
def test_an_address_of_nobody_is_none(tmp_path: Path, content: str, reason: str) -> None:
    (tmp_path / ADDRESS_FILE).write_text(content)
    assert running_address(tmp_path) is None, reason
