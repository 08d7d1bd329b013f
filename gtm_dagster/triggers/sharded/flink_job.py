"""The shards as a job of Flink: its checkpoints in place of Kafka's transactions, the same `Shard` inside. Runs in PyFlink's environment.

    python -m gtm_dagster.triggers.sharded.flink_job --servers HOST:PORT --prefix gtm --shards 4 --checkpoints DIR --jars DIR

A start goes on from the newest whole checkpoint in DIR. Decisions are by the clock in the messages, so the job has no timers.
Moves between shards go out at once and may come twice after a restart: a shard decides the same again, and takes a move once.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pyflink.common import Configuration, Types, WatermarkStrategy
from pyflink.common.serialization import SimpleStringSchema
from pyflink.datastream import (
    CheckpointingMode,
    DataStream,
    KeyedProcessFunction,
    MapFunction,
    RuntimeContext,
    StreamExecutionEnvironment,
)
from pyflink.datastream.connectors.base import DeliveryGuarantee
from pyflink.datastream.connectors.kafka import (
    KafkaOffsetsInitializer,
    KafkaRecordSerializationSchema,
    KafkaSink,
    KafkaSource,
    KafkaTopicPartition,
)
from pyflink.datastream.state import ListStateDescriptor, MapStateDescriptor

from gtm_dagster.triggers.sharded.shard import Shard
from gtm_dagster.triggers.sharded.shard_messages import decoded_message, decoded_move, shard_of

EVENT, MOVE = "event", "move"
_INPUT = Types.TUPLE([Types.INT(), Types.STRING(), Types.STRING()])
_OUTPUT = Types.TUPLE([Types.STRING(), Types.STRING()])
CHECKPOINT_MS = 1000
TRANSACTION_MS = 600_000


class EventInput(MapFunction):
    """Messages of a partition, as the input of its shard."""

    def __init__(self, shard: int) -> None:
        self._shard = shard

    def map(self, value: str) -> tuple[int, str, str]:
        return self._shard, EVENT, value


class MoveInput(MapFunction):
    """Moves, as inputs of the shards of their users."""

    def __init__(self, shards: int) -> None:
        self._shards = shards

    def map(self, value: str) -> tuple[int, str, str]:
        return shard_of(decoded_move(value).user, self._shards), MOVE, value


class ShardFunction(KeyedProcessFunction):
    """Keyed by shard. The changelog of the shard is the state of its key; what waits for a move waits in a list."""

    def open(self, runtime_context: RuntimeContext) -> None:
        bytes_, text = Types.PICKLED_BYTE_ARRAY(), Types.STRING()
        self._changelog = runtime_context.get_map_state(MapStateDescriptor("changelog", bytes_, bytes_))
        self._waiting = runtime_context.get_list_state(ListStateDescriptor("waiting", text))
        self._moves = runtime_context.get_map_state(MapStateDescriptor("moves", Types.LONG(), text))
        self._shards: dict[int, Shard] = {}
        self._queues: dict[int, list[str]] = {}

    def process_element(self, value: tuple[int, str, str], ctx: Any) -> Iterator[tuple[str, str]]:
        number, kind, text = value
        shard = self._shard(number)
        queue = self._queues[number]
        if kind == MOVE:
            move = decoded_move(text)
            shard.take_move(move)
            if move.seq in shard.waiting_moves:
                self._moves.put(move.seq, text)
            if queue:
                self._drain(shard, queue)
        elif queue or not shard.take(decoded_message(text)):
            queue.append(text)
            self._waiting.add(text)
        changelog, outputs = shard.flush()
        for key, record in changelog.items():
            if record is None:
                self._changelog.remove(key)
            else:
                self._changelog.put(key, record)
        for output in outputs:
            yield output.topic, output.value.decode()

    def _drain(self, shard: Shard, queue: list[str]) -> None:
        taken = 0
        while taken < len(queue) and shard.take(decoded_message(queue[taken])):
            taken += 1
        if taken:
            del queue[:taken]
            self._waiting.clear()
            for text in queue:
                self._waiting.add(text)
            for seq in set(self._moves.keys()) - shard.waiting_moves:
                self._moves.remove(seq)

    def _shard(self, number: int) -> Shard:
        if (shard := self._shards.get(number)) is None:
            shard = self._shards[number] = Shard(number, lambda: 0)
            shard.restore(list(self._changelog.items()))
            for text in list(self._moves.values()):
                shard.take_move(decoded_move(text))
            self._queues[number] = list(self._waiting.get() or ())
        return shard


def main() -> None:
    """Run the job until it is killed."""
    parser = argparse.ArgumentParser(description="Rules in shards as a job of Flink.")
    for name in ("--servers", "--prefix", "--checkpoints", "--jars"):
        parser.add_argument(name, required=True)
    parser.add_argument("--shards", type=int, required=True)
    parser.add_argument("--parallelism", type=int, default=2)
    given = parser.parse_args()
    env = StreamExecutionEnvironment.get_execution_environment(
        _configuration(Path(given.checkpoints), Path(given.jars))
    )
    env.set_parallelism(
        1
    )  # from a partition to its shard messages pass one subtask each: two would not keep their order
    env.enable_checkpointing(CHECKPOINT_MS, CheckpointingMode.EXACTLY_ONCE)
    inputs = _inputs(env, given.servers, given.prefix, given.shards)
    outputs = inputs.key_by(lambda each: each[0], key_type=Types.INT()).process(ShardFunction(), output_type=_OUTPUT)
    outputs = outputs.name("shards").uid("shards").set_parallelism(given.parallelism)
    names = {
        "actions": f"{given.prefix}.actions",
        "nonsends": f"{given.prefix}.nonsends",
        "moved": f"{given.prefix}.state.moved",
    }
    for kind, topic in names.items():
        _publish(outputs, kind, topic, given.servers, given.prefix)
    env.execute(f"{given.prefix} triggers")


def _configuration(checkpoints: Path, jars: Path) -> Configuration:
    found = {
        "python.execution-mode": "thread",
        "pipeline.jars": ";".join(path.absolute().as_uri() for path in sorted(jars.glob("*.jar"))),
        "execution.checkpointing.dir": checkpoints.absolute().as_uri(),
        "execution.checkpointing.externalized-checkpoint-retention": "RETAIN_ON_CANCELLATION",
        "execution.checkpointing.num-retained": "3",
    }
    if (newest := newest_checkpoint(checkpoints)) is not None:
        found["execution.state-recovery.path"] = newest.absolute().as_uri()
    configuration = Configuration()
    for name, value in found.items():
        configuration.set_string(name, value)
    return configuration


def newest_checkpoint(folder: Path) -> Path | None:
    """The newest whole checkpoint below `folder`; one without its metadata was not finished."""
    whole = [path.parent for path in folder.glob("*/chk-*/_metadata")]
    return max(whole, key=lambda path: (path / "_metadata").stat().st_mtime_ns, default=None)


def _inputs(env: StreamExecutionEnvironment, servers: str, prefix: str, shards: int) -> DataStream:
    """(shard, kind, message): one source for each partition of events, since a message does not name its own; one of moves."""
    topic = f"{prefix}.events.by_person"
    moves = _source(env, servers, f"{prefix}.state.moved", None, "read_uncommitted")
    streams = [moves.map(MoveInput(shards), output_type=_INPUT)]
    for shard in range(shards):
        events = _source(env, servers, topic, shard, "read_committed")
        streams.append(events.map(EventInput(shard), output_type=_INPUT))
    return streams[0].union(*streams[1:])


def _source(
    env: StreamExecutionEnvironment, servers: str, topic: str, partition: int | None, isolation: str
) -> DataStream:
    builder = KafkaSource.builder().set_bootstrap_servers(servers).set_value_only_deserializer(SimpleStringSchema())
    builder.set_starting_offsets(KafkaOffsetsInitializer.earliest()).set_property("isolation.level", isolation)
    name = topic
    if partition is None:
        builder.set_topics(topic)
    else:
        builder.set_partitions({KafkaTopicPartition(topic, partition)})
        name = f"{topic}.{partition}"
    return env.from_source(builder.build(), WatermarkStrategy.no_watermarks(), f"from {name}").uid(f"from.{name}")


def _publish(outputs: DataStream, kind: str, topic: str, servers: str, prefix: str) -> None:
    serializer = (
        KafkaRecordSerializationSchema.builder()
        .set_topic(topic)
        .set_value_serialization_schema(SimpleStringSchema())
        .build()
    )
    builder = KafkaSink.builder().set_bootstrap_servers(servers).set_record_serializer(serializer)
    if kind == "moved":
        builder.set_delivery_guarantee(DeliveryGuarantee.AT_LEAST_ONCE).set_property("linger.ms", "0")
    else:
        builder.set_delivery_guarantee(DeliveryGuarantee.EXACTLY_ONCE).set_transactional_id_prefix(
            f"{prefix}.flink.{kind}"
        )
        builder.set_property("transaction.timeout.ms", str(TRANSACTION_MS))
    text = outputs.filter(lambda each: each[0] == kind).map(lambda each: each[1], output_type=Types.STRING())
    text.sink_to(builder.build()).name(f"to {topic}").uid(f"to.{topic}")


if __name__ == "__main__":
    # Functions of `__main__` would be pickled with all they name, which decoders do not allow; those of a module by its name.
    from gtm_dagster.triggers.sharded import flink_job

    flink_job.main()
