"""A worker whose ops store was deleted or replaced says so and ends: what it counted on would be lost without a word."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from stream_cases import NOON, C, Deployment, exposure

from gtm_dagster.opsstore import OpsStore, OpsStoreReplacedError


def delete(path: Path) -> None:
    for part in path.parent.glob("ops.db*"):
        part.unlink()


def replace(path: Path) -> None:
    other = path.with_name("other.db")
    shutil.copy(path, other)
    other.replace(path)


CASES = [(delete, "was deleted"), (replace, "was replaced by another file")]
IDS = ["deleted", "replaced"]


@pytest.mark.parametrize(("harm", "words"), CASES, ids=IDS)
def test_the_worker_ends_and_names_file_and_way_out(tmp_path, harm, words):
    here = Deployment(tmp_path)
    here.count([exposure("ana", C, NOON)])
    worker = here.worker()
    harm(tmp_path / "ops.db")
    with pytest.raises(OpsStoreReplacedError, match=f"ops.db: the ops store {words} while it was open; stop what"):
        worker.run(threading.Event())
    here.close()


@pytest.mark.parametrize(("harm", "words"), CASES, ids=IDS)
def test_nobody_writes_into_a_file_that_nobody_reads(tmp_path, harm, words):
    path = tmp_path / "ops.db"
    with OpsStore(f"sqlite:///{path}") as store:
        store.enqueue("n1", "e1", "webhook[0]", "{}", 1)
        harm(path)
        with pytest.raises(OpsStoreReplacedError, match=words):
            store.enqueue("n2", "e1", "webhook[0]", "{}", 1)
        with pytest.raises(OpsStoreReplacedError, match=words):
            store.notifications()
    with OpsStore(f"sqlite:///{path}") as store:
        assert store.enqueue("n2", "e1", "webhook[0]", "{}", 1), "opened again, it works"


@pytest.mark.slow
def test_gtm_stream_ends_with_an_error_so_that_its_supervisor_starts_it_again(tmp_path):
    environment = {**os.environ, "GTM_STATE_DIR": str(tmp_path)}
    process = subprocess.Popen(
        [sys.executable, "-m", "gtm_dagster.cli", "stream"],
        env=environment, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        for line in process.stderr:
            if line.startswith("stream: "):
                break
        delete(tmp_path / "ops.db")
        _, errors = process.communicate(timeout=60)
        assert process.returncode == 1, errors
        assert re.search("the ops store was (deleted|replaced by another file) while it was open", errors), errors
        assert "Traceback" not in errors
    finally:
        if process.poll() is None:
            os.kill(process.pid, signal.SIGKILL)
            process.communicate()
