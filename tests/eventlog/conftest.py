"""The logs that have one contract: events.db and, where a broker is installed, a topic of a real Kafka."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import pytest

from benchmarks.kafka_node import KafkaNode
from gtm_dagster.eventlog import EventLog

OpenLog = Callable[..., EventLog]
"""Opens one log of the test, the same one each time; `dedup_days` as in settings."""
_numbers = count()


@pytest.fixture
def topic(kafka: KafkaNode) -> str:
    """The address of a topic that does not exist yet."""
    return f"kafka://{kafka.servers}/events-{next(_numbers)}"


@pytest.fixture(params=["sqlite", pytest.param("kafka", marks=pytest.mark.real)])
def open_a_log(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[OpenLog]:
    """Opens the log under test; all that were opened are closed in the end."""
    from gtm_dagster.eventlog import open_log
    from gtm_dagster.settings import load_settings

    environ = {"GTM_STATE_DIR": str(tmp_path)}
    if request.param == "kafka":
        environ["GTM_EVENT_LOG"] = request.getfixturevalue("topic")
        environ["GTM_KAFKA__ACK_SECONDS"] = "20"  # a busy machine: nothing is to be spooled
    opened: list[EventLog] = []

    def open_it(dedup_days: int = 32) -> EventLog:
        opened.append(open_log(load_settings(None, environ | {"GTM_DEDUP_DAYS": str(dedup_days)})))
        return opened[-1]

    yield open_it
    for each in opened:
        each.close()


@pytest.fixture
def log(open_a_log: OpenLog) -> EventLog:
    return open_a_log()
