"""The whole way behind a real broker while each of its parts is broken once; `benchmarks.kafka_drill` does it for as long as asked."""

from __future__ import annotations

import pytest

from benchmarks.kafka_drill import FAULTS, run


@pytest.mark.real
def test_every_answered_event_is_in_the_warehouse_once_and_in_order(kafka):
    outcome = run(kafka, rounds=len(FAULTS), stop_seconds=4, seed=7)
    assert outcome.ok, outcome
    assert outcome.spooled_most > 0, "the collector answered while the broker was stopped"
