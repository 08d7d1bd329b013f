"""An instance that is gone after the test, and the ops store of a deployment."""

from __future__ import annotations

import dagster as dg
import pytest
from acting_cases import settings_for

from gtm_dagster.opsstore import OpsStore


@pytest.fixture
def instance():
    with dg.DagsterInstance.ephemeral() as opened:
        yield opened


@pytest.fixture
def store(tmp_path):
    with OpsStore.of(settings_for(tmp_path)) as opened:
        yield opened
