"""Metrics of trigger messages: what became of them by destination, how long it took, what waits, is dead or disabled."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from hostile_servers import Receiver, answering, in_turn
from message_cases import SECOND, bench, message, put, webhook
from prometheus_client import CollectorRegistry

from gtm_dagster.delivery.delivery_metrics import MessageBacklog, MessageCounters
from gtm_dagster.monitoring import metrics_text


def samples(registry: CollectorRegistry) -> dict[str, float]:
    lines = metrics_text(registry).decode().splitlines()
    return {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in lines if not line.startswith("#")}


def test_what_became_of_messages_and_what_waits(tmp_path: Path) -> None:
    path, now = tmp_path / "triggers.db", time.time_ns() // 1000
    registry = CollectorRegistry()
    with Receiver(answering(200)) as good, Receiver(in_turn(answering(500), answering(410))) as bad:
        destinations = [webhook("crm", good.url), webhook("bad", bad.url, in_flight=1)]
        registry.register(MessageBacklog(path, destinations))
        assert "gtm_delivery_waiting" not in metrics_text(registry).decode(), "no file, no figures"

        def late(action_id: str, target: str):
            return message(action_id, target=target, decided_us=now - 100 * SECOND, received_us=now - 2 * SECOND, expires_us=now + 10**12)  # fmt: skip

        put(path, late("a1", "crm"), late("b1", "bad"), late("b2", "bad"), late("c1", "gone"))
        found = samples(registry)
        assert (
            found['gtm_delivery_waiting{destination="bad"}'] == 2
            and found['gtm_delivery_waiting{destination="(none)"}'] == 1
        )
        assert found['gtm_delivery_oldest_due_timestamp_seconds{destination="crm"}'] == pytest.approx(now / 1e6 - 100)
        assert 'gtm_delivery_oldest_due_timestamp_seconds{destination="in_app"}' not in found
        counters = MessageCounters(registry, destinations)
        assert samples(registry)['gtm_delivery_attempts_total{destination="crm",outcome="dead"}'] == 0
        with bench(path, destinations, observe=counters.observe) as work:
            work.now_us = now
            work.round()
            work.round()
            work.round()
    found = samples(registry)
    assert found['gtm_delivery_attempts_total{destination="crm",outcome="delivered"}'] == 1
    assert found['gtm_delivery_attempts_total{destination="bad",outcome="failed"}'] == 2
    assert found['gtm_delivery_attempts_total{destination="bad",outcome="dead"}'] == 1
    assert found['gtm_delivery_seconds_bucket{destination="crm",le="1.0"}'] == 0
    assert found['gtm_delivery_seconds_bucket{destination="crm",le="2.5"}'] == 1
    assert found['gtm_delivery_dead{destination="bad"}'] == 1 and found['gtm_delivery_dead{destination="crm"}'] == 0
    assert (found['gtm_delivery_disabled{destination="bad"}'], found['gtm_delivery_disabled{destination="crm"}']) == (
        1,
        0,
    )
