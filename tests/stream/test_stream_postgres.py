"""The worker on PostgreSQL counts as it does on SQLite, and two at once do not both count."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from postgres_server import start_postgres
from stream_cases import KEY, NOON, Deployment, exposure, reference, traffic

from gtm_dagster.opsstore import OpsStore, OpsStoreError

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
