"""The worker on PostgreSQL counts as it does on SQLite, and two at once do not both count."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from postgres_server import start_postgres
from stream_cases import GUARD, KEY, NOON, Deployment, exposure, record, reference, traffic

from gtm_dagster.opsstore import OpsStore, OpsStoreError
from gtm_dagster.settings import GuardMetric

pytestmark = pytest.mark.real


@pytest.fixture
def here(tmp_path: Path) -> Iterator[Deployment]:
    with start_postgres() as address:
        deployment = Deployment(tmp_path, armed_us=None)
        deployment.store.close()
        deployment.store = OpsStore(address.replace("postgresql://", "postgresql+psycopg://"))
        deployment.arm(NOON)
        yield deployment
        deployment.close()


def test_counts_on_postgresql(here):
    records = traffic(11)[::-1]
    for at in range(0, len(records), 30):
        here.count(records[at : at + 30], batch=7)
    here.rewind({"stream": 3, f"guard:{KEY}": 3})
    assert here.count() == reference(records, NOON)
    here.append([exposure("one more", "control", NOON)])
    first, second = here.worker(), here.worker()
    first.once()
    with pytest.raises(OpsStoreError, match="another stream worker"):
        second.once()


def test_metrics_and_segments_on_postgresql(here, tmp_path):
    guard = msgspec.structs.replace(GUARD, metrics=(GuardMetric("errors", "error", "checkout_failed"),))
    records = traffic(12, 60)
    records += [record("checkout_failed", each.event_us + 1, each.user_id) for each in records[::5]]
    found = []
    for number, store in enumerate((here.store, None)):
        other = Deployment(tmp_path / f"metrics-{number}", guard, armed_us=None)
        if store is not None:
            other.store.close()
            other.store = store
        other.arm(NOON + 1, guard)
        for at in range(0, len(records), 30):
            other.count(records[at : at + 30], batch=7)
        epoch = other.store.guard(guard.key).epoch
        rows, _, outcomes = other.store.evaluated_metrics(guard.key, epoch, 0, 1 << 40, ())
        found.append((sorted(rows), sorted(outcomes["errors"]), other.store.segments(guard.key, epoch)))
        other.log.close()
    assert found[0] == found[1]
    assert all(found[0])
