"""The trace of the other runners as a job of Flink that is killed and goes on from its last checkpoint: the same words, each once."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from flink_install import FLINK, JVM, need_flink
from kafka_broker import start_kafka
from recorded_trace import in_memory, trace, words
from shard_processes import ROOT, Published, TraceFeed

from gtm_dagster.triggers.sharded.shard_topics import ShardTopics

pytestmark = pytest.mark.real
SHARDS = 4
JOB = """
from gtm_dagster.triggers.sharded import flink_job
def stands_still():
    return 0
flink_job.main(stands_still)
"""


@contextmanager
def job(topics: ShardTopics, folder: Path) -> Iterator[None]:
    """The job with its JVM; kill -9 ends both."""
    command = [
        str(FLINK / "venv/bin/python"), "-c", JOB, "--servers", topics.servers, "--prefix", topics.prefix, "--shards", str(SHARDS),
        "--checkpoints", str(folder / "checkpoints"), "--jars", str(FLINK / "jars"), "--parallelism", "2",
        "--set", "execution.checkpointing.interval=200 ms",
    ]  # fmt: skip
    environment = {
        **os.environ,
        "PATH": f"{FLINK}/venv/bin:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "JAVA_TOOL_OPTIONS": JVM,
        "FLINK_LOG_DIR": str(folder),
    }
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
    need_flink()
    entries = trace(11)
    expected = words(in_memory(entries).outcomes)
    with start_kafka() as node:
        topics = ShardTopics(node.servers, "flink")
        topics.ensure(SHARDS)
        feed, published = TraceFeed(topics, tmp_path, SHARDS), Published(topics, SHARDS)
        half = len(entries) // 2
        with job(topics, tmp_path):
            feed.give(entries[:half])
            published.wait_for(100, 240)
            feed.give(entries[half:])
        assert sum(published.words.values()) < sum(expected.values()), "it was killed in the middle"
        feed.end()
        with job(topics, tmp_path):
            published.wait_for(sum(expected.values()), 240)
            published.look(3.0)
        published.close()
        feed.close()
    assert published.words == expected
    assert max(published.words.values()) == 1, "each word once"
