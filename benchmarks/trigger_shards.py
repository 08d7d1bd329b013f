"""Rules in shards: from the receipt of an event to its action in the topic `actions`, as a consumer of committed messages sees it.

`python -m benchmarks.trigger_shards` needs `make install-kafka`. The log's writer and the consumer are this process; one
resolver and `--workers` workers are processes of `gtm trigger run` over a broker of their own.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import msgspec

from benchmarks.kafka_node import ROOT, running_node
from benchmarks.triggers import records, rules_text
from gtm_dagster.eventlog.sqlite import SqliteEventLog
from gtm_dagster.settings.broker import Kafka
from gtm_dagster.triggers.live_runner import machine_clock
from gtm_dagster.triggers.sharded.shard_journal import ShardAction
from gtm_dagster.triggers.sharded.shard_topics import ShardTopics

WRITES_A_SECOND = 50
_action = msgspec.json.Decoder(ShardAction).decode


def main() -> None:
    """Print one row of the table of docs/benchmarks.md."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name, default in (("rate", 500), ("seconds", 30), ("rules", 20), ("shards", 4), ("workers", 2)):
        parser.add_argument(f"--{name}", type=int, default=default)
    given = parser.parse_args()
    with ExitStack() as stack:
        node = stack.enter_context(running_node())
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        log = stack.enter_context(SqliteEventLog(folder / ".gtm/events.db"))
        _deploy(folder, node.servers, given)
        topics = ShardTopics(node.servers, "bench", Kafka(partitions=given.shards))
        topics.ensure(given.shards)
        waits: list[float] = []
        stop = threading.Event()
        log.append(records(100, 0, machine_clock()))
        processes = [
            _start(folder, "resolver", "r"),
            *(_start(folder, "worker", f"w{n}") for n in range(given.workers)),
        ]
        try:
            while log.committed("trigger_shards") == 0:
                time.sleep(0.1)
            time.sleep(10)  # the group settles
            reader = threading.Thread(target=_read, args=(topics, given.shards, waits, stop))
            reader.start()
            _write(log, given.rate, given.seconds)
            time.sleep(3)
            stop.set()
            reader.join()
        finally:
            for process in processes:
                process.terminate()
            for process in processes:
                process.wait(60)
    waits.sort()
    cpu = resource.getrusage(resource.RUSAGE_CHILDREN)
    print(
        f"{given.rate} events/s, {given.rules} rules, {given.shards} shards, {given.workers} workers: {len(waits)} actions, "
        f"ms p50 {_at(waits, 0.5):.0f} p95 {_at(waits, 0.95):.0f} p99 {_at(waits, 0.99):.0f} max {_at(waits, 1):.0f}; "
        f"CPU of resolver, workers and broker, starts included: {cpu.ru_utime + cpu.ru_stime:.0f} s; load {os.getloadavg()[0]:.0f}"
    )


def _at(waits: list[float], share: float) -> float:
    return waits[min(int(share * len(waits)), len(waits) - 1)] if waits else float("nan")


def _deploy(folder: Path, servers: str, given: argparse.Namespace) -> None:
    (folder / "triggers.yaml").write_text(rules_text(given.rules))
    (folder / "gtm.toml").write_text(
        f'triggers_file = "triggers.yaml"\ntrigger_shards = "kafka://{servers}/bench"\n[kafka]\npartitions = {given.shards}\n'
        '[[destinations]]\nname = "w"\nurl = "https://w.example/hook"\n'
    )


def _start(folder: Path, part: str, name: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "gtm_dagster.cli", "trigger", "run", "--part", part, "--name", name]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])}
    return subprocess.Popen(command, cwd=folder, env=environment, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def _write(log: SqliteEventLog, rate: int, seconds: int) -> None:
    began = time.monotonic()
    for number in range(seconds * WRITES_A_SECOND):
        time.sleep(max(0.0, began + number / WRITES_A_SECOND - time.monotonic()))
        log.append(records(rate // WRITES_A_SECOND, number + 1, machine_clock()))


def _read(topics: ShardTopics, shards: int, waits: list[float], stop: threading.Event) -> None:
    from confluent_kafka import TopicPartition

    consumer: Any = topics.client(
        "Consumer", group_id="bench", enable_auto_commit=False, isolation_level="read_committed", fetch_wait_max_ms=10
    )
    consumer.assign([TopicPartition(topics.actions, shard, 0) for shard in range(shards)])
    while not stop.is_set():
        message = consumer.poll(0.1)
        if message is not None and message.error() is None:
            action = _action(message.value())
            if int(action.rule[1:]) % 3 != 1:  # of absences a timer decides
                waits.append((machine_clock() - action.received_us) / 1000)
    consumer.close()


if __name__ == "__main__":
    main()
