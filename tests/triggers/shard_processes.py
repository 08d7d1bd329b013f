"""Workers of the shards as processes that a test can kill, what they publish, and the trace as the resolver writes it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
from recorded_trace import END, RULES, Entry, Word
from trigger_cases import plan

from gtm_dagster.delivery.message_outbox import Message as OutboxMessage
from gtm_dagster.eventlog import Position
from gtm_dagster.eventlog.sqlite import SqliteEventLog
from gtm_dagster.triggers.sharded.resolver_process import ResolverProcess
from gtm_dagster.triggers.sharded.shard_journal import Refused
from gtm_dagster.triggers.sharded.shard_messages import Clock, Heard, RuleSet
from gtm_dagster.triggers.sharded.shard_topics import ShardTopics

CANCELLING = {event for rule in RULES for event in rule.cancelling}
ROOT = Path(__file__).parents[2]
WORKER = """
import sys
from gtm_dagster.triggers.sharded.shard_topics import ShardTopics
from gtm_dagster.triggers.sharded.shard_worker import ShardWorker
worker = ShardWorker(ShardTopics(*sys.argv[1:3]), sys.argv[3], clock=lambda: 0, session_seconds=6)
print("ready", flush=True)
while True:
    worker.round()
"""


@contextmanager
def worker(topics: ShardTopics, name: str) -> Iterator[subprocess.Popen[bytes]]:
    """A worker on a clock that stands still, so that nothing is ever behind; kill -9 ends it."""
    process = subprocess.Popen(
        [sys.executable, "-c", WORKER, topics.servers, topics.prefix, name], stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL, env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])}, cwd=ROOT,
    )  # fmt: skip
    try:
        yield process
    finally:
        process.kill()
        process.wait(30)


class TraceFeed:
    """A resolver that is given the trace by pieces, and is another one from time to time."""

    def __init__(self, topics: ShardTopics, folder: Path, shards: int) -> None:
        self.topics, self.shards = topics, shards
        self.log = SqliteEventLog(folder / "events.db")
        self.seq = 0
        self.resolver = self._new()
        self._send([RuleSet(RULES)])

    def _new(self) -> ResolverProcess:
        class Rules:
            rules, plan, error = RULES, plan(), None

            def look(self) -> None:
                pass

        return ResolverProcess(self.log, self.topics, Rules(), self.shards, clock=lambda: 0)  # type: ignore[arg-type]

    def give(self, entries: Sequence[Entry], at_once: int = 100) -> None:
        """The next entries of the trace, as whole transactions."""
        for begin in range(0, len(entries), at_once):
            self._send(list(entries[begin : begin + at_once]))

    def restart(self) -> None:
        """Another process of the resolver: it restores itself, and the first one is fenced."""
        self.resolver = self._new()

    def end(self) -> None:
        """The time until nothing is open."""
        self._send([Clock(END, at_end=True)])

    def _send(self, entries: Sequence[Entry | RuleSet | Clock]) -> None:
        pure, messages = self.resolver._resolver, []
        for entry in entries:
            if isinstance(entry, int):
                messages += pure.to_all(Heard("", entry))
            elif isinstance(entry, RuleSet | Clock):
                messages += pure.to_all(entry)
            else:
                self.seq += 1
                messages += pure.take(self.seq, entry, CANCELLING)
        self.resolver.write(messages, Position(self.log.log_id, 0))

    def close(self) -> None:
        self.log.close()


class Published:
    """What stands in `actions` and `nonsends`, committed."""

    def __init__(self, topics: ShardTopics, shards: int) -> None:
        from confluent_kafka import TopicPartition

        self.words: Counter[Word] = Counter()
        self.seconds: list[float] = []
        self._topics = topics
        self._consumer: Any = topics.client(
            "Consumer", group_id="test", enable_auto_commit=False, isolation_level="read_committed"
        )
        names = (topics.actions, topics.nonsends)
        self._consumer.assign([TopicPartition(name, shard, 0) for name in names for shard in range(shards)])

    def wait_for(self, n: int, seconds: float) -> None:
        """Until `n` words are published; fails after `seconds`."""
        until = time.monotonic() + seconds
        while sum(self.words.values()) < n and self.look():
            assert time.monotonic() < until, f"{sum(self.words.values())} of {n} words after {seconds} s"

    def look(self, timeout: float = 0.2) -> bool:
        """Take what is there now."""
        for message in self._consumer.consume(1000, timeout=timeout):
            assert message.error() is None, message.error()
            if message.topic() == self._topics.actions:
                action = msgspec.json.decode(message.value(), type=OutboxMessage)
                self.words[action.rule, str(action.payload["event"]["id"]), action.action_id] += 1
            else:
                refused = msgspec.json.decode(message.value(), type=Refused)
                self.words[refused.rule, refused.trigger_event_id, refused.reason] += 1
        return True

    def close(self) -> None:
        self._consumer.close()
