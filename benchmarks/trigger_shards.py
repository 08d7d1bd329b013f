"""Rules in shards: from the receipt of an event to its action in the topic `actions`, as a consumer of committed messages sees it.

`python -m benchmarks.trigger_shards` needs `make install-kafka`. The log's writer and the consumer are this process; one
resolver and `--workers` workers are processes of `gtm trigger run` over a broker of their own. With `--webhooks` the outbox
and `gtm deliver` run, too, and a receiver on loopback says when each message came.
"""

from __future__ import annotations

import argparse
import multiprocessing
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

from benchmarks.delivery import SECRET, receive
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
    parser.add_argument("--webhooks", action="store_true")
    given = parser.parse_args()
    pipe, other = multiprocessing.Pipe()
    multiprocessing.Process(target=receive, args=(other,), daemon=True).start()
    with ExitStack() as stack:
        node = stack.enter_context(running_node())
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        log = stack.enter_context(SqliteEventLog(folder / ".gtm/events.db"))
        _deploy(folder, node.servers, given, pipe.recv())
        topics = ShardTopics(node.servers, "bench", Kafka(partitions=given.shards))
        topics.ensure(given.shards)
        waits: dict[str, float] = {}
        received_us: dict[str, int] = {}
        stop = threading.Event()
        log.append(records(100, 0, machine_clock()))
        processes = [
            _start(folder, "trigger", "run", "--part", "resolver", "--name", "r"),
            *(_start(folder, "trigger", "run", "--part", "worker", "--name", f"w{n}") for n in range(given.workers)),
        ]
        if given.webhooks:
            processes += [_start(folder, "trigger", "run", "--part", "outbox"), _start(folder, "deliver")]
        try:
            while log.committed("trigger_shards") == 0:
                time.sleep(0.1)
            time.sleep(10)  # the group settles
            reader = threading.Thread(target=_read, args=(topics, given.shards, waits, received_us, stop))
            reader.start()
            _write(log, given.rate, given.seconds)
            time.sleep(3)
            stop.set()
            reader.join()
            pipe.send("came")
            came: dict[str, int] = pipe.recv()
            offset_us = machine_clock() - time.monotonic_ns() // 1000
        finally:
            for process in processes:
                process.terminate()
            for process in processes:
                process.wait(60)
            pipe.send("end")
    decided = sorted(waits.values())
    sent = sorted((came[each] // 1000 + offset_us - us) / 1000 for each, us in received_us.items() if each in came)
    webhooks = (
        f"to the webhook p50 {_at(sent, 0.5):.0f} p99 {_at(sent, 0.99):.0f} ({len(sent)}); " if given.webhooks else ""
    )
    cpu = resource.getrusage(resource.RUSAGE_CHILDREN)
    print(
        f"{given.rate} events/s, {given.rules} rules, {given.shards} shards, {given.workers} workers: {len(decided)} actions, "
        f"ms p50 {_at(decided, 0.5):.0f} p95 {_at(decided, 0.95):.0f} p99 {_at(decided, 0.99):.0f} max {_at(decided, 1):.0f}; {webhooks}"
        f"CPU of resolver, workers and broker, starts included: {cpu.ru_utime + cpu.ru_stime:.0f} s; load {os.getloadavg()[0]:.0f}"
    )


def _at(waits: list[float], share: float) -> float:
    return waits[min(int(share * len(waits)), len(waits) - 1)] if waits else float("nan")


def _deploy(folder: Path, servers: str, given: argparse.Namespace, port: int) -> None:
    (folder / "triggers.yaml").write_text(rules_text(given.rules))
    (folder / "gtm.toml").write_text(
        f'triggers_file = "triggers.yaml"\ntrigger_shards = "kafka://{servers}/bench"\n[kafka]\npartitions = {given.shards}\n'
        f'[[destinations]]\nname = "w"\nurl = "http://127.0.0.1:{port}/hook"\nallow = ["127.0.0.0/8"]\n'
        'secret_env = "BENCH_SECRET"\nper_second = 10000.0\nin_flight = 16\n'
    )


def _start(folder: Path, *words: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "gtm_dagster.cli", *words]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path]), "BENCH_SECRET": SECRET}
    return subprocess.Popen(command, cwd=folder, env=environment, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def _write(log: SqliteEventLog, rate: int, seconds: int) -> None:
    began = time.monotonic()
    for number in range(seconds * WRITES_A_SECOND):
        time.sleep(max(0.0, began + number / WRITES_A_SECOND - time.monotonic()))
        log.append(records(rate // WRITES_A_SECOND, number + 1, machine_clock()))


def _read(
    topics: ShardTopics, shards: int, waits: dict[str, float], received_us: dict[str, int], stop: threading.Event
) -> None:
    """By action: ms from the receipt of its event to here, and the receipt."""
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
                waits[action.action_id] = (machine_clock() - action.received_us) / 1000
                received_us[action.action_id] = action.received_us
    consumer.close()


if __name__ == "__main__":
    main()
