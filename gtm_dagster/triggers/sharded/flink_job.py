"""The shards as a job of Flink: its checkpoints in place of Kafka's transactions, the same `Shard` inside. Runs in PyFlink's environment.

    python -m gtm_dagster.triggers.sharded.flink_job --servers HOST:PORT --prefix gtm --shards 4 --checkpoints DIR --jars DIR

A start goes on from the newest whole checkpoint in DIR. Decisions are by the clock in the messages, so the job has no timers.
Everything that leaves a shard, moves to other shards too, is committed with the checkpoint that has the state it came from.
"""

from __future__ import annotations

import argparse
import fcntl
import os
import shutil
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pyflink.common import Configuration, Types, WatermarkStrategy
from pyflink.common.serialization import SimpleStringSchema
from pyflink.datastream import CheckpointingMode, DataStream, StreamExecutionEnvironment
from pyflink.datastream.connectors.base import DeliveryGuarantee
from pyflink.datastream.connectors.kafka import (
    KafkaOffsetsInitializer,
    KafkaRecordSerializationSchema,
    KafkaSink,
    KafkaSource,
    KafkaTopicPartition,
)
from pyflink.java_gateway import get_gateway

from gtm_dagster.triggers.sharded.flink_shards import INPUT, OUTPUT, EventInput, MoveInput, ShardFunction, machine_clock

CHECKPOINT_MS = 500
TRANSACTION_MS = 600_000
"""Longer than a restart takes: what a checkpoint has is committed by the job that goes on from it. The broker allows 15 minutes."""
OUTPUTS = {
    "actions": "actions",
    "nonsends": "nonsends",
    "starts": "starts",
    "moved": "state.moved",
    "records": "records",
}
"""Topics by what a shard puts out, behind the prefix."""


def main(clock: Callable[[], int] = machine_clock) -> None:
    """Run the job until it is killed. `clock`: microseconds UTC, by which a shard sees that it is behind."""
    parser = argparse.ArgumentParser(description="Rules in shards as a job of Flink.")
    for name in ("--servers", "--prefix", "--checkpoints", "--jars"):
        parser.add_argument(name, required=True)
    parser.add_argument("--shards", type=int, required=True)
    parser.add_argument("--parallelism", type=int, default=1)
    parser.add_argument("--set", action="append", default=[], type=_setting, metavar="KEY=VALUE", help="of Flink")
    parser.add_argument("--while-stdin", action="store_true", help="end when standard input does")
    given = parser.parse_args()
    if given.while_stdin:
        threading.Thread(target=_end_with_stdin, daemon=True).start()
    checkpoints = Path(given.checkpoints)
    checkpoints.mkdir(parents=True, exist_ok=True)
    with (checkpoints / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            parser.error(f"--checkpoints {checkpoints}: another job runs on them")
        _run(given, clock)


def _setting(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals:
        raise argparse.ArgumentTypeError(f"{text!r}: give KEY=VALUE")
    return name, value


def _end_with_stdin() -> None:
    sys.stdin.buffer.read()
    os._exit(1)


def _run(given: argparse.Namespace, clock: Callable[[], int]) -> None:
    configuration = _configured(Path(given.checkpoints), Path(given.jars), dict(given.set))
    env = StreamExecutionEnvironment.get_execution_environment(configuration)
    env.get_checkpoint_config().set_checkpointing_mode(CheckpointingMode.EXACTLY_ONCE)
    # From a partition to its shard messages pass one subtask each: two would not keep their order.
    env.set_parallelism(1)
    inputs = _inputs(env, given.servers, given.prefix, given.shards)
    shards = inputs.key_by(lambda each: each[0], key_type=Types.INT()).process(ShardFunction(clock), output_type=OUTPUT)
    shards = shards.name("shards").uid("shards").set_parallelism(given.parallelism)
    for kind, topic in OUTPUTS.items():
        _publish(shards, kind, f"{given.prefix}.{topic}", given.servers, f"{given.prefix}.flink.{kind}")
    env.execute(f"{given.prefix} triggers")


def _configured(checkpoints: Path, jars: Path, own: dict[str, str]) -> Configuration:
    """Settings of Flink, `own` last; with the newest whole checkpoint, if there is one. What older jobs left is removed."""
    found = {
        "python.execution-mode": "thread",
        "pipeline.jars": ";".join(path.absolute().as_uri() for path in sorted(jars.glob("*.jar"))),
        "execution.checkpointing.interval": f"{CHECKPOINT_MS} ms",
        "execution.checkpointing.dir": checkpoints.absolute().as_uri(),
        "execution.checkpointing.externalized-checkpoint-retention": "RETAIN_ON_CANCELLATION",
        "execution.checkpointing.num-retained": "3",
    }
    if (newest := _newest_checkpoint(checkpoints)) is not None:
        for job in checkpoints.iterdir():
            if job.is_dir() and job != newest.parent:
                shutil.rmtree(job)
        found["execution.state-recovery.path"] = newest.absolute().as_uri()
    configuration = Configuration()
    for name, value in {**found, **own}.items():
        configuration.set_string(name, value)
    return configuration


def _newest_checkpoint(folder: Path) -> Path | None:
    """The newest whole checkpoint below `folder`; one without its metadata was not finished."""
    whole = [path.parent for path in folder.glob("*/chk-*/_metadata")]
    return max(whole, key=lambda path: (path / "_metadata").stat().st_mtime_ns, default=None)


def _inputs(env: StreamExecutionEnvironment, servers: str, prefix: str, shards: int) -> DataStream:
    """(shard, kind, message): one source for each partition of events, since a message does not name its own; one of moves."""
    topic = f"{prefix}.events.by_person"
    moves = _source(env, servers, prefix, f"{prefix}.state.moved", None)
    streams = [moves.map(MoveInput(shards), output_type=INPUT)]
    for shard in range(shards):
        events = _source(env, servers, prefix, topic, shard)
        streams.append(events.map(EventInput(shard), output_type=INPUT))
    return streams[0].union(*streams[1:])


def _source(
    env: StreamExecutionEnvironment, servers: str, prefix: str, topic: str, partition: int | None
) -> DataStream:
    builder = KafkaSource.builder().set_bootstrap_servers(servers).set_value_only_deserializer(SimpleStringSchema())
    builder.set_starting_offsets(KafkaOffsetsInitializer.earliest()).set_group_id(f"{prefix}.flink")
    builder.set_property("isolation.level", "read_committed")
    name = topic
    if partition is None:
        builder.set_topics(topic)
    else:
        builder.set_partitions({KafkaTopicPartition(topic, partition)})
        name = f"{topic}.{partition}"
    return env.from_source(builder.build(), WatermarkStrategy.no_watermarks(), f"from {name}").uid(f"from.{name}")


def _publish(outputs: DataStream, kind: str, topic: str, servers: str, transactional_id: str) -> None:
    serializer = KafkaRecordSerializationSchema.builder().set_topic(topic)
    serializer = serializer.set_value_serialization_schema(SimpleStringSchema()).build()
    builder = KafkaSink.builder().set_bootstrap_servers(servers).set_record_serializer(serializer)
    builder.set_delivery_guarantee(DeliveryGuarantee.EXACTLY_ONCE).set_transactional_id_prefix(transactional_id)
    builder.set_property("transaction.timeout.ms", str(TRANSACTION_MS))
    _reuse_transactional_ids(builder)
    text = outputs.filter(lambda each: each[0] == kind).map(lambda each: each[1], output_type=Types.STRING())
    text.sink_to(builder.build()).name(f"to {topic}").uid(f"to.{topic}")


def _reuse_transactional_ids(builder: Any) -> None:
    """A new id for each checkpoint, the sink's default, stays in the broker's memory for a week. PyFlink has no name for this."""
    sink = get_gateway().jvm.org.apache.flink.connector.kafka.sink
    builder._j_builder.setTransactionNamingStrategy(sink.TransactionNamingStrategy.POOLING)


if __name__ == "__main__":
    # Functions of `__main__` would be pickled with all they name, which decoders do not allow; those of a module by its name.
    from gtm_dagster.triggers.sharded import flink_job

    flink_job.main()
