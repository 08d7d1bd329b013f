"""The functions of the job of Flink: what messages become on their way to a shard, and shards over Flink's keyed state."""

from __future__ import annotations

import logging
import os
import time
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from pyflink.common import Types
from pyflink.datastream import KeyedProcessFunction, MapFunction, RuntimeContext
from pyflink.datastream.state import MapStateDescriptor

from gtm_dagster.triggers.sharded.shard import Shard
from gtm_dagster.triggers.sharded.shard_messages import ShardRecord, decoded_message, decoded_move, encoded, shard_of
from gtm_dagster.triggers.sharded.shard_store import META, person_record

EVENT, MOVE = "event", "move"
INPUT = Types.TUPLE([Types.INT(), Types.STRING(), Types.STRING()])
"""Shard, EVENT or MOVE, message."""
OUTPUT = Types.TUPLE([Types.STRING(), Types.STRING()])
"""`topic` of an Output or "records", message."""
META_SECONDS = 1.0
"""How often a shard says how it stands."""
WORKER = "flink"
"""Its name where a shard says who has it."""


def machine_clock() -> int:
    """Microseconds UTC."""
    return time.time_ns() // 1000


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
    """Keyed by shard. The state of a key is the changelog of its shard, the messages that wait for a move, and the moves that wait.

    Keys of the changelog are kept as text: bytes become an array of Java, which equals no other one, and the state in memory
    would keep every record that was ever put, to be restored in any order.
    """

    def __init__(self, clock: Callable[[], int]) -> None:
        self._clock = clock

    def open(self, runtime_context: RuntimeContext) -> None:
        # PyFlink gives its JVM a pipe for standard error that nobody empties.
        logging.basicConfig(filename=Path(os.environ.get("FLINK_LOG_DIR", ".")) / "rules.log")
        text, number, packed = Types.STRING(), Types.LONG(), Types.PICKLED_BYTE_ARRAY()
        self._changelog = runtime_context.get_map_state(MapStateDescriptor("changelog", text, packed))
        self._waiting = runtime_context.get_map_state(MapStateDescriptor("waiting", number, text))
        self._moves = runtime_context.get_map_state(MapStateDescriptor("moves", number, text))
        self._shards: dict[int, Shard] = {}
        self._queues: dict[int, deque[tuple[int, str]]] = {}
        self._meta_at: dict[int, float] = {}

    def process_element(self, value: tuple[int, str, str], ctx: Any) -> Iterator[tuple[str, str]]:
        number, kind, text = value
        shard, queue = self._shard(number)
        if kind == MOVE:
            move = decoded_move(text)
            shard.take_move(move)
            if move.seq in shard.waiting_moves:
                self._moves.put(move.seq, text)
            self._take_waiting(shard, queue)
        elif queue or not self._take(shard, text):
            queue.append((queue[-1][0] + 1 if queue else 0, text))
            self._waiting.put(*queue[-1])
        changelog, outputs = shard.flush()
        for key, record in changelog.items():
            if record is None:
                self._changelog.remove(key.hex())
                continue
            self._changelog.put(key.hex(), record)
            if self._is_due(number) if key == META else person_record(key, record) is not None:
                yield "records", encoded(ShardRecord(number, key, record)).decode()
        for output in outputs:
            yield output.topic, output.value.decode()

    def _is_due(self, number: int) -> bool:
        """Whether it is time to say how the shard stands."""
        now = time.monotonic()
        if now - self._meta_at.get(number, float("-inf")) < META_SECONDS:
            return False
        self._meta_at[number] = now
        return True

    def _take(self, shard: Shard, text: str) -> bool:
        waiting = shard.waiting_moves
        taken = shard.take(decoded_message(text))
        for seq in waiting - shard.waiting_moves:
            self._moves.remove(seq)
        return taken

    def _take_waiting(self, shard: Shard, queue: deque[tuple[int, str]]) -> None:
        while queue and self._take(shard, queue[0][1]):
            place, _ = queue.popleft()
            self._waiting.remove(place)

    def _shard(self, number: int) -> tuple[Shard, deque[tuple[int, str]]]:
        """The shard of the current key; one that is not in memory is restored from the state."""
        if number not in self._shards:
            shard = Shard(number, self._clock, WORKER)
            shard.restore([(bytes.fromhex(key), record) for key, record in self._changelog.items()])
            for text in self._moves.values():
                shard.take_move(decoded_move(text))
            self._shards[number] = shard
            self._queues[number] = deque(sorted(self._waiting.items()))
        return self._shards[number], self._queues[number]
