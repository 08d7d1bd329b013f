"""A Kafka of one's own on free loopback ports, for tests. Installed by scripts/install-kafka."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from postgres_server import ROOT

START_SECONDS = 60


class KafkaNode:
    """One broker on loopback; `servers` is its address. It keeps its port and data while it is killed and started again."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._port = _two_free_ports()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def servers(self) -> str:
        return f"127.0.0.1:{self._port}"

    def start(self, *, wait: bool = True) -> None:
        """Start it; `wait` until it answers."""
        self._process = subprocess.Popen(
            [str(ROOT / "scripts/start-kafka"), str(self._folder), str(self._port)], stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
        until = time.monotonic() + START_SECONDS
        while wait and not self.answers():
            assert self._process.poll() is None, (self._folder / "kafka.log").read_text()[-2000:]
            assert time.monotonic() < until, "Kafka does not answer"

    def answers(self) -> bool:
        from confluent_kafka import KafkaException
        from confluent_kafka.admin import AdminClient

        try:
            admin = AdminClient({"bootstrap.servers": self.servers, "logger": _quiet(), "socket.timeout.ms": 1000})
            return bool(admin.list_topics(timeout=1).brokers)
        except KafkaException:
            return False

    def signal(self, number: signal.Signals) -> None:
        """SIGSTOP and SIGCONT, or SIGKILL: the broker is one process, scripts/start-kafka becomes it."""
        assert self._process is not None
        os.kill(self._process.pid, number)

    def kill(self) -> None:
        """kill -9, whatever it does."""
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait(30)


@contextmanager
def start_kafka() -> Iterator[KafkaNode]:
    """A fresh broker that ends with the block. Skips when Kafka or its client is not installed."""
    pytest.importorskip("confluent_kafka", reason="the client of Kafka is not installed: run make setup-dev")
    if not (ROOT / ".cache/kafka/installed").exists():
        pytest.skip("Kafka is not installed: run make install-kafka (make test-real does)")
    folder = Path(tempfile.mkdtemp(prefix="gtm-kafka-"))
    node = KafkaNode(folder)
    try:
        node.start()
        yield node
    finally:
        node.kill()
        shutil.rmtree(folder, ignore_errors=True)


def _two_free_ports() -> int:
    """A free port with a free one above it, below those that the system gives to clients."""
    for port in range(21_000 + os.getpid() % 5_000, 32_000, 2):
        try:
            with socket.socket() as one, socket.socket() as two:
                one.bind(("127.0.0.1", port))
                two.bind(("127.0.0.1", port + 1))
                return port
        except OSError:
            continue
    raise AssertionError("no free ports")


def _quiet() -> object:
    import logging

    logger = logging.getLogger("tests.kafka")
    logger.setLevel(logging.CRITICAL)
    return logger
