"""One trace in memory, in `gtm stream`'s own runner, and over Kafka with two workers of which one is killed: the same words."""

from __future__ import annotations

from collections import Counter
from contextlib import ExitStack
from itertools import groupby
from pathlib import Path

import pytest
from live_cases import LiveCase, record
from recorded_trace import END, RULES, in_memory, trace, words
from shard_processes import Published, TraceFeed, worker

from benchmarks.kafka_node import KafkaNode
from gtm_dagster.triggers.sharded.shard_topics import ShardTopics
from gtm_dagster.triggers.trigger_event import TriggerEvent

pytestmark = pytest.mark.real
SHARDS = 4


def test_live_file_decides_what_memory_decides(tmp_path: Path) -> None:
    entries = trace(11)
    live = LiveCase(tmp_path, RULES)
    for number, (is_beat, group) in enumerate(groupby(entries, lambda entry: isinstance(entry, int))):
        if is_beat:
            for at_us in group:
                live.heartbeat(at_us)  # type: ignore[arg-type]
        else:
            batch: list[TriggerEvent] = list(group)  # type: ignore[arg-type]
            live.advance(batch[0].received_us - 1)
            live.log.append([record(event) for event in batch])
            live.now_us = batch[0].received_us  # what is older than the newest record is not behind
            live.work()
        if number % 300 == 299:
            live.restart()
    live.advance(END)
    live.close()
    assert words(live.outcomes) == words(in_memory(entries).outcomes)


def test_two_workers_of_which_one_is_killed_decide_what_memory_decides(kafka: KafkaNode, tmp_path: Path) -> None:
    entries = trace(11)
    expected = words(in_memory(entries).outcomes)
    topics = ShardTopics(kafka.servers, "trace")
    assert topics.ensure(SHARDS) == SHARDS
    assert topics.ensure(SHARDS + 1) == SHARDS, "topics that are there stay as they are"
    published = Published(topics, SHARDS)
    feed = TraceFeed(topics, tmp_path, SHARDS)
    with ExitStack() as running:
        running.enter_context(worker(topics, "a"))
        other = worker(topics, "b")
        killed = other.__enter__()
        third = len(entries) // 3
        feed.give(entries[:third])
        published.wait_for(100, 60)
        feed.restart()
        feed.give(entries[third : 2 * third])
        published.wait_for(sum(published.words.values()) + 10, 60)
        killed.kill()
        other.__exit__(None, None, None)
        running.enter_context(worker(topics, "b"))
        feed.give(entries[2 * third :])
        feed.end()
        published.wait_for(sum(expected.values()), 60)
        published.look(1.0)
    feed.close()
    published.close()
    assert published.words - expected == Counter() == expected - published.words
    assert max(published.words.values()) == 1, "each word once"
