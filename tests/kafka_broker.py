"""A real Kafka for tests."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from benchmarks.kafka_node import INSTALLED, KafkaNode, running_node


@contextmanager
def start_kafka() -> Iterator[KafkaNode]:
    """A fresh broker that ends with the block. Skips when Kafka or its client is not installed."""
    pytest.importorskip("confluent_kafka", reason="the client of Kafka is not installed: run make setup-dev")
    if not INSTALLED.exists():
        pytest.skip("Kafka is not installed: run make install-kafka (make test-real does)")
    with running_node() as node:
        yield node
