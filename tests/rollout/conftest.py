"""The ops store of a test's own deployment."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from acting_cases import settings_for

from gtm_dagster.opsstore import OpsStore


@pytest.fixture
def store(tmp_path: Path) -> Iterator[OpsStore]:
    with OpsStore.of(settings_for(tmp_path)) as opened:
        yield opened
