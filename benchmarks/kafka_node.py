"""A Kafka of one's own on free loopback ports, that can be stopped, killed and started again. Installed by scripts/install-kafka."""

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

ROOT = Path(__file__).parents[1]
START_SECONDS, STOP_SECONDS = 120, 30
INSTALLED = ROOT / ".cache/kafka/installed"


class KafkaNode:
    """One broker on loopback at `servers`, its data in `folder`; it keeps both while it is killed and started again."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._port = _two_free_ports()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def servers(self) -> str:
        return f"127.0.0.1:{self._port}"

    def start(self, *, wait: bool = True) -> None:
        """Start it; `wait` until it answers."""
        self._process = subprocess.Popen(
            [str(ROOT / "scripts/start-kafka"), str(self.folder), str(self._port)], stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
        until = time.monotonic() + START_SECONDS
        while wait and not self.answers():
            assert self._process.poll() is None, (self.folder / "kafka.log").read_text()[-2000:]
            assert time.monotonic() < until, "Kafka does not answer"

    def answers(self) -> bool:
        from confluent_kafka import KafkaException
        from confluent_kafka.admin import AdminClient

        try:
            admin = AdminClient({"bootstrap.servers": self.servers, "log_level": 0, "socket.timeout.ms": 1000})
            return bool(admin.list_topics(timeout=1).brokers)
        except KafkaException:
            return False

    def signal(self, number: signal.Signals) -> None:
        """SIGSTOP and SIGCONT, or SIGKILL: the broker is one process, scripts/start-kafka becomes it.

        After SIGSTOP none of its threads runs any more: on a busy machine some go on answering for a while.
        """
        assert self._process is not None
        os.kill(self._process.pid, number)
        threads = Path(f"/proc/{self._process.pid}/task")
        until = time.monotonic() + STOP_SECONDS
        while number == signal.SIGSTOP and not all(map(_stands_still, threads.glob("*/stat"))):
            assert time.monotonic() < until, "Kafka does not stop"
            time.sleep(0.005)

    def kill(self) -> None:
        """kill -9, whatever it does."""
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait(30)


def _stands_still(stat: Path) -> bool:
    try:
        return stat.read_text().rpartition(")")[2].split()[0] in "TtZX"
    except FileNotFoundError:
        return True  # this thread has ended


@contextmanager
def running_node() -> Iterator[KafkaNode]:
    """A fresh broker with its data in a temporary folder; it ends with the block."""
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
