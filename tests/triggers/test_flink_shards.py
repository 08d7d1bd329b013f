"""The trace of the other runners as a job of Flink that is killed and goes on from its last checkpoint: the same set of words."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from kafka_broker import start_kafka
from recorded_trace import in_memory, trace, words
from shard_processes import ROOT, Published, TraceFeed

from gtm_dagster.triggers.sharded.shard_topics import ShardTopics

pytestmark = pytest.mark.real
FLINK = ROOT / ".cache/flink"
SHARDS = 4


@contextmanager
def job(topics: ShardTopics, folder: Path) -> Iterator[None]:
    """The job with its JVM; kill -9 ends both."""
    command = [
        str(FLINK / "venv/bin/python"), "-m", "gtm_dagster.triggers.sharded.flink_job", "--servers", topics.servers,
        "--prefix", topics.prefix, "--shards", str(SHARDS), "--checkpoints", str(folder / "checkpoints"), "--jars", str(FLINK / "jars"),
    ]  # fmt: skip
    environment = {**os.environ, "PATH": f"{FLINK}/venv/bin:{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}
    with (folder / "job.log").open("ab") as log:
        process = subprocess.Popen(
            command,
            env=environment,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        yield
        assert process.poll() is None, (folder / "job.log").read_text()[-3000:]
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(30)


def test_a_job_that_is_killed_decides_what_memory_decides(tmp_path: Path) -> None:
    if not (FLINK / "installed").exists():
        pytest.skip("PyFlink is not installed: run make install-flink (850 MB; make test-real does not)")
    entries = trace(11)
    expected = words(in_memory(entries).outcomes)
    with start_kafka() as node:
        topics = ShardTopics(node.servers, "flink")
        topics.ensure(SHARDS)
        feed, published = TraceFeed(topics, tmp_path, SHARDS), Published(topics, SHARDS)
        with job(topics, tmp_path):
            feed.give(entries[: len(entries) // 2])
            published.wait_for(100, 90)
            feed.give(entries[len(entries) // 2 :])
        assert sum(published.words.values()) < sum(expected.values()), "it was killed in the middle"
        feed.end()
        with job(topics, tmp_path):
            published.wait_for_distinct(len(expected), 120)
            published.look(3.0)
        published.close()
        feed.close()
    assert set(published.words) == set(expected), "some may come twice after a restart, none other than in memory"
